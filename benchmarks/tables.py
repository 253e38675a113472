"""Results for people: as text, and as Markdown for the documentation."""

from collections.abc import Iterator

from benchmarks.clients.registry import CLIENTS, OPENAI, RAW
from benchmarks.results import Results, Row, Table

_BUSY = 0.9


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
