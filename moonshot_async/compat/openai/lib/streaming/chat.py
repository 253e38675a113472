"""The `.stream()` helper and its events, under the names of the openai package."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from moonshot_async import chat_events as _chat_events
from moonshot_async.chat_events import ChatStreamEvent as ChatCompletionStreamEvent
from moonshot_async.chat_events import ContentDoneEvent
from moonshot_async.chat_stream import ChatStream as AsyncChatCompletionStream
from moonshot_async.chat_stream import ChatStreamManager as AsyncChatCompletionStreamManager
from moonshot_async.compat.openai.reasoning import dress
from moonshot_async.types.chat import ChatCompletionChunk, ChoiceDelta

__all__ = [
    "AsyncChatCompletionStream",
    "AsyncChatCompletionStreamManager",
    "ChatCompletionStreamEvent",
    "ChatCompletionStreamState",
    "ChunkEvent",
    "ContentDeltaEvent",
    "ContentDoneEvent",
    "FunctionToolCallArgumentsDeltaEvent",
    "FunctionToolCallArgumentsDoneEvent",
    "LogprobsContentDeltaEvent",
    "LogprobsContentDoneEvent",
    "LogprobsRefusalDeltaEvent",
    "LogprobsRefusalDoneEvent",
    "RefusalDeltaEvent",
    "RefusalDoneEvent",
]

ChunkEvent: TypeAlias = _chat_events.ChunkEvent
ContentDeltaEvent: TypeAlias = _chat_events.ContentDeltaEvent
FunctionToolCallArgumentsDeltaEvent: TypeAlias = _chat_events.ToolCallDeltaEvent
FunctionToolCallArgumentsDoneEvent: TypeAlias = _chat_events.ToolCallDoneEvent
LogprobsContentDeltaEvent: TypeAlias = _chat_events.LogprobsEvent
LogprobsContentDoneEvent: TypeAlias = _chat_events.LogprobsEvent
LogprobsRefusalDeltaEvent: TypeAlias = _chat_events.LogprobsEvent
LogprobsRefusalDoneEvent: TypeAlias = _chat_events.LogprobsEvent
RefusalDeltaEvent: TypeAlias = _chat_events.RefusalDeltaEvent
RefusalDoneEvent: TypeAlias = _chat_events.RefusalDoneEvent

if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatCompletionStreamState as ChatCompletionStreamState
else:
    from moonshot_async.chat_stream import ChatCompletionStreamState as _State

    T = TypeVar("T")

    class ChatCompletionStreamState(_State[T]):
        """The same for chunks of `AsyncOpenAI`, and of anywhere else."""

        def handle_chunk(self, chunk: ChatCompletionChunk) -> Iterator[ChatCompletionStreamEvent]:
            """Take a chunk, and give the events that it makes."""
            dress(chunk, ChoiceDelta)
            try:
                return super().handle_chunk(chunk)
            finally:
                dress(chunk)
