"""What a history counts: exactly, as far as answers have told, and estimated beyond.

Each answer says what its whole prompt counted. The difference to what was known before is what the messages count that
were new in it, so that each message has its share, and the sum is right again when turns are dropped. Of the answer
itself the tokens of its text are told; what stands around it in a prompt is estimated.

Estimates are those that `RateLimits` makes (`middleware/limit_estimates.py`), corrected by what this conversation's
texts really counted.
"""

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from moonshot_async.headers import Unshown
from moonshot_async.middleware.limit_estimates import message_tokens, text_tokens
from moonshot_async.toolkit.conversation.messages import Message, media_of, without_urls
from moonshot_async.toolkit.model_choice import DYNAMIC_TOOLS
from moonshot_async.types.encoding import to_json

# Shorter prompts are mostly what the service puts around them: they say nothing of texts.
_LEARN_FROM: Final = 256
_LOWEST, _HIGHEST = 0.25, 8.0
# A new message that seems to count less than this part of its estimate did not become shorter: earlier ones did, as
# when a service leaves out what was thought in earlier turns.
_LEAST: Final = 0.25
# One that seems to count more than so many times its estimate did not become longer: something was added.
_MOST: Final = 4


class Entry(Unshown, msgspec.Struct):
    """A message, and what it counts in a prompt: `known + ratio * open + open_media` tokens.

    Attributes:
        message: as it is sent. Nobody changes it.
        estimate: tokens of its text before anything that was learned.
        media: tokens of its media and searches, estimated.
        known: tokens that an answer has told of.
        open: of `estimate`, what no answer has told of.
        open_media: the same of `media`.
        kinds: what it holds beside text: "image", "video" or `DYNAMIC_TOOLS`.
        pinned: whether it stays when its turn is dropped.
    """

    message: Message
    estimate: int = 0
    media: int = 0
    known: float = 0.0
    open: int = 0
    open_media: int = 0
    kinds: frozenset[str] = frozenset()
    pinned: bool = False

    @classmethod
    def of(cls, message: Message, *, pinned: bool = False) -> "Entry":
        """The entry of a message that was checked; of what it counts nothing is known."""
        text, media = message_tokens(to_json(without_urls(message)))
        kinds = media_of(message) | ({DYNAMIC_TOOLS} if message.get("tools") else frozenset())
        return cls(message, text, media, 0.0, text, media, kinds, pinned or message["role"] == "system")

    @classmethod
    def of_answer(cls, message: Message, completion_tokens: int) -> "Entry":
        """The entry of an answer whose own tokens are known."""
        entry = cls.of(message)
        if completion_tokens > 0:
            entry.known = float(completion_tokens)
            entry.open = max(0, entry.estimate - _generated(message))
        return entry

    @classmethod
    def beside(cls, *values: object) -> "Entry":
        """What a request has beside its messages that counts: tools, and the schema of the answer."""
        size = sum(text_tokens(len(to_json(value))) for value in values if value)
        return cls({}, estimate=size, open=size)

    def count(self, ratio: float) -> float:
        """Its tokens, as far as one can tell."""
        return self.known + ratio * self.open + self.open_media


class TokenAccount:
    """What all entries of a history count together. Adding, measuring and asking cost what is new, not what is old.

    Args:
        beside: what stands beside the messages, and whatever the service adds by itself.
    """

    __slots__ = ("_closed", "_estimated", "_open", "_texts", "beside")

    def __init__(self, beside: Entry) -> None:
        self.beside = beside
        # The sum of what is known, over entries of which all is known.
        self._closed = 0.0
        # Those of which it is not.
        self._open: list[Entry] = []
        # Of entries of text of which all is known: what they count, and what was estimated.
        self._texts = 0.0
        self._estimated = 0
        self.add(beside)

    def copy(self) -> "TokenAccount":
        """Another account of the same entries."""
        twin = TokenAccount.__new__(TokenAccount)
        twin.beside, twin._closed, twin._open = self.beside, self._closed, self._open.copy()
        twin._texts, twin._estimated = self._texts, self._estimated
        return twin

    @property
    def ratio(self) -> float:
        """What a token of an estimate really counts, in this conversation."""
        if self._estimated < _LEARN_FROM:
            return 1.0
        return min(max(self._texts / self._estimated, _LOWEST), _HIGHEST)

    @property
    def tokens(self) -> float:
        """What a prompt of all entries counts."""
        ratio = self.ratio
        return self._closed + sum(entry.count(ratio) for entry in self._open)

    def add(self, entry: Entry) -> None:
        if entry.open or entry.open_media:
            self._open.append(entry)
        else:
            self._close(entry, 1)

    def remove(self, entries: Iterable[Entry]) -> None:
        gone: set[int] = set()
        for entry in entries:
            if entry.open or entry.open_media:
                gone.add(id(entry))
            else:
                self._close(entry, -1)
        if gone:
            self._open = [entry for entry in self._open if id(entry) not in gone]

    def measure(self, prompt_tokens: float, entries: Iterable[Entry]) -> None:
        """Take note of what a prompt of all entries counted; afterwards nothing of them is open.

        Args:
            prompt_tokens: as the service counted; what was in that prompt alone is taken off.
            entries: all of them, for the rare case that what was known of them has changed.
        """
        ratio, unheard = self.ratio, not self._estimated
        texts = sum(ratio * entry.open for entry in self._open)
        media = sum(entry.open_media for entry in self._open)
        left = prompt_tokens - self._closed - sum(entry.known for entry in self._open)
        if texts < _LEARN_FROM and not media and left > (texts if unheard else _MOST * texts):
            # What the service adds by itself, above all to a first short prompt, stands beside the messages.
            self.beside.known += left - texts
            if not self.beside.open:
                self._closed += left - texts
            left = texts
        if left < _LEAST * texts or not texts + media:
            self._scale(prompt_tokens, entries)
            return
        # Of texts one knows what they count; what media count hangs on their sizes.
        of_text = min(1.0, left / texts) if media and texts else left / texts if texts else 1.0
        of_media = (left - of_text * texts) / media if media else 1.0
        for entry in self._open:
            entry.known += of_text * ratio * entry.open + of_media * entry.open_media
            entry.open = entry.open_media = 0
            self._close(entry, 1)
        self._open.clear()

    def _scale(self, prompt_tokens: float, entries: Iterable[Entry]) -> None:
        """All of it counts more or less than it did: each entry has its part of the difference."""
        ratio = self.ratio
        factor = prompt_tokens / (self.tokens or 1.0)
        self._closed, self._texts, self._estimated = 0.0, 0.0, 0
        self._open.clear()
        for entry in (self.beside, *entries):
            entry.known = entry.count(ratio) * factor
            entry.open = entry.open_media = 0
            self._close(entry, 1)

    def _close(self, entry: Entry, sign: int) -> None:
        self._closed += sign * entry.known
        if not entry.media and entry is not self.beside:
            self._texts += sign * entry.known
            self._estimated += sign * entry.estimate


def whole(tokens: float) -> int:
    """A number of tokens as one tells it; sums of shares are off by a last digit."""
    return math.ceil(tokens - 1e-6)


def _generated(message: dict[str, Any]) -> int:
    """The estimate of what the model wrote of a message, each text counted by itself."""
    texts = [message.get("reasoning_content") or message.get("reasoning"), message.get("content")]
    texts += [call["function"]["name"] + call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return sum(text_tokens(len(text.encode())) for text in texts if isinstance(text, str))
