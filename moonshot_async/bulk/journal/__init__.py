"""The journal of bulk work: one SQLite file.

`store.py` writes it (blocking, in a thread of its own); `rows.py` are its tables, `totals.py` what they come to,
`sqlite_files.py` what it asks of SQLite, `lease.py` who has it; `recorder.py` is the event loop's side, where writes
are put together; `reader.py` reads it without a run.
"""
