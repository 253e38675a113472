"""Bulk work: many requests, with a journal, so that it can be killed and gone on with.

    async for result in client.bulk(requests, model="kimi-k2.6", journal="run.db"):
        ...
    print(report_of("run.db").text())

Requests are read one by one, checked and known by a key; memory does not grow with their number. Each answer is on the
disk before it is handed out, and is never asked for, or paid for, again. How it works:

- requests → items: `sources.py` (lists, generators, files; read when there is room), `items.py` (checks and keys).
- `journal/`: one SQLite file, written and read.
- the calls: `feed.py` (each item once), `live.py` (workers), `waiting.py` (what they take), `crew.py` (how many),
  `verdicts.py` (what an error means), `late_limits.py` (limits that nobody told), `clock.py` (when things happened),
  `budget.py` and `prices.py` (what it costs); or `batches/`, the Batch API instead.
- the results: `outcomes.py`, `outbox.py`, `results.py`; `desk.py` holds one start together, `run.py` is what users
  hold, with `interrupts.py` for Ctrl-C, and `hook.py` makes it of a client.
- `report/`: what became of it all, from the journal alone.
"""

from moonshot_async.bulk.journal.reader import Journal
from moonshot_async.bulk.progress import Progress
from moonshot_async.bulk.report import Report, report_of
from moonshot_async.bulk.results import BulkResult
from moonshot_async.bulk.run import BulkRun

__all__ = ["BulkResult", "BulkRun", "Journal", "Progress", "Report", "report_of"]
