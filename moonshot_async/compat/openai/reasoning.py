"""Reasoning in chunks as openai hands it out: an attribute that is only there where the service sent it.

openai does not know the field, so programs written for it ask `hasattr(delta, "reasoning_content")` before they read.
The chunks of `AsyncOpenAI` answer that as they expect; those of `AsyncMoonshot` have the attribute always.

See: https://platform.kimi.ai/docs/guide/use-thinking-models
"""

from collections.abc import Awaitable
from functools import cached_property
from typing import Any, Final

from moonshot_async.accumulate import ChatAccumulator
from moonshot_async.resources import chat as native
from moonshot_async.streaming import Progress, Stream
from moonshot_async.types import chat
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.wire import Request

_FIELDS: Final = ("reasoning_content", "reasoning")


class ChoiceDelta(chat.ChoiceDelta, kw_only=True, gc=False):
    """What one chunk adds to a choice. Reasoning that did not come is no attribute."""


class _OnlyIfSent:
    """A field of which None means that it is not there."""

    def __init__(self, name: str) -> None:
        self._slot = vars(chat.ChoiceDelta)[name]

    def __get__(self, delta: ChoiceDelta | None, owner: type[ChoiceDelta]) -> Any:
        if delta is None:
            return self
        value = self._slot.__get__(delta)
        if value is None:
            raise AttributeError
        return value

    def __set__(self, delta: ChoiceDelta, value: object) -> None:
        self._slot.__set__(delta, value)


for _name in _FIELDS:
    setattr(ChoiceDelta, _name, _OnlyIfSent(_name))


def dress(chunk: ChatCompletionChunk, cls: type[chat.ChoiceDelta] = ChoiceDelta) -> None:
    """Make the deltas of a chunk answer as those of openai do, or, with the class of this SDK, as its own."""
    for choice in chunk.choices:
        choice.delta.__class__ = cls


class _Progress:
    """Takes note of chunks as they came, before the program sees them."""

    def __init__(self, answer: ChatAccumulator) -> None:
        self._answer = answer

    def add(self, item: ChatCompletionChunk) -> None:
        self._answer.add(item)
        dress(item)

    @property
    def finished(self) -> bool:
        return self._answer.finished

    def partial(self) -> ChatCompletion | None:
        return self._answer.partial()


class Completions(native.Completions):
    """`client.chat.completions`."""

    def _open(
        self, request: Request, progress: Progress[ChatCompletionChunk]
    ) -> Awaitable[Stream[ChatCompletionChunk]]:
        return super()._open(request, _Progress(progress) if isinstance(progress, ChatAccumulator) else progress)


class Chat(native.Chat):
    """`client.chat`."""

    @cached_property
    def completions(self) -> native.Completions:
        """Ask a model."""
        return Completions(self._pipeline)
