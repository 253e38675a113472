"""What became of a request, as the journal keeps it."""

import json
from decimal import Decimal
from typing import Any, Final

import msgspec

from moonshot_async import errors
from moonshot_async.bulk.items import Item
from moonshot_async.errors import APIError, APIStatusError, MoonshotError
from moonshot_async.headers import Unshown
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.wire import Response

# Of a message, so many characters are kept.
_MESSAGE_CHARS: Final = 4000

DONE: Final = "done"
FAILED: Final = "failed"

# The price of a token is a whole number of this part of the currency's unit.
PICO: Final = 12


class Tokens(msgspec.Struct, gc=False):
    """What an answer used.

    Attributes:
        prompt, completion, cached, cache_write: tokens; the last two are part of the prompt.
        searches: calls of `$web_search`, which have a fee.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    searches: int = 0

    @property
    def total(self) -> int:
        """Of prompt and answer together."""
        return self.prompt + self.completion


class Outcome(Unshown, msgspec.Struct, gc=False):
    """What became of one item. Times are Unix seconds.

    Attributes:
        item: the request.
        answer: the body of the answer, as it came; None for none.
        completion: the same, decoded.
        error: None for an answer that is good.
        began: when it was begun, in this start; `sent` and `head`: when its last sending was, and when the head of the
            answer came; None where that did not happen.
        ended: when it was over.
        request_id: names the call for the vendor's support.
        tokens: what was used; None where nobody said.
        cost: in 10⁻¹² of the currency's unit; None where it is not known.
    """

    item: Item
    began: float
    ended: float
    sent: float | None = None
    head: float | None = None
    answer: bytes | None = None
    completion: ChatCompletion | None = None
    error: MoonshotError | None = None
    request_id: str | None = None
    tokens: Tokens | None = None
    cost: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the request and its answer."""
        return len(self.item.body) + (0 if self.answer is None else len(self.answer))


def tokens_of(completion: ChatCompletion) -> Tokens | None:
    """What an answer says that it used."""
    usage = completion.usage
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    written = 0 if details is None else details.cache_write_tokens or 0
    searches = 0
    for choice in completion.choices:
        for call in choice.message.tool_calls or ():
            searches += call.function.name == "$web_search"
    return Tokens(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens or 0, written, searches)


def amount(pico: int | None) -> Decimal | None:
    """A cost in the currency's unit, with no more digits than it has."""
    if pico is None:
        return None
    cost = Decimal(pico).scaleb(-PICO).normalize()
    # A round sum would be written with an exponent.
    return cost.quantize(Decimal(1)) if cost == cost.to_integral_value() else cost


def failures_text(failures: tuple[tuple[str, float, float], ...]) -> str | None:
    """The sendings that failed, as JSON: `[["RateLimitError 429", 0.2, 1.5], ...]`; None for none."""
    return (
        json.dumps([[name, round(took, 4), round(waited, 4)] for name, took, waited in failures]) if failures else None
    )


def failures_of(text: str | None) -> tuple[tuple[str, float, float], ...]:
    """The reverse of `failures_text`."""
    return () if text is None else tuple((name, took, waited) for name, took, waited in json.loads(text))


def error_text(error: MoonshotError) -> str:
    """What is kept of an error, as JSON. Errors hold no key and no prompt, and neither does this."""
    kept: dict[str, Any] = {"class": type(error).__name__, "message": str(error)[:_MESSAGE_CHARS]}
    for name, value in vars(error).items():
        if name not in kept and isinstance(value, (str, int, float)):
            kept[name] = value[:_MESSAGE_CHARS] if isinstance(value, str) else value
    return json.dumps(kept)


def error_of(text: str, completion: ChatCompletion | None = None) -> MoonshotError:
    """The error that was kept, of its class as far as that is known."""
    kept: dict[str, Any] = json.loads(text)
    error = _bare(getattr(errors, kept.pop("class"), None), kept.pop("message"), kept.get("status_code", 0))
    for name, value in kept.items():
        setattr(error, name, value)
    if completion is not None:
        vars(error)["completion"] = completion
    return error


def _bare(cls: Any, message: str, status: int) -> MoonshotError:
    known = isinstance(cls, type) and issubclass(cls, MoonshotError)
    if known and issubclass(cls, APIStatusError):
        refusal: MoonshotError = cls(message, response=Response(status))
        return refusal
    kind: type[MoonshotError] = cls if known else MoonshotError
    error = kind.__new__(kind, message)
    error.args = (message,)
    if isinstance(error, APIError):
        APIError.__init__(error, message)
    return error
