"""`moonshot batch`: `command.py` is the commands, `runs.py` sees a batch through to its end."""
