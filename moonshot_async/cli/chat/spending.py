"""What answers took, for people."""

from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from moonshot_async.toolkit.conversation import Conversation, Reply

_SIGNS: Final = {"usd": "$", "cny": "¥"}
_SMALLEST: Final = Decimal("0.0001")


class Spending:
    """The sums of a session, over all its conversations.

    Attributes:
        answers: how many there were.
        unfinished: how many answers were stopped, or broke off: nobody here knows what they cost.
    """

    def __init__(self) -> None:
        self.answers = self.unfinished = 0
        self._unpriced = self._prompt = self._cached = self._completion = 0
        self._cost = Decimal(0)

    def add(self, reply: "Reply") -> None:
        """Take note of an answer."""
        self.answers += 1
        if (usage := reply.usage) is not None:
            self._prompt += usage.prompt_tokens
            self._completion += usage.completion_tokens
            self._cached += usage.cached_tokens or 0
        if reply.cost is None:
            self._unpriced += 1
        else:
            self._cost += reply.cost

    def lines(self, conversation: "Conversation") -> list[str]:
        """What `/cost` says."""
        sign = conversation.currency
        told = [
            f"This session: {counted(self.answers, 'answer')}, {self._prompt:,} tokens in ({self._cached:,} of them "
            f"from the cache), {self._completion:,} out: {money(self._cost, sign)}{_beside(self._unpriced)}"
        ]
        if self.unfinished:
            told.append(f"{counted(self.unfinished, 'answer')} broke off; what they cost is not known here.")
        if conversation.known_cost != self._cost or conversation.unpriced_answers != self._unpriced:
            cost = money(conversation.known_cost, sign)
            told.append(f"This conversation: {cost}{_beside(conversation.unpriced_answers)}")
        return told


def footer(reply: "Reply", currency: str, seconds: float) -> str:
    """The line below an answer."""
    parts = [reply.completion.model]
    if (usage := reply.usage) is not None:
        parts.append(f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out")
    if reply.cost is not None:
        parts.append(money(reply.cost, currency))
    return " · ".join([*parts, f"{seconds:.1f} s"])


def money(amount: Decimal, currency: str) -> str:
    """An amount with the sign of its currency, to the hundredth part of a cent; what is less is told as such."""
    sign = _SIGNS[currency]
    if 0 < amount < _SMALLEST:
        return f"under {sign}{_SMALLEST}"
    text = f"{amount:,.4f}"
    return sign + (text[:-2] if text.endswith("00") else text)


def counted(number: int, name: str) -> str:
    """A number with its noun."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _beside(unpriced: int) -> str:
    return f", beside {counted(unpriced, 'answer')} of unknown price" if unpriced else ""
