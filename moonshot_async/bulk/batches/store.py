"""What the journal keeps of batches. Everything here blocks, and is called in the thread of the journal."""

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from moonshot_async.bulk.items import Item, item_of
from moonshot_async.bulk.journal.store import Store

_ROWS: Final = 256


class BatchRow(msgspec.Struct):
    """A batch in the journal.

    Attributes:
        number: in the journal.
        token: found with the batch at the service, and nowhere else.
        batch_id: None where the service may not have it.
        model: of all its requests.
        tokens, cost: what is reserved for it.
        positions: of its items among the requests, in their order; none where an earlier start made it.
        earlier: whether one did.
    """

    number: int
    token: str
    batch_id: str | None
    model: str
    tokens: int = 0
    cost: int = 0
    positions: Sequence[int] = ()
    earlier: bool = False


def open_batches(store: Store) -> list[BatchRow]:
    """The batches of earlier starts whose results are not all recorded."""
    rows = store.db.execute("SELECT number, token, batch_id, model FROM batch WHERE ended IS NULL ORDER BY number")
    return [BatchRow(number, token, batch_id, model, earlier=True) for number, token, batch_id, model in rows]


def make_batch(store: Store, model: str, items: Sequence[int]) -> BatchRow:
    """Write down which items make a batch, before it is one."""
    token = secrets.token_hex(16)
    with store.writing():
        made = store.db.execute("INSERT INTO batch (token, model, made) VALUES (?, ?, ?)", (token, model, store.now()))
        number = made.lastrowid or 0
        store.db.executemany(
            "INSERT OR REPLACE INTO batch_item (number, batch) VALUES (?, ?)", ((item, number) for item in items)
        )
    return BatchRow(number, token, None, model)


def set_batch_id(store: Store, number: int, batch_id: str) -> None:
    """The service has the batch."""
    with store.writing():
        store.db.execute("UPDATE batch SET batch_id = ? WHERE number = ?", (batch_id, number))


def end_batch(store: Store, number: int) -> None:
    """Nothing more will come of it: items without an outcome are free for another one."""
    with store.writing():
        store.db.execute("UPDATE batch SET ended = ? WHERE number = ?", (store.now(), number))
        store.db.execute("DELETE FROM batch_item WHERE batch = ?", (number,))


def items_of(store: Store, number: int, after: int) -> list[tuple[Item, bool]]:
    """Some items of a batch behind this one, in order, and whether each has an outcome; empty at the end."""
    rows = store.db.execute(
        "SELECT number, item.id, body, outcome.number IS NOT NULL FROM batch_item JOIN item USING (number) "
        "LEFT JOIN outcome USING (number) WHERE batch = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (number, after, _ROWS),
    )
    return [(item_of(id, body, item), bool(recorded)) for item, id, body, recorded in rows]
