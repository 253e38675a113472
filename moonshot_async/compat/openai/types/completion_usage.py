"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat

CompletionUsage: TypeAlias = _chat.Usage
CompletionTokensDetails: TypeAlias = _chat.CompletionTokensDetails
PromptTokensDetails: TypeAlias = _chat.PromptTokensDetails
