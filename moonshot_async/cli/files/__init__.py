"""`moonshot files`: `command.py` is the commands; `uploads.py` sends files, `contents.py` brings them."""
