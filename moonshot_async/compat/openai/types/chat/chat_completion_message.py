"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat

ChatCompletionMessage: TypeAlias = _chat.ChatCompletionMessage
FunctionCall: TypeAlias = _chat.FunctionCall
