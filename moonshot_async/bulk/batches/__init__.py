"""A bulk run through the Batch API.

`items.py` checks requests for it, `work.py` makes files of them, sends them and takes the answers in; `store.py` is
what the journal keeps of batches.
"""
