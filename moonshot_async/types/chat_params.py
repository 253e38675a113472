"""What chat completions are asked: the keywords of a call, and the request that is sent.

Keywords are strict: one that does not exist is a `TypeError`. What the caller left out, or passed as `NOT_GIVEN`, is
not sent; `None`, `0`, `False` and `""` are what the caller said. Values are not judged here: the API knows its models
better than a client that was released before them.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Required, TypeAlias, TypedDict

import msgspec

from moonshot_async.headers import Unshown
from moonshot_async.types.chat_messages import ChatMessage as ChatMessage
from moonshot_async.types.chat_messages import ContentPart as ContentPart
from moonshot_async.types.chat_messages import DynamicToolsMessage as DynamicToolsMessage
from moonshot_async.types.chat_messages import FunctionCallParam as FunctionCallParam
from moonshot_async.types.chat_messages import FunctionDefinition as FunctionDefinition
from moonshot_async.types.chat_messages import ImagePart as ImagePart
from moonshot_async.types.chat_messages import MediaUrl as MediaUrl
from moonshot_async.types.chat_messages import MessageParam as MessageParam
from moonshot_async.types.chat_messages import TextPart as TextPart
from moonshot_async.types.chat_messages import ToolCallParam as ToolCallParam
from moonshot_async.types.chat_messages import ToolParam as ToolParam
from moonshot_async.types.chat_messages import VideoPart as VideoPart
from moonshot_async.types.encoding import NotGiven

Unset: TypeAlias = msgspec.UnsetType


WEB_SEARCH: Final[ToolParam] = {"type": "builtin_function", "function": {"name": "$web_search"}}
"""The service's own web search, for `tools=`. Each call has a fee.

The model asks for it with tool calls of the type `builtin_function`. Put its message into `messages` as it came, and
for each call a tool message whose content is `call.function.arguments`, unchanged; the service adds the results.

See: https://platform.kimi.ai/docs/guide/use-web-search
"""


class FunctionName(TypedDict):
    """The function that must be called."""

    name: str


class NamedToolChoice(TypedDict):
    """Call this function. No model that thinks takes it; on K3 use "required" with a single tool instead."""

    type: Literal["function"]
    function: FunctionName


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | str | NamedToolChoice | Mapping[str, Any]


class TextFormat(TypedDict):
    """Plain text, the default."""

    type: Literal["text"]


class JsonObjectFormat(TypedDict):
    """Any JSON object. The prompt must ask for JSON, too."""

    type: Literal["json_object"]


class JsonSchema(TypedDict, total=False):
    """The schema of an answer, in Moonshot's dialect (MFJS).

    Attributes:
        name: of the schema.
        schema: its root is an object.
        strict: False guarantees JSON, but not the schema; the API's default is True.
    """

    name: Required[str]
    schema: Required[Mapping[str, Any]]
    strict: bool
    description: str


class JsonSchemaFormat(TypedDict):
    """JSON that conforms to a schema; the schema costs prompt tokens."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat: TypeAlias = TextFormat | JsonObjectFormat | JsonSchemaFormat | Mapping[str, Any]


class Prediction(TypedDict):
    """Text that the answer is expected to repeat in large parts, such as a file with small changes: it comes faster."""

    type: Literal["content"]
    content: str | Sequence[TextPart]


ReasoningEffort: TypeAlias = Literal["low", "high", "max"] | str


class StreamOptions(TypedDict, total=False):
    """`include_usage` asks for a last chunk with `usage` and no choices."""

    include_usage: bool


class Thinking(TypedDict, total=False):
    """K2.6 and K2.7: whether the model thinks, and whether reasoning of earlier turns is kept."""

    type: Required[Literal["enabled", "disabled"]]
    keep: Literal["all"] | None


class PromptCacheOptions(TypedDict, total=False):
    """K3 family: how long a cached prefix lives; writes are billed."""

    mode: Literal["implicit"]
    ttl: Literal["5m", "1h"]


