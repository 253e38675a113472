"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat_params as _chat_params

ChatCompletionToolParam: TypeAlias = _chat_params.ToolParam
