"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat

ChatCompletionChunk: TypeAlias = _chat.ChatCompletionChunk
Choice: TypeAlias = _chat.ChunkChoice
ChoiceLogprobs: TypeAlias = _chat.Logprobs
ChoiceDelta: TypeAlias = _chat.ChoiceDelta
ChoiceDeltaFunctionCall: TypeAlias = _chat.FunctionCallDelta
ChoiceDeltaToolCall: TypeAlias = _chat.ToolCallDelta
ChoiceDeltaToolCallFunction: TypeAlias = _chat.FunctionCallDelta
