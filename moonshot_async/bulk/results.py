"""What a bulk run hands out."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from moonshot_async.bulk.outcomes import Outcome, amount
from moonshot_async.errors import Attempt, MoonshotError
from moonshot_async.headers import Unshown
from moonshot_async.types.chat import ChatCompletion, Usage


class BulkResult(Unshown, msgspec.Struct, gc=False, frozen=True, eq=False):
    """What became of one request of a bulk run: an answer, or an error. It is in the journal by then.

    Attributes:
        id: of the request: the one that it was given, else made of its body.
        position: of the request among those of this start, from 1; 0 where it was taken out of the journal.
        completion: the answer; None where there is none. An answer that could not be parsed is there, too.
        error: what the call raised; None for an answer that is good. One of an earlier start has its class, message,
            `.status_code`, `.code` and so on, but no `.response`.
        began, ended: when the work on it began and was over, in Unix seconds; `sent` and `head`: when it was sent for
            the last time and when the head of its answer came, None where that did not happen.
        limit_wait, retry_wait: seconds waited for the limits of the account, and between two sendings.
        request_id: names the call for the vendor's support.
        replayed: whether it was recorded in an earlier start.
    """

    id: str
    position: int
    completion: ChatCompletion | None
    error: MoonshotError | None
    began: float
    sent: float | None
    head: float | None
    ended: float
    limit_wait: float
    retry_wait: float
    request_id: str | None
    replayed: bool
    _failures: tuple[tuple[str, float, float], ...]
    _body: bytes
    _cost: int | None
    _parse: Callable[[ChatCompletion], Any] | None

    @property
    def ok(self) -> bool:
        """Whether there is an answer, and it is good."""
        return self.error is None

    @property
    def request(self) -> dict[str, Any]:
        """The body that was sent, as plain data."""
        body: dict[str, Any] = msgspec.json.decode(self._body)
        return body

    @property
    def text(self) -> str:
        """What the answer says; empty where there is none."""
        completion = self.completion
        return "" if completion is None or not completion.choices else completion.choices[0].message.content or ""

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended: "stop"; "length" for one that was cut at `max_completion_tokens`; None without one."""
        completion = self.completion
        return None if completion is None or not completion.choices else completion.choices[0].finish_reason

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The sendings that failed, in order, also those of a result that is good in the end."""
        return tuple(Attempt(number, *failure) for number, failure in enumerate(self._failures, 1))

    @property
    def parsed(self) -> Any:
        """The answer as a value of the type that the run has as `response_format`; None where there is none.

        Raises:
            StructuredOutputError: the answer does not fit; `.error` is the same.
        """
        if self.completion is None or self._parse is None:
            return None
        if self.error is not None:
            raise self.error
        return self._parse(self.completion).choices[0].message.parsed

    @property
    def usage(self) -> Usage | None:
        """The tokens of the answer."""
        return None if self.completion is None else self.completion.usage

    @property
    def cost(self) -> Decimal | None:
        """What it cost, in the currency of the account; None where that is not known."""
        return amount(self._cost)

    def __repr__(self) -> str:
        # Neither prompt nor answer.
        what = "completion" if self.error is None else type(self.error).__name__
        return f"BulkResult({self.id!r}, {what}, {len(self._failures) + self.ok} attempts)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BulkResult holds a prompt, which must not leave the process in a pickle")


def result_of(
    outcome: Outcome, parse: Callable[[ChatCompletion], Any] | None = None, *, replayed: bool = False
) -> BulkResult:
    """What is handed out of an outcome.

    Args:
        parse: makes a value of an answer.
        replayed: whether it was recorded in an earlier start.
    """
    item = outcome.item
    return BulkResult(
        item.name,
        item.position,
        outcome.completion,
        outcome.error,
        outcome.began,
        outcome.sent,
        outcome.head,
        outcome.ended,
        item.limit_wait,
        item.retry_wait,
        outcome.request_id,
        replayed,
        item.failures,
        item.body,
        outcome.cost,
        parse,
    )
