"""What outcomes come to: those of a journal, and those that are written together."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from moonshot_async.bulk.outcomes import Outcome


class Totals(msgspec.Struct):
    """What a journal holds, in all its starts.

    Attributes:
        done, failed, open: items.
        prompt_tokens, completion_tokens: of all answers.
        cost: in 10⁻¹² of the currency's unit, as far as it is known.
        unpriced: answers whose cost is not known.
        lost_tokens, lost_cost: what calls without an answer may be billed for, where there is a budget.
    """

    done: int = 0
    failed: int = 0
    open: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    unpriced: int = 0
    lost_tokens: int = 0
    lost_cost: int = 0

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """These are over, too."""
        failed = sum([outcome.error is not None for outcome in outcomes])
        self.done += len(outcomes) - failed
        self.failed += failed
        used = [outcome.tokens for outcome in outcomes if outcome.tokens is not None]
        self.prompt_tokens += sum([tokens.prompt for tokens in used])
        self.completion_tokens += sum([tokens.completion for tokens in used])
        costs = [outcome.cost for outcome in outcomes if outcome.cost is not None]
        self.cost += sum(costs)
        self.unpriced += len(used) - len(costs)

    def add_all(self, other: "Totals") -> None:
        """As many more are over."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


# What each start counts for itself.
SUMS: Final = (
    *("done", "failed", "prompt_tokens", "completion_tokens", "cost", "unpriced"),
    *("lost_tokens", "lost_cost"),
)
COUNT: Final = f"UPDATE start SET {', '.join(f'{name} = {name} + ?' for name in SUMS)} WHERE number = ?"


class Group:
    """Outcomes that are written together.

    Attributes:
        outcomes: what they are.
        totals: what they come to, once they were written; before, what was lost.
    """

    def __init__(self, outcomes: Sequence[Outcome] = ()) -> None:
        self.outcomes = list(outcomes)
        self.totals = Totals()

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        return bool(self.outcomes or self.totals.lost_tokens)

    def lose(self, tokens: int, cost: int) -> None:
        """So much more may be billed for nothing."""
        self.totals.lost_tokens += tokens
        self.totals.lost_cost += cost


def totals(db: sqlite3.Connection) -> Totals:
    """What a journal holds."""
    items = db.execute("SELECT count(*) FROM item").fetchone()[0]
    sums = db.execute(f"SELECT {', '.join(f'coalesce(sum({name}), 0)' for name in SUMS)} FROM start").fetchone()
    done, failed, *rest = sums
    return Totals(done, failed, items - done - failed, *rest)
