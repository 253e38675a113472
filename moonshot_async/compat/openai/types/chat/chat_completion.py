"""What is looked up in openai's module of this name."""

from typing import TypeAlias

from moonshot_async.types import chat as _chat

ChatCompletion: TypeAlias = _chat.ChatCompletion
Choice: TypeAlias = _chat.Choice
ChoiceLogprobs: TypeAlias = _chat.Logprobs
