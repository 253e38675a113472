"""Results for people: as text, and as Markdown for the documentation."""

from collections.abc import Iterator

from benchmarks.clients.registry import CLIENTS, OPENAI, RAW
from benchmarks.results import Results, Row, Table

_BUSY = 0.9
# What the README says: scenario, figure, how it is said there, and what the figure is multiplied by.
_SUMMARY = (
    ("unary-1", "cpu_us", "a call, CPU µs", 1.0),
    ("unary-512", "cpu_us", "a call, 512 in flight, CPU µs", 1.0),
    ("burst-100", "cpu_us", "a chunk, 100 streams in bursts, CPU µs", 1.0),
    ("paced-100", "cpu_us", "a chunk, 100 paced streams, CPU µs", 1.0),
    ("first-token-200", "p99_ms", "first text later than sent, 200 streams, p99 ms", 1.0),
    ("memory-5000", "bytes_each", "memory of an open stream, of 5,000, KiB", 1 / 1024),
    ("history", "cpu_ms", "a call with 2,000 messages, CPU ms", 1.0),
    ("import-client", "cpu_ms", "import of the client's class, CPU ms", 1.0),
    ("cold", "cpu_ms", "a script that makes one call, CPU ms", 1.0),
)


def about_lines(results: Results) -> Iterator[str]:
    """When, where, and with what it was measured, and who could not take part."""
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    yield f"{about['date']}, {about['processor']}, {about['cores']} cores, {about['system']}. {versions}."
    yield (
        f"Medians of {about['rounds']} alternating rounds, size: {about['size']}; each client in a process of its own, "
        f"CPU is user and system time of that process. Server: {about['server']}."
    )
    for client, packages in results.missing.items():
        yield f"MISSING: {client}. To have it measured: pip install {' '.join(map(repr, packages))}"


def text_of(table: Table) -> str:
    """A table for a terminal."""
    head, *rows = _cells(table)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [f"\n{table.name}: {table.title}"]
    for row in (head, *rows):
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  " + "  ".join([first, *others]))
    return "\n".join([*lines, *(f"  {note}" for note in _notes(table))])


def markdown_of(results: Results) -> str:
    """All tables, as the documentation has them."""
    blocks = ["\n".join(about_lines(results))]
    for table in results.tables:
        head, *rows = _cells(table)
        ruler = ["---", *("---:" for _ in head[1:])]
        lines = ["| " + " | ".join(row) + " |" for row in (head, ruler, *rows)]
        blocks.append("\n".join([f"### {table.title}", "", *lines, *(f"\n{note}" for note in _notes(table))]))
    return "\n\n".join(blocks) + "\n"


def summary_of(results: Results) -> str:
    """A few figures of this SDK, aiohttp with msgspec, and openai, as the README has them."""
    clients = ("ours", RAW, OPENAI)
    lines = ["| | " + " | ".join(CLIENTS[client].label for client in clients) + " |", "| --- | ---: | ---: | ---: |"]
    tables = {table.name: table for table in results.tables}
    for name, figure, title, scale in _SUMMARY:
        rows = [tables[name].row(client) if name in tables else None for client in clients]
        values = [None if row is None else row.median(figure) for row in rows]
        cells = (_number(None if value is None else value * scale) for value in values)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    about = results.about
    python, openai = (about["versions"].get(name, "–") for name in ("python", "openai"))
    when = f"{about['date']}, {about['processor']}, {about['cores']} cores, Python {python}, openai {openai}"
    return "\n".join([*lines, "", f"{when}; medians of {about['rounds']} rounds."]) + "\n"


def _cells(table: Table) -> list[list[str]]:
    beside = [(to, sign) for to, sign in ((RAW, "× raw"), (OPENAI, "× openai")) if table.row(to) is not None]
    served = any("server_share" in one for row in table.rows for one in row.rounds)
    head = ["client"]
    for name, title in table.figures.items():
        head += [title, *(["±", *(sign for _, sign in beside)] if name in table.compared else [])]
    rows = [_row_cells(table, row, [to for to, _ in beside]) for row in table.rows]
    if served:
        head.append("server")
        for row, cells in zip(table.rows, rows, strict=True):
            share = row.median("server_share")
            cells.append("" if share is None else f"{share:.0%}")
    return [head, *rows]


def _row_cells(table: Table, row: Row, beside: list[str]) -> list[str]:
    cells = [CLIENTS[row.client].label]
    for name in table.figures:
        cells.append(_number(row.median(name)))
        if name in table.compared:
            spread = row.spread(name)
            cells.append("" if spread is None else f"{spread:.0%}")
            cells += [_ratio(table.ratio(row, name, to)) for to in beside]
    return cells


def _notes(table: Table) -> Iterator[str]:
    for row in table.rows:
        label, share = CLIENTS[row.client].label, row.median("server_share")
        if row.failure:
            yield f"FAILED: {label}: {row.failure}"
        if share is not None and share > _BUSY:
            yield f"BUSY: the server used {share:.0%} of a core with {label}: it may have been the bottleneck."


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 0.1995 else f"{value:.2f}"
