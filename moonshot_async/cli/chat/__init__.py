"""`moonshot chat`: one question, or a session.

`command.py` is the command, `settings.py` what it was told. `once.py` asks one question; `interactive.py` makes a
session (`session.py`) of a prompt (`prompt.py`, `history.py`), its commands (`commands.py`) and what it shows. An
answer is shown as it arrives: `live.py` on a terminal (`blocks.py` and `markdown.py` lay it out, `screen.py` draws it),
and `plain.py` elsewhere; `visible.py` makes control characters harmless. `attachments.py` shows a model files,
`files.py` keeps conversations, `spending.py` counts.
"""