class UnformattedParams(TypedDict, total=False):
    """The keywords of a chat completion, but for `response_format`, `stream` and those that address the call itself.

    The first block is documented for Kimi. The second is what programs written for other OpenAI-style services pass:
    accepted and sent as given, whatever the server makes of it.
    """

    model: Required[str]
    messages: Required[Iterable[ChatMessage]]
    max_completion_tokens: int | NotGiven | None
    max_tokens: int | NotGiven | None
    stream_options: StreamOptions | NotGiven | None
    temperature: float | NotGiven | None
    top_p: float | NotGiven | None
    n: int | NotGiven | None
    presence_penalty: float | NotGiven | None
    frequency_penalty: float | NotGiven | None
    stop: str | Sequence[str] | NotGiven | None
    tools: Iterable[ToolParam | Mapping[str, Any]] | NotGiven
    tool_choice: ToolChoice | NotGiven
    thinking: Thinking | Mapping[str, Any] | NotGiven | None
    reasoning_effort: ReasoningEffort | NotGiven | None
    prediction: Prediction | Mapping[str, Any] | NotGiven | None
    logprobs: bool | NotGiven | None
    top_logprobs: int | NotGiven | None
    prompt_cache_key: str | NotGiven
    prompt_cache_options: PromptCacheOptions | Mapping[str, Any] | NotGiven
    safety_identifier: str | NotGiven

    seed: int | NotGiven | None
    top_k: int | NotGiven | None
    logit_bias: Mapping[str, int] | NotGiven | None
    user: str | NotGiven
    parallel_tool_calls: bool | NotGiven
    metadata: Mapping[str, str] | NotGiven | None
    service_tier: str | NotGiven | None
    store: bool | NotGiven | None
    audio: Mapping[str, Any] | NotGiven | None
    function_call: str | Mapping[str, Any] | NotGiven
    functions: Iterable[Mapping[str, Any]] | NotGiven
    modalities: Sequence[str] | NotGiven | None
    moderation: Any
    prompt_cache_retention: str | NotGiven | None
    verbosity: str | NotGiven | None
    web_search_options: Mapping[str, Any] | NotGiven


class CompletionParams(UnformattedParams, total=False):
    """The keywords of a chat completion, but for `stream` and those that address the call itself."""

    response_format: ResponseFormat | NotGiven


class CompletionRequest(Unshown, msgspec.Struct, kw_only=True, gc=False):
    """The body of a chat completion. Its fields are the keywords of `CompletionParams`, and `stream`."""

    model: Any
    messages: Any
    stream: Any = msgspec.UNSET
    max_completion_tokens: Any = msgspec.UNSET
    max_tokens: Any = msgspec.UNSET
    stream_options: Any = msgspec.UNSET
    temperature: Any = msgspec.UNSET
    top_p: Any = msgspec.UNSET
    n: Any = msgspec.UNSET
    presence_penalty: Any = msgspec.UNSET
    frequency_penalty: Any = msgspec.UNSET
    stop: Any = msgspec.UNSET
    response_format: Any = msgspec.UNSET
    tools: Any = msgspec.UNSET
    tool_choice: Any = msgspec.UNSET
    thinking: Any = msgspec.UNSET
    reasoning_effort: Any = msgspec.UNSET
    prediction: Any = msgspec.UNSET
    logprobs: Any = msgspec.UNSET
    top_logprobs: Any = msgspec.UNSET
    prompt_cache_key: Any = msgspec.UNSET
    prompt_cache_options: Any = msgspec.UNSET
    safety_identifier: Any = msgspec.UNSET
    seed: Any = msgspec.UNSET
    top_k: Any = msgspec.UNSET
    logit_bias: Any = msgspec.UNSET
    user: Any = msgspec.UNSET
    parallel_tool_calls: Any = msgspec.UNSET
    metadata: Any = msgspec.UNSET
    service_tier: Any = msgspec.UNSET
    store: Any = msgspec.UNSET
    audio: Any = msgspec.UNSET
    function_call: Any = msgspec.UNSET
    functions: Any = msgspec.UNSET
    modalities: Any = msgspec.UNSET
    moderation: Any = msgspec.UNSET
    prompt_cache_retention: Any = msgspec.UNSET
    verbosity: Any = msgspec.UNSET
    web_search_options: Any = msgspec.UNSET
