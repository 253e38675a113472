"""The `.stream()` helper and its events, under the names of the openai package."""

from typing import TypeAlias

from moonshot_async import chat_events as _chat_events
from moonshot_async.chat_events import ChatStreamEvent as ChatCompletionStreamEvent
from moonshot_async.chat_events import ContentDoneEvent
from moonshot_async.chat_stream import ChatCompletionStreamState
from moonshot_async.chat_stream import ChatStream as AsyncChatCompletionStream
from moonshot_async.chat_stream import ChatStreamManager as AsyncChatCompletionStreamManager

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
