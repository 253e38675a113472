"""What chat completions answer: the whole answer, the chunks of a streamed one, and their parts.

Open sets (`finish_reason`, `role`, `type`) are plain strings, every field but the key ones has a default, and fields
that the SDK does not know stay readable as attributes. Fields stand in the order in which openai's objects dump them.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Collection
from typing import Any, ClassVar

import msgspec

from moonshot_async.types.model import Answer, Model, ModelDecoder, sent_null


class PromptTokensDetails(Model, kw_only=True, gc=False):
    """Where prompt tokens came from, in tokens."""

    audio_tokens: int | None = None
    cache_write_tokens: int | None = None
    cached_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


class CompletionTokensDetails(Model, kw_only=True, gc=False):
    """What completion tokens were spent on, in tokens."""

    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None


class Usage(Model, kw_only=True, gc=False):
    """Tokens of one call. `completion_tokens` counts reasoning and answer.

    Cached prompt tokens come flat, nested or both; whichever is missing is filled in from the other.
    """

    _shown_as: ClassVar[str] = "CompletionUsage"
    _added: ClassVar[frozenset[str]] = frozenset({"cached_tokens"})

    completion_tokens: int = 0
    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    cached_tokens: int | None = None
    # What did not come, but was taken from the other place.
    _filled_in: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="<filled in>")

    def __post_init__(self) -> None:
        details = self.prompt_tokens_details
        if self.cached_tokens is None:
            if details is not None and details.cached_tokens is not None:
                self.cached_tokens = details.cached_tokens
                self._filled_in = "cached_tokens"
        elif details is None:
            self.prompt_tokens_details = PromptTokensDetails(cached_tokens=self.cached_tokens)
            self._filled_in = "prompt_tokens_details"
        elif details.cached_tokens is None:
            details.cached_tokens = self.cached_tokens
            self._filled_in = "prompt_tokens_details.cached_tokens"

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Plain dicts; see `Model.model_dump`."""
        out = super().model_dump(**options)
        if options.get("exclude_unset") and self._filled_in == "prompt_tokens_details.cached_tokens":
            out.get("prompt_tokens_details", {}).pop("cached_tokens", None)
        return out

    def _unsent(self) -> Collection[str]:
        return () if isinstance(self._filled_in, msgspec.UnsetType) else (self._filled_in,)


class TopLogprob(Model, kw_only=True, gc=False):
    """A token that could have stood here, with its log probability."""

    token: str = ""
    bytes: list[int] | None = None
    logprob: float = 0.0


class TokenLogprob(Model, kw_only=True, gc=False):
    """A token of the answer, its log probability, and the likeliest alternatives."""

    _shown_as: ClassVar[str] = "ChatCompletionTokenLogprob"

    token: str = ""
    bytes: list[int] | None = None
    logprob: float = 0.0
    top_logprobs: list[TopLogprob] = msgspec.field(default_factory=list)


class Logprobs(Model, kw_only=True, gc=False):
    """Log probabilities of the tokens of one choice."""

    _shown_as: ClassVar[str] = "ChoiceLogprobs"

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class FunctionCall(Model, kw_only=True, gc=False):
    """The function that a tool call names; `arguments` is JSON text as the model wrote it, not always valid."""

    _shown_as: ClassVar[str] = "Function"

    arguments: str = ""
    name: str = ""


class ToolCall(Model, kw_only=True, gc=False):
    """One call that the model asks for. `id` is opaque: echo it. `type` is `builtin_function` for `$web_search`."""

    _shown_as: ClassVar[str] = "ChatCompletionMessageFunctionToolCall"

    id: str = ""
    function: FunctionCall = msgspec.field(default_factory=FunctionCall)
    type: str = "function"


class ChatCompletionMessage(Model, kw_only=True, gc=False):
    """The model's message. It can be put into `messages` again and is then sent as it was received.

    Attributes:
        content: the answer; None or empty beside tool calls, or when `max_completion_tokens` went into reasoning.
        reasoning_content: what the model thought; the API wants it back, even when empty.
        reasoning: the same under the name that newer vLLM hosts use.
    """

    _added: ClassVar[frozenset[str]] = frozenset({"name", "reasoning_content", "reasoning"})

    content: str | None = None
    refusal: str | None = None
    role: str = "assistant"
    annotations: list[Any] | None = None
    audio: Any | None = None
    function_call: FunctionCall | None = None
    tool_calls: list[ToolCall] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    def to_param(self) -> dict[str, Any]:
        """This message as an entry of `messages`: as received, without what the API refuses.

        Nulls go, and so does an empty `content` beside tool calls; an empty `reasoning_content` stays.
        """
        param = {"role": self.role, **self._said()}
        if not self.tool_calls:
            param.pop("tool_calls", None)
        elif not self.content:
            param.pop("content", None)
        return param


class Choice(Model, kw_only=True, gc=False):
    """One of the answers. `finish_reason` is `stop`, `length`, `tool_calls`, or something newer."""

    _added: ClassVar[frozenset[str]] = frozenset({"usage"})

    finish_reason: str | None = None
    index: int = 0
    logprobs: Logprobs | None = None
    message: ChatCompletionMessage
    usage: Usage | None = None


class ChatCompletion(Answer, kw_only=True, gc=False):
    """The whole answer to one request. `created` is in Unix seconds.

    See: https://platform.kimi.ai/docs/api/chat
    """

    id: str = ""
    choices: list[Choice]
    created: int = 0
    model: str = ""
    object: str = "chat.completion"
    metadata: dict[str, str] | None = None
    moderation: Any | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: Usage | None = None


class FunctionCallDelta(Model, kw_only=True, gc=False):
    """A fragment of a function call; `arguments` are to be appended."""

    _shown_as: ClassVar[str] = "ChoiceDeltaToolCallFunction"

    arguments: str | None = None
    name: str | None = None


class ToolCallDelta(Model, kw_only=True, gc=False):
    """A fragment of a tool call. Fragments of one call share `index`; some hosts leave it out."""

    _shown_as: ClassVar[str] = "ChoiceDeltaToolCall"

    index: int | None = None
    id: str | None = None
    function: FunctionCallDelta | None = None
    type: str | None = None


class ChoiceDelta(Model, kw_only=True, gc=False):
    """What one chunk adds to a choice."""

    _added: ClassVar[frozenset[str]] = frozenset({"reasoning_content", "reasoning"})

    audio: Any | None = None
    content: str | None = None
    function_call: FunctionCallDelta | None = None
    refusal: str | None = None
    role: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class ChunkChoice(Model, kw_only=True, gc=False):
    """The part of a chunk that belongs to one choice. The finish chunk carries `usage` here."""

    _shown_as: ClassVar[str] = "Choice"
    _added: ClassVar[frozenset[str]] = frozenset({"usage"})

    delta: ChoiceDelta = msgspec.field(default_factory=ChoiceDelta)
    index: int = 0
    finish_reason: str | None = sent_null()
    logprobs: Logprobs | None = None
    usage: Usage | None = None


class ChatCompletionChunk(Model, kw_only=True, gc=False):
    """One event of a streamed answer. The last one may have no choices and only `usage`.

    See: https://platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api
    """

    id: str = ""
    choices: list[ChunkChoice]
    created: int = 0
    model: str = ""
    object: str = "chat.completion.chunk"
    moderation: Any | None = None
    obfuscation: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: Usage | None = None


decode_completion = ModelDecoder(ChatCompletion)
decode_chunk = ModelDecoder(ChatCompletionChunk)
