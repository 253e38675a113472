"""The names of the openai package: there, and what they should be. (What programs do with them: test_openai_habits.)"""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import moonshot_async
from moonshot_async import AsyncMoonshot, ConfigurationError, MemoryTransport, MoonshotError, Request, Response
from moonshot_async.compat import openai
from moonshot_async.types.chat import ChatCompletion, Usage

KEY = "sk-canary-01"
ERRORS = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "ContentFilterFinishReasonError",
    "InternalServerError",
    "LengthFinishReasonError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "UnprocessableEntityError",
]


async def nothing(request: Request) -> Response:
    return Response(200, body="{}")


def make(**options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**{"api_key": KEY, "transport": MemoryTransport(nothing)} | options)


@pytest.mark.parametrize("name", openai.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(openai, name) is not None
    assert name in dir(openai)


def test_the_names_are_sorted() -> None:
    assert openai.__all__ == sorted(openai.__all__)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_our_own(name: str) -> None:
    assert getattr(openai, name) is getattr(moonshot_async, name)
    assert issubclass(getattr(openai, name), openai.OpenAIError)
    assert openai.OpenAIError is MoonshotError


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "types",
            "Batch ChatModel CompletionUsage FileDeleted FileObject FunctionDefinition Model chat",
        ),
        (
            "types.chat",
            "ChatCompletion ChatCompletionChunk ChatCompletionMessage ChatCompletionMessageParam "
            "ChatCompletionToolParam ChatCompletionMessageToolCall ChatCompletionUserMessageParam "
            "ParsedChatCompletion ParsedFunctionToolCall ChatCompletionContentPartParam "
            "ChatCompletionToolChoiceOptionParam CompletionCreateParams",
        ),
        ("types.chat.chat_completion", "ChatCompletion Choice ChoiceLogprobs"),
        ("types.chat.chat_completion_chunk", "Choice ChoiceDelta ChoiceDeltaToolCall ChoiceDeltaToolCallFunction"),
        ("types.chat.chat_completion_message", "ChatCompletionMessage FunctionCall"),
        ("types.chat.chat_completion_message_function_tool_call", "ChatCompletionMessageFunctionToolCall Function"),
        ("types.chat.chat_completion_message_param", "ChatCompletionMessageParam"),
        ("types.chat.chat_completion_message_tool_call", "ChatCompletionMessageToolCall Function"),
        ("types.chat.chat_completion_tool_param", "ChatCompletionToolParam"),
        ("types.completion_usage", "CompletionTokensDetails CompletionUsage PromptTokensDetails"),
        ("lib.streaming.chat", "AsyncChatCompletionStream ChatCompletionStreamState ContentDeltaEvent ChunkEvent"),
    ],
)
def test_modules_are_where_openai_has_them(module: str, names: str) -> None:
    ours = importlib.import_module(f"moonshot_async.compat.openai.{module}")
    theirs = importlib.import_module(f"openai.{module}")
    for name in names.split():
        assert getattr(ours, name) is not None
        assert hasattr(theirs, name)


def test_types_are_our_own() -> None:
    assert openai.types.chat.ChatCompletion is ChatCompletion
    assert openai.types.CompletionUsage is Usage
    assert openai.types.chat.ChatCompletionUserMessageParam(role="user", content="Hi") == {
        "role": "user",
        "content": "Hi",
    }


def test_there_is_one_sentinel_and_its_type_makes_no_other() -> None:
    assert openai.Omit() is openai.omit is openai.NOT_GIVEN is openai.not_given is openai.NotGiven()
    assert isinstance(openai.omit, openai.Omit)
    assert not openai.omit


# --- The client


def test_the_client_is_ours_under_another_name() -> None:
    client = make()
    assert isinstance(client, AsyncMoonshot)
    assert openai.AsyncClient is openai.AsyncOpenAI
    for other in (client.with_options(timeout=5), client.copy(timeout=5)):
        assert type(other) is openai.AsyncOpenAI
        assert other.timeout.total == 5


def test_keywords_that_change_nothing_are_taken() -> None:
    ignored: dict[str, Any] = {"admin_api_key": "sk-admin", "webhook_secret": "s", "_enforce_credentials": False}
    client: Any = make(organization="o", workload_identity=None, **ignored)
    assert client.copy(_extra_kwargs={}, provider=None, **ignored).organization == "o"


@pytest.mark.parametrize("name", ["data_residency", "provider", "workload_identity"])
def test_keywords_that_ask_for_another_service_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} cannot be used here"):
        make(**{name: "x"})
    with pytest.raises(TypeError, match=f"{name} cannot be used here"):
        make().with_options(**{name: "x"})


def test_keywords_that_nobody_has_are_refused() -> None:
    with pytest.raises(TypeError, match="max_retry"):
        make(max_retry=1)
    with pytest.raises(TypeError, match="transport="):
        make(http_client=object())
    with pytest.raises(ConfigurationError):
        make(max_retries=-1)


# --- Odds


def test_a_timeout_is_made_of_what_httpx_takes() -> None:
    default = openai.DEFAULT_TIMEOUT
    assert openai.Timeout(5.0, connect=1.0) == moonshot_async.Timeout(connect=1.0, read=5.0, write=5.0, pool=5.0)
    assert openai.Timeout(None) == moonshot_async.Timeout(connect=None, read=None, write=None, pool=None)
    assert openai.Timeout(read=3) == moonshot_async.Timeout(read=3)
    assert openai.Timeout() == default
    assert openai.Timeout(timeout=9).total == default.total


def test_limits_and_paths() -> None:
    assert openai.DEFAULT_CONNECTION_LIMITS.max_connections == 1000
    assert openai.DEFAULT_MAX_RETRIES == 2
    assert openai.file_from_path("a/b.txt") == Path("a/b.txt")
    assert openai.NoneType is type(None)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("OpenAI", "use AsyncOpenAI"),
        ("chat", "use AsyncOpenAI"),
        ("AsyncAzureOpenAI", "base_url="),
        ("DefaultAsyncHttpxClient", "transport="),
    ],
)
def test_what_has_no_counterpart_says_what_to_use_when_it_is_imported(name: str, advice: str) -> None:
    with pytest.raises(ImportError, match=f"has no {name}: .*{advice}"):
        exec(f"from moonshot_async.compat.openai import {name}")
    with pytest.raises(ImportError, match=advice):
        getattr(openai, name)


def test_an_unknown_name_is_an_attribute_error_with_a_hint() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RateLimitEror'; did you mean 'RateLimitError'"):
        getattr(openai, "RateLimitEror")  # noqa: B009  # a name that type checkers know to be wrong
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        getattr(openai, "zzz")  # noqa: B009  # a name that type checkers know to be wrong


def test_importing_it_brings_neither_openai_nor_a_transport() -> None:
    program = (
        "import sys; import moonshot_async.compat.openai; "
        "print([name for name in ('openai', 'aiohttp', 'tenacity', 'pydantic', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
