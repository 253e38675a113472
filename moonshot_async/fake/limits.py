"""The limits of an account: requests at once and a minute, tokens a minute and a day, over all keys and models.

Windows roll: what happened a minute ago has left the window of a minute.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from moonshot_async.catalog import Tier
from moonshot_async.fake.account import NAME
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import ByteStream, Response

_MINUTE: Final = 60.0
_DAY: Final = 86_400.0
# Unix seconds as floats are not exact: sums of them may be off by so much.
_TOLERANCE: Final = 1e-5


class Limiter:
    """Admits requests as the tier allows."""

    def __init__(self, tier: Tier, clock: Callable[[], float]) -> None:
        self._tier = tier
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget what was admitted."""
        # Answers that are still read after this leave the old gate, not the new one.
        self._gate = _Gate()
        self._requests = _Window(_MINUTE, self._clock)
        self._minute = _Window(_MINUTE, self._clock)
        self._day = _Window(_DAY, self._clock)

    def admit(self, prompt_tokens: int, max_completion_tokens: int) -> None:
        """Let a request in; the tokens that it may use count against the minute from now on.

        Raises:
            RefusedError: a limit is reached. Nothing was counted.
        """
        tier = self._tier
        if self._gate.inside >= tier.concurrency:
            _refuse(f"max concurrency: {tier.concurrency}", 1)
        if wait := self._requests.wait(1, tier.rpm):
            _refuse(f"max RPM: {tier.rpm}", wait)
        tokens = prompt_tokens + max_completion_tokens
        if wait := self._minute.wait(tokens, tier.tpm):
            _refuse(f"TPM rate limit, current: {self._minute.total() + tokens}, limit: {tier.tpm}", wait)
        if tier.tpd is not None and self._day.wait(prompt_tokens, tier.tpd):
            # No wait is named: it would be hours, and clients take the seconds of a text for a short pause.
            _refuse(f"TPD rate limit, current: {self._day.total() + prompt_tokens}, limit: {tier.tpd}", math.inf)
        self._gate.inside += 1
        self._requests.add(1)
        self._minute.add(tokens)

    def attach(self, response: Response, tokens: int) -> None:
        """Count the tokens of the day, and keep the request running until the body of its answer ends or is closed."""
        self._day.add(tokens)
        response.body = _Held(response.body, self._gate.leave)

    def give_back(self) -> None:
        """The request that was admitted last came to nothing."""
        self._gate.leave()


class _Gate:
    """How many requests are under way."""

    def __init__(self) -> None:
        self.inside = 0

    def leave(self) -> None:
        self.inside -= 1


class _Window:
    """Amounts of the last so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: deque[tuple[float, int]] = deque()
        self._total = 0

    def total(self) -> int:
        now = self._clock()
        while self._entries and self._entries[0][0] + self._seconds <= now + _TOLERANCE:
            self._total -= self._entries.popleft()[1]
        return self._total

    def add(self, amount: int) -> None:
        self._entries.append((self._clock(), amount))
        self._total += amount

    def wait(self, amount: int, limit: int) -> float:
        """Whole seconds until `amount` fits; 0 for at once, infinite for never."""
        excess = self.total() + amount - limit
        if excess <= 0:
            return 0
        for when, entry in self._entries:
            excess -= entry
            if excess <= 0:
                return max(1, math.ceil(when + self._seconds - self._clock() - _TOLERANCE))
        return math.inf


class _Held:
    """A body that tells when it has ended."""

    def __init__(self, body: ByteStream, release: Callable[[], None]) -> None:
        self._body = body
        self._release: Callable[[], None] | None = release

    async def read(self, deadline: float | None = None) -> bytes:
        try:
            piece = await self._body.read(deadline)
        except ConnectionError:
            self._end()
            raise
        if not piece:
            self._end()
        return piece

    def close(self) -> None:
        self._end()
        self._body.close()

    def __del__(self) -> None:
        # An answer that nobody closed is over as well once nobody has it.
        self._end()

    def _end(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


def _refuse(limit: str, wait: float) -> NoReturn:
    again = "" if math.isinf(wait) else f", please try again after {int(wait)} seconds"
    raise RefusedError(
        f"Your account {NAME} request reached organization {limit}{again}", status=429, type="rate_limit_reached_error"
    )


FITS: type[ByteStream] = _Held
