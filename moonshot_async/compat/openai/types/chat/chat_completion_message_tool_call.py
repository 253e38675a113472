"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat

ChatCompletionMessageToolCall: TypeAlias = _chat.ToolCall
Function: TypeAlias = _chat.FunctionCall
