"""What became of a bulk run, told from its journal: as text, as JSON, and as a page to look at.

    print(report_of("run.db").text())

The story: rows of the journal → `reading.py`, with `timeline.py` (what happened when), `counts.py` (how much of it in a
minute) and `histogram.py` (percentiles in little memory) → the structs of `shapes.py` → `words.py` (text), `page.py`
and `charts.py` (the page).
"""

from moonshot_async.bulk.report.reading import report_of
from moonshot_async.bulk.report.shapes import Report

__all__ = ["Report", "report_of"]
