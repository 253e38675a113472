"""The tables of a journal, and how outcomes are written into them and read again.

Times are Unix seconds, costs whole numbers of 10⁻¹² of the currency's unit, bodies and answers JSON as it was sent and
as it came. No key is in it: neither headers nor options of calls are kept.
"""

from collections.abc import Sequence
from typing import Any, Final

from moonshot_async.bulk.items import item_of
from moonshot_async.bulk.outcomes import (
    DONE,
    FAILED,
    Outcome,
    Tokens,
    error_of,
    error_text,
    failures_of,
    failures_text,
)
from moonshot_async.types.chat import decode_completion

SCHEMA: Final = (
    # Each time that the run was started. `limits` is JSON; `reason` says why it ended, and is null where it was killed.
    # How much was done in it, what that used and what it cost; that a failed request was asked again takes nothing of
    # the last two back. Where it had a budget, also what calls that broke off may be billed for.
    "CREATE TABLE IF NOT EXISTS start (number INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, pid INTEGER, "
    "via TEXT NOT NULL, currency TEXT NOT NULL, concurrency INTEGER, limits TEXT, reason TEXT, "
    "done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0, "
    "completion_tokens INTEGER NOT NULL DEFAULT 0, cost INTEGER NOT NULL DEFAULT 0, "
    "unpriced INTEGER NOT NULL DEFAULT 0, lost_tokens INTEGER NOT NULL DEFAULT 0, "
    "lost_cost INTEGER NOT NULL DEFAULT 0)",
    # Each request: `id` where one was given, and a digest of its body.
    "CREATE TABLE IF NOT EXISTS item (number INTEGER PRIMARY KEY, id TEXT, digest BLOB NOT NULL, read REAL NOT NULL, "
    "body BLOB NOT NULL)",
    # What became of it; an item without one is open. `failures` is JSON: error, seconds, seconds waited afterwards, of
    # each sending that failed; `error` is JSON, too.
    "CREATE TABLE IF NOT EXISTS outcome (number INTEGER PRIMARY KEY, state TEXT NOT NULL DEFAULT 'done', "
    "start INTEGER NOT NULL, "
    "began REAL NOT NULL, sent REAL, head REAL, ended REAL NOT NULL, limit_wait REAL NOT NULL DEFAULT 0, "
    "retry_wait REAL NOT NULL DEFAULT 0, failures TEXT, error_class TEXT, error TEXT, model TEXT, "
    "prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, cost INTEGER, request_id TEXT, "
    "answer BLOB)",
    # The batches that items were put into, where they go through the Batch API; `batch_id` once the service has it,
    # and `token`, by which it is found there until then.
    "CREATE TABLE IF NOT EXISTS batch (number INTEGER PRIMARY KEY, token TEXT NOT NULL, batch_id TEXT, "
    "model TEXT NOT NULL, made REAL NOT NULL, ended REAL)",
    "CREATE TABLE IF NOT EXISTS batch_item (number INTEGER PRIMARY KEY, batch INTEGER NOT NULL)",
)

ITEM: Final = "item (number, id, digest, read, body)"
_PLAIN: Final = (
    "number, start, began, sent, head, ended, model, prompt_tokens, completion_tokens, cached_tokens, cost, "
    "request_id, answer"
)
# An answer that came at once has what the table says by itself in all other columns.
PLAIN_OUTCOME: Final = f"outcome ({_PLAIN})"
OUTCOME: Final = f"outcome ({_PLAIN}, state, limit_wait, retry_wait, failures, error_class, error)"
READ_OUTCOMES: Final = (
    "SELECT item.number, item.id, body, state, began, sent, head, ended, limit_wait, retry_wait, failures, error, "
    "prompt_tokens, completion_tokens, cached_tokens, cost, request_id, answer "
    "FROM outcome JOIN item USING (number) "
)


def is_plain(outcome: Outcome) -> bool:
    """Whether it can be written as a `PLAIN_OUTCOME`, which costs less."""
    item = outcome.item
    return outcome.error is None and not (item.failures or item.limit_wait or item.retry_wait)


def plain_values(outcome: Outcome, start: int) -> tuple[Any, ...]:
    """The values of `PLAIN_OUTCOME`."""
    completion, tokens = outcome.completion, outcome.tokens
    return (
        outcome.item.number,
        start,
        outcome.began,
        outcome.sent,
        outcome.head,
        outcome.ended,
        None if completion is None else completion.model,
        None if tokens is None else tokens.prompt,
        None if tokens is None else tokens.completion,
        None if tokens is None else tokens.cached,
        outcome.cost,
        outcome.request_id,
        outcome.answer,
    )


def values(outcome: Outcome, start: int) -> tuple[Any, ...]:
    """The values of `OUTCOME`."""
    item, error = outcome.item, outcome.error
    return (
        *plain_values(outcome, start),
        DONE if error is None else FAILED,
        item.limit_wait,
        item.retry_wait,
        failures_text(item.failures),
        None if error is None else type(error).__name__,
        None if error is None else error_text(error),
    )


def outcome_of(row: Sequence[Any]) -> Outcome:
    """An outcome as `READ_OUTCOMES` reads it."""
    number, id, body, _, began, sent, head, ended, limit_wait, retry_wait, failures, error = row[:12]
    prompt, completed, cached, cost, request_id, answer = row[12:]
    item = item_of(id, body, number)
    item.failures = failures_of(failures)
    item.limit_wait, item.retry_wait = limit_wait, retry_wait
    completion = None if answer is None else decode_completion(answer)
    if completion is not None:
        completion._request_id = request_id
    return Outcome(
        item=item,
        began=began,
        ended=ended,
        sent=sent,
        head=head,
        answer=answer,
        completion=completion,
        error=None if error is None else error_of(error, completion),
        request_id=request_id,
        tokens=None if prompt is None else Tokens(prompt, completed, cached),
        cost=cost,
    )
