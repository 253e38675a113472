"""When the sendings of one item were, reckoned back from the last one by the durations that the journal has of them."""

from collections.abc import Sequence

import msgspec


class Sending(msgspec.Struct, gc=False):
    """A sending that failed. Times are Unix seconds.

    Attributes:
        name: of the error.
        queued: when it could have been sent, but for the limits of the account; `sent`: when it was.
        ended: when it had failed.
        next: when the next one was queued.
    """

    name: str
    queued: float
    sent: float
    ended: float
    next: float


def reckoned(
    failures: Sequence[tuple[str, float, float]],
    *,
    began: float,
    sent: float,
    ended: float,
    answered: bool,
    limit_wait: float,
    retry_wait: float,
) -> tuple[list[Sending], float]:
    """The sendings that failed, the first one first, and how long the one that was answered waited for limits.

    Args:
        failures: error, seconds with what was waited for limits, and seconds waited afterwards; nothing after the last
            one of a round: then the item was put back.
        began: of the last round.
        sent, ended: of the last sending.
        answered: whether that one is none of the failures.
        limit_wait, retry_wait: seconds in all.
    """
    rounds = [place for place, failure in enumerate(failures) if not failure[2]]
    if not answered and rounds and rounds[-1] == len(failures) - 1:
        rounds.pop()
    put_back = _put_back(rounds, max(0.0, retry_wait - sum(waited for _, _, waited in failures)))
    if answered:
        in_round = failures[rounds[-1] + 1 if rounds else 0 :]
        own = min(limit_wait, max(0.0, sent - began - sum(took + waited for _, took, waited in in_round)))
        waited_for = _shares(failures, limit_wait - own)
        at = sent - own
    else:
        own = 0.0
        last = max(0.0, failures[-1][1] - (ended - sent))
        waited_for = [*_shares(failures[:-1], limit_wait - last), last]
        at = ended
    found: list[Sending] = []
    for place in reversed(range(len(failures))):
        name, took, waited = failures[place]
        over = at - waited - put_back.get(place, 0.0)
        found.append(Sending(name, over - took, over - took + waited_for[place], over, at))
        at = over - took
    return found[::-1], own


def _put_back(rounds: Sequence[int], seconds: float) -> dict[int, float]:
    """How long an item waited after each round: about twice as long as after the one before."""
    whole = 2.0 ** len(rounds) - 1
    return {place: seconds * 2.0**turn / whole for turn, place in enumerate(rounds)}


def _shares(failures: Sequence[tuple[str, float, float]], seconds: float) -> list[float]:
    """How long each waited for limits: the longer it took, the more of it; never longer than it took."""
    whole = sum(took for _, took, _ in failures)
    share = min(1.0, max(0.0, seconds) / whole) if whole else 0.0
    return [took * share for _, took, _ in failures]
