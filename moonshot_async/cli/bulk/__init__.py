"""`moonshot bulk`: `command.py` is the commands, `runs.py` shows a run while it goes on."""
