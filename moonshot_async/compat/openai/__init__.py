"""The names of the openai package, for programs written for its `AsyncOpenAI`: only the import changes.

    from moonshot_async.compat.openai import AsyncOpenAI, RateLimitError

    from moonshot_async.compat import openai
    client = openai.AsyncOpenAI()

The key comes from `MOONSHOT_API_KEY`, and models are Moonshot's. What has no counterpart raises when it is imported,
and says what to use instead.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from moonshot_async import __version__
from moonshot_async.clocks import DEFAULT_TIMEOUT
from moonshot_async.compat.openai.client import AsyncOpenAI, Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentFilterFinishReasonError,
    InternalServerError,
    LengthFinishReasonError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
)
from moonshot_async.errors import MoonshotError as OpenAIError
from moonshot_async.middleware.retry import DEFAULT_MAX_RETRIES
from moonshot_async.resources.verbs import RequestOptions
from moonshot_async.streaming import Stream
from moonshot_async.streaming import Stream as AsyncStream
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.types.model import Model as BaseModel
from moonshot_async.types.pages import CursorPage as AsyncCursorPage
from moonshot_async.types.pages import Page as AsyncPage

if TYPE_CHECKING:
    from moonshot_async.compat.openai import lib, types
    from moonshot_async.raw_responses import APIResponse
    from moonshot_async.raw_responses import APIResponse as AsyncAPIResponse
    from moonshot_async.resources.file_content import FileContent as HttpxBinaryResponseContent
    from moonshot_async.structured import pydantic_function_tool

# Sorted as `sorted` sorts.
__all__ = [  # noqa: RUF022  # ruff would put constants first
    "APIConnectionError",
    "APIError",
    "APIResponse",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncAPIResponse",
    "AsyncClient",
    "AsyncCursorPage",
    "AsyncOpenAI",
    "AsyncPage",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "BaseModel",
    "ConflictError",
    "ContentFilterFinishReasonError",
    "DEFAULT_CONNECTION_LIMITS",
    "DEFAULT_MAX_RETRIES",
    "DEFAULT_TIMEOUT",
    "HttpxBinaryResponseContent",
    "InternalServerError",
    "LengthFinishReasonError",
    "NOT_GIVEN",
    "NoneType",
    "NotFoundError",
    "NotGiven",
    "Omit",
    "OpenAIError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestOptions",
    "Stream",
    "Timeout",
    "UnprocessableEntityError",
    "__title__",
    "__version__",
    "file_from_path",
    "lib",
    "not_given",
    "omit",
    "pydantic_function_tool",
    "types",
]

__title__: Final = "moonshot_async"

AsyncClient: TypeAlias = AsyncOpenAI
# One sentinel, and a type of which it is the only instance: `Omit()` is `omit`.
Omit: TypeAlias = NotGiven
NoneType: TypeAlias = type(None)
not_given: Final = NOT_GIVEN
omit: Final = NOT_GIVEN


class _Limits(NamedTuple):
    max_connections: int
    max_keepalive_connections: int


DEFAULT_CONNECTION_LIMITS: Final = _Limits(1000, 1000)

# Loaded when asked for.
_HOMES: Final = {
    "APIResponse": ("moonshot_async.raw_responses", "APIResponse"),
    "AsyncAPIResponse": ("moonshot_async.raw_responses", "APIResponse"),
    "HttpxBinaryResponseContent": ("moonshot_async.resources.file_content", "FileContent"),
    "pydantic_function_tool": ("moonshot_async.structured", "pydantic_function_tool"),
    "lib": ("moonshot_async.compat.openai.lib", ""),
    "types": ("moonshot_async.compat.openai.types", ""),
}
_SYNC: Final = "this SDK is for asyncio only: use AsyncOpenAI, with asyncio.run(main()) around the program"
_AZURE: Final = "this SDK talks to the Moonshot API: use AsyncOpenAI, with base_url= for another host"
_TRANSPORT: Final = "clients of httpx cannot be used: give AsyncOpenAI a transport=moonshot_async.AiohttpTransport(...)"
_UNAVAILABLE: Final = {
    **dict.fromkeys(("Client", "OpenAI", "chat", "client", "embeddings", "files", "models"), _SYNC),
    **dict.fromkeys(("AsyncAzureOpenAI", "AsyncBedrockOpenAI", "AzureOpenAI", "BedrockOpenAI"), _AZURE),
    **dict.fromkeys(
        (
            *("DefaultAioHttpClient", "DefaultAsyncHttpxClient", "DefaultAsyncHttpx2Client", "DefaultHttpxClient"),
            *("DefaultHttpx2Client", "ProxiesTypes", "Transport"),
        ),
        _TRANSPORT,
    ),
}


def file_from_path(path: str) -> Path:
    """A file to upload; it is read while it is sent."""
    return Path(path)


def __getattr__(name: str) -> Any:
    if name in _UNAVAILABLE:
        # An AttributeError would be turned into an ImportError that does not say why.
        raise ImportError(f"{__name__} has no {name}: {_UNAVAILABLE[name]}", name=name)
    if name not in _HOMES:
        # difflib is needed once, to be kind about a slip.
        from difflib import get_close_matches

        close = get_close_matches(name, __all__, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name)
    home, there = _HOMES[name]
    module = import_module(home)
    value = globals()[name] = getattr(module, there) if there else module
    return value


def __dir__() -> list[str]:
    return __all__
