"""An asyncio-first SDK for the Moonshot AI (Kimi) API.

    from moonshot_async import AsyncMoonshot

    async with AsyncMoonshot() as client:
        completion = await client.chat.completions.create(
            model="kimi-k2.6", messages=[{"role": "user", "content": "Hi"}]
        )

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

__version__ = "0.1.0"

# Type checkers take it for true. To import it would take longer than all else here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from moonshot_async.bounds import Bounds as Bounds
    from moonshot_async.catalog import CATALOG as CATALOG
    from moonshot_async.catalog import Catalog as Catalog
    from moonshot_async.chat_events import ChatStreamEvent as ChatStreamEvent
    from moonshot_async.chat_events import StreamResumedEvent as StreamResumedEvent
    from moonshot_async.chat_stream import ChatCompletionStreamState as ChatCompletionStreamState
    from moonshot_async.chat_stream import ChatStream as ChatStream
    from moonshot_async.client import AsyncMoonshot as AsyncMoonshot
    from moonshot_async.clocks import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
    from moonshot_async.clocks import Timeout as Timeout
    from moonshot_async.drain import CallInFlight as CallInFlight
    from moonshot_async.drain import DrainReport as DrainReport
    from moonshot_async.errors import APIConnectionError as APIConnectionError
    from moonshot_async.errors import APIError as APIError
    from moonshot_async.errors import APIResponseValidationError as APIResponseValidationError
    from moonshot_async.errors import APIStatusError as APIStatusError
    from moonshot_async.errors import APITimeoutError as APITimeoutError
    from moonshot_async.errors import Attempt as Attempt
    from moonshot_async.errors import AuthenticationError as AuthenticationError
    from moonshot_async.errors import BadRequestError as BadRequestError
    from moonshot_async.errors import BatchFailedError as BatchFailedError
    from moonshot_async.errors import BudgetReachedError as BudgetReachedError
    from moonshot_async.errors import CircuitOpenError as CircuitOpenError
    from moonshot_async.errors import ClientClosedError as ClientClosedError
    from moonshot_async.errors import ConfigurationError as ConfigurationError
    from moonshot_async.errors import ConflictError as ConflictError
    from moonshot_async.errors import ContentFilterError as ContentFilterError
    from moonshot_async.errors import ContentFilterFinishReasonError as ContentFilterFinishReasonError
    from moonshot_async.errors import ContextLengthExceededError as ContextLengthExceededError
    from moonshot_async.errors import ContextWindowError as ContextWindowError
    from moonshot_async.errors import ConversationError as ConversationError
    from moonshot_async.errors import DocumentError as DocumentError
    from moonshot_async.errors import DocumentsError as DocumentsError
    from moonshot_async.errors import DocumentsTooLongError as DocumentsTooLongError
    from moonshot_async.errors import EmptyAnswerError as EmptyAnswerError
    from moonshot_async.errors import EngineOverloadedError as EngineOverloadedError
    from moonshot_async.errors import InternalServerError as InternalServerError
    from moonshot_async.errors import JournalError as JournalError
    from moonshot_async.errors import JournalInUseError as JournalInUseError
    from moonshot_async.errors import LengthFinishReasonError as LengthFinishReasonError
    from moonshot_async.errors import LimitReachedError as LimitReachedError
    from moonshot_async.errors import MoonshotError as MoonshotError
    from moonshot_async.errors import NotFoundError as NotFoundError
    from moonshot_async.errors import PermissionDeniedError as PermissionDeniedError
    from moonshot_async.errors import QuotaExceededError as QuotaExceededError
    from moonshot_async.errors import RateLimitError as RateLimitError
    from moonshot_async.errors import ResponseTooLargeError as ResponseTooLargeError
    from moonshot_async.errors import SchemaError as SchemaError
    from moonshot_async.errors import StreamInterruptedError as StreamInterruptedError
    from moonshot_async.errors import StructuredOutputError as StructuredOutputError
    from moonshot_async.errors import ToolArgumentsError as ToolArgumentsError
    from moonshot_async.errors import ToolCancelledError as ToolCancelledError
    from moonshot_async.errors import ToolTimeoutError as ToolTimeoutError
    from moonshot_async.errors import UnprocessableEntityError as UnprocessableEntityError
    from moonshot_async.errors import UploadError as UploadError
    from moonshot_async.middleware.breaker import CircuitBreaker as CircuitBreaker
    from moonshot_async.middleware.breaker import CircuitState as CircuitState
    from moonshot_async.middleware.limit_store import LimitStore as LimitStore
    from moonshot_async.middleware.limit_store import MemoryLimitStore as MemoryLimitStore
    from moonshot_async.middleware.limits import LimitsSnapshot as LimitsSnapshot
    from moonshot_async.middleware.limits import RateLimits as RateLimits
    from moonshot_async.middleware.log import Log as Log
    from moonshot_async.middleware.retry import Retry as Retry
    from moonshot_async.middleware.retry_budget import RetryBudget as RetryBudget
    from moonshot_async.raw_responses import APIResponse as APIResponse
    from moonshot_async.raw_responses import RawResponse as RawResponse
    from moonshot_async.resources.batch_lines import BatchRequest as BatchRequest
    from moonshot_async.resources.batch_results import BatchResult as BatchResult
    from moonshot_async.resources.batch_run import BatchRun as BatchRun
    from moonshot_async.sse import ServerSentEvent as ServerSentEvent
    from moonshot_async.sse import SSEDecoder as SSEDecoder
    from moonshot_async.streaming import Stream as Stream
    from moonshot_async.streaming import collect as collect
    from moonshot_async.structured import function_tool as function_tool
    from moonshot_async.structured import pydantic_function_tool as pydantic_function_tool
    from moonshot_async.transports.aiohttp import AiohttpTransport as AiohttpTransport
    from moonshot_async.transports.memory import MemoryTransport as MemoryTransport
    from moonshot_async.types.batches import Batch as Batch
    from moonshot_async.types.chat import ChatCompletion as ChatCompletion
    from moonshot_async.types.chat import ChatCompletionChunk as ChatCompletionChunk
    from moonshot_async.types.chat import ChatCompletionMessage as ChatCompletionMessage
    from moonshot_async.types.chat_params import WEB_SEARCH as WEB_SEARCH
    from moonshot_async.types.encoding import NOT_GIVEN as NOT_GIVEN
    from moonshot_async.types.encoding import NotGiven as NotGiven
    from moonshot_async.types.files import FileObject as FileObject
    from moonshot_async.types.parsed import ParsedChatCompletion as ParsedChatCompletion
    from moonshot_async.wire import Headers as Headers
    from moonshot_async.wire import Request as Request
    from moonshot_async.wire import Response as Response


_HOMES = {
    "bounds": ("Bounds",),
    "catalog": ("CATALOG", "Catalog"),
    "chat_events": ("ChatStreamEvent", "StreamResumedEvent"),
    "chat_stream": ("ChatCompletionStreamState", "ChatStream"),
    "client": ("AsyncMoonshot",),
    "clocks": ("DEFAULT_TIMEOUT", "Timeout"),
    "drain": ("CallInFlight", "DrainReport"),
    "errors": (
        "APIConnectionError",
        "APIError",
        "APIResponseValidationError",
        "APIStatusError",
        "APITimeoutError",
        "Attempt",
        "AuthenticationError",
        "BadRequestError",
        "BatchFailedError",
        "BudgetReachedError",
        "CircuitOpenError",
        "ClientClosedError",
        "ConfigurationError",
        "ConflictError",
        "ContentFilterError",
        "ContentFilterFinishReasonError",
        "ContextLengthExceededError",
        "ContextWindowError",
        "ConversationError",
        "DocumentError",
        "DocumentsError",
        "DocumentsTooLongError",
        "EmptyAnswerError",
        "EngineOverloadedError",
        "InternalServerError",
        "JournalError",
        "JournalInUseError",
        "LengthFinishReasonError",
        "LimitReachedError",
        "MoonshotError",
        "NotFoundError",
        "PermissionDeniedError",
        "QuotaExceededError",
        "RateLimitError",
        "ResponseTooLargeError",
        "SchemaError",
        "StreamInterruptedError",
        "StructuredOutputError",
        "ToolArgumentsError",
        "ToolCancelledError",
        "ToolTimeoutError",
        "UnprocessableEntityError",
        "UploadError",
    ),
    "middleware.breaker": ("CircuitBreaker", "CircuitState"),
    "middleware.limit_store": ("LimitStore", "MemoryLimitStore"),
    "middleware.limits": ("LimitsSnapshot", "RateLimits"),
    "middleware.log": ("Log",),
    "middleware.retry": ("Retry",),
    "middleware.retry_budget": ("RetryBudget",),
    "raw_responses": ("APIResponse", "RawResponse"),
    "resources.batch_lines": ("BatchRequest",),
    "resources.batch_results": ("BatchResult",),
    "resources.batch_run": ("BatchRun",),
    "sse": ("SSEDecoder", "ServerSentEvent"),
    "streaming": ("Stream", "collect"),
    "structured": ("function_tool", "pydantic_function_tool"),
    "transports.aiohttp": ("AiohttpTransport",),
    "transports.memory": ("MemoryTransport",),
    "types.batches": ("Batch",),
    "types.chat": ("ChatCompletion", "ChatCompletionChunk", "ChatCompletionMessage"),
    "types.chat_params": ("WEB_SEARCH",),
    "types.encoding": ("NOT_GIVEN", "NotGiven"),
    "types.files": ("FileObject",),
    "types.parsed": ("ParsedChatCompletion",),
    "wire": ("Headers", "Request", "Response"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Sorted as `sorted` sorts, so that anybody can check it.
__all__ = [  # noqa: RUF022  # ruff would put constants first
    "APIConnectionError",
    "APIError",
    "APIResponse",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AiohttpTransport",
    "AsyncMoonshot",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchFailedError",
    "BatchRequest",
    "BatchResult",
    "BatchRun",
    "Bounds",
    "BudgetReachedError",
    "CATALOG",
    "CallInFlight",
    "Catalog",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatCompletionMessage",
    "ChatCompletionStreamState",
    "ChatStream",
    "ChatStreamEvent",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterError",
    "ContentFilterFinishReasonError",
    "ContextLengthExceededError",
    "ContextWindowError",
    "ConversationError",
    "DEFAULT_TIMEOUT",
    "DocumentError",
    "DocumentsError",
    "DocumentsTooLongError",
    "DrainReport",
    "EmptyAnswerError",
    "EngineOverloadedError",
    "FileObject",
    "Headers",
    "InternalServerError",
    "JournalError",
    "JournalInUseError",
    "LengthFinishReasonError",
    "LimitReachedError",
    "LimitStore",
    "LimitsSnapshot",
    "Log",
    "MemoryLimitStore",
    "MemoryTransport",
    "MoonshotError",
    "NOT_GIVEN",
    "NotFoundError",
    "NotGiven",
    "ParsedChatCompletion",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RateLimits",
    "RawResponse",
    "Request",
    "Response",
    "ResponseTooLargeError",
    "Retry",
    "RetryBudget",
    "SSEDecoder",
    "SchemaError",
    "ServerSentEvent",
    "Stream",
    "StreamInterruptedError",
    "StreamResumedEvent",
    "StructuredOutputError",
    "Timeout",
    "ToolArgumentsError",
    "ToolCancelledError",
    "ToolTimeoutError",
    "UnprocessableEntityError",
    "UploadError",
    "WEB_SEARCH",
    "__version__",
    "collect",
    "function_tool",
    "pydantic_function_tool",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
