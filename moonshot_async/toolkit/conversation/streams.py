"""`conversation.stream(…)`: the answer as events, appended to the history when it is whole."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from moonshot_async.errors import StreamInterruptedError
from moonshot_async.toolkit.conversation.questions import Source
from moonshot_async.toolkit.conversation.replies import Reply

_ENTER: Final = (
    "the stream of a conversation is entered first, so that it is closed in the end: "
    "`async with conversation.stream(…) as stream`"
)


class ReplyStream:
    """An answer that arrives: `async for event in stream`, then `stream.reply`.

    The events are those of `client.chat.completions.stream`; where tools are functions, those of `run_tools`.
    The question and its answer are in the history once the last event was taken. A stream that breaks off, raises, or
    is left before leaves the history as it was before the question.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def reply(self) -> Reply | None:
        """The answer; None as long as it is not whole, and in the history."""
        return self._source.reply

    def __aiter__(self) -> "ReplyStream":
        return self

    async def __anext__(self) -> Any:
        return await self._source.next()

    async def get_reply(self) -> Reply:
        """Read the rest; gives the answer.

        Raises:
            APIError: as the events do.
        """
        async for _ in self:
            pass
        if self._source.reply is None:
            raise StreamInterruptedError(message="The stream was closed before the answer was whole.")
        return self._source.reply

    def __repr__(self) -> str:
        return f"<ReplyStream: {'whole' if self._source.reply else 'open'}>"


class ReplyStreamManager:
    """Opens the stream at `async with`, and closes it at its end.

    Args:
        begin: takes the place of the one question that a conversation is asked at a time; gives what to read.
        end: gives it back.
    """

    def __init__(self, begin: Callable[[], Source], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end
        self._source: Source | None = None

    async def __aenter__(self) -> ReplyStream:
        source = self._begin()
        try:
            await source.open()
        except BaseException:
            self._end()
            raise
        self._source = source
        return ReplyStream(source)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._source is not None, "it was entered"
        try:
            await self._source.aclose()
        finally:
            self._end()

    # They only say what to do.
    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know that neither is there

        def __aiter__(self) -> NoReturn:
            raise TypeError(_ENTER + ", and then `async for event in stream`.")

        def __await__(self) -> NoReturn:
            raise TypeError(_ENTER + ", and then `await stream.get_reply()`.")
