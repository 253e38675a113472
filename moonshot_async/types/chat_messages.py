"""What messages and tools look like in a request.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypeAlias, TypedDict

from moonshot_async.types.chat import ChatCompletionMessage


class TextPart(TypedDict):
    """Text in a message with several parts; must not be empty."""

    type: Literal["text"]
    text: str


class MediaUrl(TypedDict):
    """Where an image or video is: a `data:` URL or `ms://<file id>`. The API takes no public http(s) URLs."""

    url: str


class ImagePart(TypedDict):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: MediaUrl | str


class VideoPart(TypedDict):
    """A video in a message."""

    type: Literal["video_url"]
    video_url: MediaUrl | str


ContentPart: TypeAlias = TextPart | ImagePart | VideoPart


class FunctionCallParam(TypedDict):
    """The function of a tool call that is replayed; `arguments` is JSON text, as the model wrote it."""

    name: str
    arguments: str


class ToolCallParam(TypedDict):
    """A tool call that is replayed."""

    id: str
    type: str
    function: FunctionCallParam


class FunctionDefinition(TypedDict, total=False):
    """A function that the model may call; `parameters` is JSON Schema in Moonshot's dialect (MFJS)."""

    name: Required[str]
    description: str
    parameters: Mapping[str, Any]
    strict: bool


class ToolParam(TypedDict):
    """A tool: `{"type": "function", …}`, or `{"type": "builtin_function", "function": {"name": "$web_search"}}`."""

    type: str
    function: FunctionDefinition


class MessageParam(TypedDict, total=False):
    """A message of the conversation, in any role.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: text or parts; must not be empty.
        name: optional; with `partial` it is part of the prefix that is continued.
        partial: on the last, assistant message only: continue this text (Partial Mode).
        reasoning_content: of an assistant message; replay what the API gave.
        tool_calls: of an assistant message.
        tool_call_id: of a tool message; the id that it answers.
        tools: on a system message without content: tools available from here on (K3 family).
    """

    role: Required[str]
    content: str | Sequence[ContentPart] | None
    name: str
    partial: bool
    reasoning_content: str | None
    tool_calls: Sequence[ToolCallParam]
    tool_call_id: str
    tools: Sequence[ToolParam]


class DynamicToolsMessage(TypedDict):
    """K3 family: tools available from here on. It has no content; append such messages, never change earlier ones."""

    role: Literal["system"]
    tools: Sequence[ToolParam]


ChatMessage: TypeAlias = MessageParam | DynamicToolsMessage | ChatCompletionMessage | Mapping[str, Any]
