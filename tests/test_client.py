"""`AsyncMoonshot`: its settings, what it sends, and its life."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from moonshot_async import (
    CATALOG,
    DEFAULT_TIMEOUT,
    AiohttpTransport,
    APIConnectionError,
    APIResponseValidationError,
    AsyncMoonshot,
    AuthenticationError,
    Bounds,
    CircuitBreaker,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    Log,
    MemoryTransport,
    RateLimits,
    Request,
    Response,
    Retry,
    Timeout,
)
from moonshot_async.clocks import NO_TIMEOUT
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware import Handler, Middleware
from moonshot_async.types.encoding import NOT_GIVEN

KEY = "sk-canary-a-key"
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}
VARIABLES = ("MOONSHOT_API_KEY", "KIMI_API_KEY", "MOONSHOT_BASE_URL")

MakeClient = Callable[..., AsyncMoonshot]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
def make(fake: FakeMoonshot) -> MakeClient:
    """Make a client of the fake, in memory."""

    def make(**options: Any) -> AsyncMoonshot:
        return AsyncMoonshot(**{"api_key": KEY, "transport": MemoryTransport(fake)} | options)

    return make


def no_network(**options: Any) -> AsyncMoonshot:
    return AsyncMoonshot(**{"transport": MemoryTransport(FakeMoonshot())} | options)


# --- The key


def test_a_missing_key_is_told_with_the_name_of_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="MOONSHOT_API_KEY"):
        no_network()


@pytest.mark.parametrize("variable", ["MOONSHOT_API_KEY", "KIMI_API_KEY"])
async def test_the_key_comes_from_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch, make: MakeClient, fake: FakeMoonshot
) -> None:
    monkeypatch.setenv(variable, "sk-from-environment\n")
    await make(api_key=None).models.list()
    assert fake.last_request.headers["Authorization"] == "Bearer sk-from-environment"


async def test_moonshot_api_key_goes_before_kimi_api_key(
    monkeypatch: pytest.MonkeyPatch, make: MakeClient, fake: FakeMoonshot
) -> None:
    monkeypatch.setenv("KIMI_API_KEY", "sk-second")
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-first")
    await make(api_key=None).models.list()
    assert fake.last_request.headers["Authorization"] == "Bearer sk-first"


async def test_white_space_around_the_key_is_taken_off(make: MakeClient, fake: FakeMoonshot) -> None:
    await make(api_key=f" {KEY}\r\n").models.list()
    assert fake.last_request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("inside", ["\r", "\n", "\0", " ", "\t", "\x7f", "é", "密", "\u2028", "\ud800"])
def test_a_key_with_a_foreign_character_is_refused_without_being_shown(inside: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        no_network(api_key=f"sk-secret{inside}part")
    assert "api_key" in str(caught.value)
    assert "secret" not in repr(caught.value)
    assert "part" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "   ", "\n"])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key is empty"):
        no_network(api_key=key)


def test_a_key_that_is_no_text_is_refused_by_its_type() -> None:
    with pytest.raises(ConfigurationError, match="must be text, not bytes"):
        no_network(api_key=KEY.encode())


async def test_a_key_function_is_asked_for_each_attempt(make: MakeClient, fake: FakeMoonshot) -> None:
    keys = iter(["sk-one", "sk-two\n", "sk-three"])

    async def rotating() -> str:
        return next(keys)

    client = make(api_key=rotating, middleware=[Retry(1, sleep=_no_sleep)])
    fake.fail(500)
    await client.chat.completions.create(**ASK)
    await client.models.list()
    sent = [request.headers["Authorization"] for request in fake.requests]
    assert sent == ["Bearer sk-one", "Bearer sk-two", "Bearer sk-three"]


async def test_what_a_key_function_returns_is_checked_before_it_is_sent(make: MakeClient, fake: FakeMoonshot) -> None:
    async def broken() -> str:
        return "sk-secret\r\nX-Evil: 1"

    with pytest.raises(ConfigurationError, match="the api_key function") as caught:
        await make(api_key=broken).models.list()
    assert "secret" not in str(caught.value)
    assert fake.requests == []


async def test_an_authorization_header_of_a_call_goes_before_every_kind_of_key(
    make: MakeClient, fake: FakeMoonshot
) -> None:
    async def never() -> str:
        raise AssertionError("nobody needs this key")

    for api_key in (KEY, never):
        await make(api_key=api_key).models.list(extra_headers={"authorization": "Bearer sk-other"})
        assert fake.last_request.headers["Authorization"] == "Bearer sk-other"


# --- Where the API is


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (None, "https://api.moonshot.cn/v1/"),
        ("cn", "https://api.moonshot.cn/v1/"),
        ("intl", "https://api.moonshot.ai/v1/"),
    ],
)
def test_the_region_says_where_the_api_is(region: Any, url: str) -> None:
    assert no_network(api_key=KEY, region=region).base_url == url


@pytest.mark.parametrize("more", [{}, {"base_url": "https://example.com/v1"}])
def test_an_unknown_region_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="'cn' or 'intl', not 'us'"):
        no_network(api_key=KEY, region="us", **more)


def test_base_url_goes_before_the_environment_and_that_before_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONSHOT_BASE_URL", " https://proxy.example/kimi/v1/ \n")
    assert no_network(api_key=KEY, region="intl").base_url == "https://proxy.example/kimi/v1/"
    assert no_network(api_key=KEY, base_url="https://example.com").base_url == "https://example.com/"
    monkeypatch.setenv("MOONSHOT_BASE_URL", "")
    assert no_network(api_key=KEY).base_url == "https://api.moonshot.cn/v1/"


def test_base_url_may_be_any_object_that_reads_as_a_url() -> None:
    class Url:
        def __str__(self) -> str:
            return "https://example.com/v1//"

    assert no_network(api_key=KEY, base_url=Url()).base_url == "https://example.com/v1/"


@pytest.mark.parametrize(
    "url",
    [
        "api.moonshot.cn/v1",
        "ftp://api.moonshot.cn/v1",
        "https:///v1",
        "https://",
        "https://host:port/v1",
        "https://host:0/v1",
        "https://host:99999/v1",
        "https://[::1/v1",
        "https://ho st/v1",
        "https://host/v1\r\nX-Evil: 1",
        "https://host/v1\0",
        "https://user:sk-secret@host/v1",
        "https://@host/v1",
        "https://host/v1?key=sk-secret",
        "https://host/v1?",
        "https://host/v1#",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url must") as caught:
        no_network(api_key=KEY, base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.9.9.9/v1",
        "http://[::1]:1/v1",
        "http://localhost/v1",
        "http://a.localhost",
    ],
)
async def test_plain_http_on_this_machine_needs_no_warning(url: str) -> None:
    await AsyncMoonshot(api_key=KEY, base_url=url).aclose()


@pytest.mark.parametrize("url", ["http://10.0.0.1/v1", "http://vllm:8000/v1", "http://localhost.example/v1"])
async def test_plain_http_to_another_machine_is_warned_of_at_the_line_that_asks_for_it(url: str) -> None:
    with pytest.warns(UserWarning, match="base_url is plain http to") as warned:
        client = AsyncMoonshot(api_key=KEY, base_url=url)
    assert [warning.filename for warning in warned] == [__file__]
    client.with_options(max_retries=0)
    with pytest.warns(UserWarning, match="base_url is plain http to other") as warned:
        client.with_options(base_url="http://other/v1")
    assert [warning.filename for warning in warned] == [__file__]
    await client.aclose()


async def test_the_warning_of_plain_http_names_what_silences_it() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await AsyncMoonshot(api_key=KEY, base_url="http://vllm/v1").aclose()
    statement = str(caught[0].message).partition("silence this with ")[2].rstrip(".")
    with warnings.catch_warnings():
        exec(statement, {"warnings": warnings})
        await AsyncMoonshot(api_key=KEY, base_url="http://vllm/v1").aclose()


def test_a_transport_of_the_callers_may_carry_plain_http() -> None:
    no_network(api_key=KEY, base_url="http://fake.test/v1")


# --- Other settings


@pytest.mark.parametrize("timeout", [0, -1, True, float("nan"), "5", object(), [5]])
def test_a_timeout_that_cannot_work_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        no_network(api_key=KEY, timeout=timeout)


def test_timeout_may_be_seconds_none_clocks_or_left_out() -> None:
    assert no_network(api_key=KEY).timeout == DEFAULT_TIMEOUT
    assert no_network(api_key=KEY, timeout=5).timeout == Timeout(total=5)
    assert no_network(api_key=KEY, timeout=None).timeout == NO_TIMEOUT
    assert no_network(api_key=KEY, timeout=Timeout(idle=1.0)).timeout.idle == 1.0


@pytest.mark.parametrize("max_retries", [None, 1.5, True, "2"])
def test_max_retries_that_is_no_whole_number_is_a_type_error(max_retries: Any) -> None:
    with pytest.raises(TypeError, match="max_retries"):
        no_network(api_key=KEY, max_retries=max_retries)


def test_negative_max_retries_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="max_retries must be 0 or more"):
        no_network(api_key=KEY, max_retries=-1)


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_retry"):
        no_network(api_key=KEY, max_retry=1)


def test_http_client_is_refused_with_the_name_of_what_takes_its_place() -> None:
    with pytest.raises(TypeError, match=r"transport="):
        no_network(api_key=KEY, http_client=object())
    no_network(api_key=KEY, http_client=None)


async def test_organization_and_project_are_taken_and_not_sent(make: MakeClient, fake: FakeMoonshot) -> None:
    await make(organization="org-1", project="proj-1").models.list()
    assert "org-1" not in str(fake.last_request.headers.multi_items())
    assert "proj-1" not in str(fake.last_request.headers.multi_items())


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-Evil: 1"}, {"X-A": "1\n"}, {"X-A\r\n": "1"}, {"": "1"}, {"X": 1}])
def test_default_headers_that_cannot_be_sent_are_refused(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        no_network(api_key=KEY, default_headers=headers)


# --- What is sent


async def test_a_request_names_the_client_and_what_it_speaks(make: MakeClient, fake: FakeMoonshot) -> None:
    await make().chat.completions.create(**ASK)
    headers = fake.last_request.headers
    assert headers["User-Agent"].startswith("moonshot-async/")
    assert headers["Accept"] == headers["Content-Type"] == "application/json"
    assert json.loads(fake.last_request.body) == ASK


async def test_headers_of_a_call_are_laid_over_those_of_the_client(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make(default_headers={"X-A": "1", "X-B": "1", "user-agent": "mine"})
    await client.models.list(extra_headers={"x-a": "2", "X-B": None, "X-C": "3"})
    headers = fake.last_request.headers
    assert (headers["X-A"], headers.get("X-B"), headers["X-C"], headers["User-Agent"]) == ("2", None, "3", "mine")
    await client.models.list()
    assert (fake.last_request.headers["X-A"], fake.last_request.headers["X-B"]) == ("1", "1")


async def test_the_query_of_a_call_is_laid_over_that_of_the_client(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make(default_query={"a": 1, "b": "x y", "flag": True})
    await client.models.list(extra_query={"a": 2, "b": None, "list": ["p", "q"]})
    assert fake.last_request.url.partition("?")[2] == "a=2&flag=true&list=p&list=q"
    await client.models.list()
    assert fake.last_request.url.partition("?")[2] == "a=1&b=x+y&flag=true"


@pytest.mark.parametrize("value", ["1\r\nX-Evil: 1", "1\n", "\0", 5])
async def test_a_header_of_a_call_that_would_end_its_line_is_refused_before_anything_is_sent(
    value: Any, make: MakeClient, fake: FakeMoonshot
) -> None:
    with pytest.raises(ConfigurationError, match="X-A"):
        await make().chat.completions.create(**ASK, extra_headers={"X-A": value})
    assert fake.requests == []


# --- with_options


async def test_with_options_changes_what_it_names_and_keeps_the_rest(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make(timeout=9, max_retries=5, default_headers={"x-A": "1", "X-B": "1"}, default_query={"a": 1, "b": 1})
    other = client.with_options(max_retries=0, default_headers={"X-a": "2"}, default_query={"b": 2})
    assert (other.max_retries, other.timeout, other.base_url) == (0, client.timeout, client.base_url)
    await other.models.list()
    sent = fake.last_request
    assert [item for item in sent.headers.multi_items() if item[0].startswith(("x-", "X-"))] == [
        ("X-B", "1"),
        ("X-a", "2"),
    ]
    assert sent.url.endswith("?a=1&b=2")
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    await client.models.list()
    assert fake.last_request.headers["X-A"] == "1"
    assert client.max_retries == 5


async def test_with_options_takes_a_default_header_out_however_it_is_written(
    make: MakeClient, fake: FakeMoonshot
) -> None:
    client = make(default_headers={"X-Team": "a"}).with_options(default_headers={"x-team": None, "User-Agent": None})
    await client.with_options(timeout=5).models.list()
    assert "X-Team" not in fake.last_request.headers
    assert "User-Agent" not in fake.last_request.headers


async def test_with_options_changes_key_and_region(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make().with_options(api_key="sk-other", region="intl", timeout=None)
    await client.models.list()
    assert fake.last_request.url == "https://api.moonshot.ai/v1/models"
    assert fake.last_request.headers["Authorization"] == "Bearer sk-other"
    assert client.timeout == NO_TIMEOUT
    assert client.copy(base_url="https://example.com").base_url == "https://example.com/"
    with pytest.raises(ConfigurationError, match="base_url"):
        client.with_options(base_url="example.com")


async def test_with_options_can_replace_headers_and_query(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make(default_headers={"X-A": "1"}, default_query={"a": 1})
    await client.with_options(set_default_headers={"X-B": "2"}, set_default_query={"b": 2}).models.list()
    assert ("X-A" in fake.last_request.headers, fake.last_request.headers["X-B"]) == (False, "2")
    assert fake.last_request.url.endswith("/models?b=2")
    await client.with_options(set_default_headers={}, set_default_query={}).models.list()
    assert "X-A" not in fake.last_request.headers
    assert fake.last_request.url.endswith("/models")


@pytest.mark.parametrize("name", ["headers", "query"])
def test_to_lay_over_and_to_replace_exclude_each_other(name: str, make: MakeClient) -> None:
    both: dict[str, Any] = {f"default_{name}": {}, f"set_default_{name}": {}}
    with pytest.raises(ValueError, match=f"default_{name} and set_default_{name} exclude each other"):
        make().with_options(**both)


def test_with_options_refuses_what_the_client_refuses(make: MakeClient) -> None:
    client: Any = make()
    with pytest.raises(TypeError, match="transport="):
        client.copy(http_client=object())
    with pytest.raises(TypeError, match="max_retry"):
        client.with_options(max_retry=1)
    assert client.copy(http_client=None).max_retries == client.max_retries


async def test_not_given_takes_a_header_out(make: MakeClient, fake: FakeMoonshot) -> None:
    absent: Any = NOT_GIVEN
    client = make(default_headers={"X-A": "1", "User-Agent": absent})
    await client.models.list(extra_headers={"x-a": absent})
    assert "X-A" not in fake.last_request.headers
    assert "User-Agent" not in fake.last_request.headers
    await client.with_options(default_headers={"X-A": absent}).models.list()
    assert "X-A" not in fake.last_request.headers


# --- Settings that are read and changed later


def test_settings_can_be_read(make: MakeClient) -> None:
    client = make(
        organization="o",
        project="p",
        websocket_base_url="wss://x",
        _strict_response_validation=True,
        default_query={"a": 1},
    )
    assert (client.api_key, client.organization, client.project) == (KEY, "o", "p")
    assert client.default_headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(client.default_headers)
    client.default_query["b"] = 2
    assert client.default_query == {"a": 1}
    other = client.with_options(project="q")
    assert (other.organization, other.project) == ("o", "q")


async def test_a_changed_base_url_counts_for_what_was_made_before(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make()
    models = client.models
    await models.list()
    client.base_url = "https://other.example/v1/"
    assert client.base_url == "https://other.example/v1/"
    await models.list()
    assert fake.last_request.url == "https://other.example/v1/models"
    with pytest.raises(ConfigurationError, match="base_url"):
        client.base_url = "example.com"
    await models.list()
    assert fake.last_request.url == "https://other.example/v1/models"


async def test_a_changed_base_url_without_encryption_is_warned_of_where_it_is_set() -> None:
    async with AsyncMoonshot(api_key=KEY) as client:
        with pytest.warns(UserWarning, match="plain http") as warned:
            client.base_url = "http://other/v1"
    assert [warning.filename for warning in warned] == [__file__]


async def test_a_changed_key_counts_for_the_next_request(make: MakeClient, fake: FakeMoonshot) -> None:
    async def rotating() -> str:
        return "sk-rotated"

    client = make()
    models = client.models
    client.api_key = "sk-second"
    await models.list()
    assert fake.last_request.headers["authorization"] == "Bearer sk-second"
    client.api_key = rotating
    assert client.api_key == ""
    await models.list()
    assert fake.last_request.headers["authorization"] == "Bearer sk-rotated"
    client.api_key = "sk-third"
    await models.list()
    assert fake.last_request.headers["authorization"] == "Bearer sk-third"
    with pytest.raises(ConfigurationError, match="api_key is empty"):
        client.api_key = " "


async def test_a_changed_timeout_counts_for_the_next_request(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make()
    client.timeout = 7
    await client.models.list()
    assert client.timeout == fake.last_request.timeout == Timeout(total=7)
    client.timeout = None
    assert client.timeout == NO_TIMEOUT


@pytest.mark.parametrize("placed", [False, True])
async def test_changed_retries_count_for_the_next_request(placed: bool, make: MakeClient, fake: FakeMoonshot) -> None:
    own = Retry(5, sleep=_no_sleep)
    client = make(middleware=[own, Log()] if placed else [])
    client.max_retries = 0
    fake.fail(500)
    with pytest.raises(InternalServerError):
        await client.chat.completions.create(**ASK)
    assert (client.max_retries, own.max_retries, len(fake.requests)) == (0, 5, 1)
    with pytest.raises(ValueError, match="max_retries"):
        client.max_retries = -1


async def test_what_is_changed_later_leaves_everything_else(make: MakeClient, fake: FakeMoonshot) -> None:
    seen: list[str] = []
    client = make(
        middleware=[noting(seen, "mine")],
        breaker=noting(seen, "breaker"),
        limits=noting(seen, "limits"),
        default_headers={"X-A": "1"},
        default_query={"a": 1},
        bounds=Bounds(max_body_bytes=10_000_000),
    )
    budget = client._options.retry.budget
    client.timeout = 7
    client.api_key = "sk-canary-second"
    client.base_url = "https://other.example/v1"
    client.max_retries = 5
    await client.models.list()
    assert seen == ["mine", "breaker", "limits"]
    assert (client.max_retries, client.timeout) == (5, Timeout(total=7))
    assert fake.last_request.url == "https://other.example/v1/models?a=1"
    assert fake.last_request.headers["X-A"] == "1"
    assert client._pipeline._bounds.max_body_bytes == 10_000_000
    assert client._options.retry.budget is budget
    await client.drain()
    client.timeout = 8
    with pytest.raises(ClientClosedError):
        await client.models.list()


async def test_a_setting_that_is_refused_changes_nothing(make: MakeClient, fake: FakeMoonshot) -> None:
    client = make()
    before = client._options
    for name, value in (("timeout", -1), ("api_key", ""), ("base_url", "nowhere"), ("max_retries", -1)):
        with pytest.raises(ConfigurationError):
            setattr(client, name, value)
        assert client._options is before


# --- Sections


async def test_beta_has_the_same_chat(make: MakeClient) -> None:
    client = make()
    assert client.beta.chat is client.chat


@pytest.mark.parametrize(
    ("name", "advice"),
    [("embeddings", "another service"), ("responses", "chat.completions"), ("uploads", "client.files.create")],
)
def test_a_section_of_other_services_says_what_to_use(name: str, advice: str, make: MakeClient) -> None:
    client = make()
    assert not hasattr(client, name)
    with pytest.raises(AttributeError, match=f"no attribute {name!r}: the SDK has no such section.*{advice}"):
        getattr(client, name)
    with pytest.raises(AttributeError, match=r"no attribute 'modles'$"):
        _ = client.modles  # type: ignore[attr-defined]  # what is refused


async def test_with_options_replaces_and_clears_limits(make: MakeClient) -> None:
    admitted: list[str] = []
    client = make(limits=noting(admitted, "first"))
    await client.with_options(limits=noting(admitted, "second")).models.list()
    await client.with_options(limits=None).models.list()
    await client.with_options(max_retries=1).models.list()
    assert admitted == ["second", "first"]


async def test_with_options_sets_the_retries_of_a_retry_that_the_caller_placed(
    make: MakeClient, fake: FakeMoonshot
) -> None:
    own = Retry(3, sleep=_no_sleep)
    client = make(middleware=[noting([], "a"), own])
    assert client.max_retries == 3
    fake.fail(500, times=2)
    with pytest.raises(InternalServerError):
        await client.with_options(max_retries=1).chat.completions.create(**ASK)
    assert len(fake.requests) == 2
    assert (own.max_retries, client.max_retries) == (3, 3)
    with pytest.raises(TypeError, match="max_retries"):
        client.with_options(max_retries=None)  # type: ignore[arg-type]  # that it is refused is the point


async def test_with_options_shares_breaker_and_limits(make: MakeClient) -> None:
    seen: list[str] = []
    client = make(breaker=noting(seen, "breaker"), limits=noting(seen, "limits"))
    await client.with_options(timeout=5).models.list()
    await client.with_options(breaker=None, limits=None).models.list()
    await client.with_options(breaker=noting(seen, "another")).models.list()
    assert seen == ["breaker", "limits", "another", "limits"]


@pytest.mark.parametrize("placed", [False, True])
async def test_clients_made_of_one_share_its_budget_for_retries(
    placed: bool, make: MakeClient, fake: FakeMoonshot
) -> None:
    own = Retry(2, sleep=_no_sleep)
    client = make(middleware=[own]) if placed else make()
    if not placed:
        client._options.retry._sleep = _no_sleep
    fake.fail(503, times=None)
    for number in range(200):
        with pytest.raises(InternalServerError):
            await client.with_options(max_retries=2 + number % 2, timeout=60).chat.completions.create(**ASK)
    assert 200 < len(fake.requests) <= 240 + 10


async def test_with_options_replaces_middleware(make: MakeClient) -> None:
    seen: list[str] = []
    client = make(middleware=[noting(seen, "old")]).with_options(middleware=[noting(seen, "new")])
    await client.models.list()
    assert seen == ["new"]


# --- Middleware


async def test_middleware_stands_in_the_order_that_is_documented(make: MakeClient, fake: FakeMoonshot) -> None:
    seen: list[str] = []
    client = make(
        middleware=[noting(seen, "outer"), noting(seen, "inner"), Retry(1, sleep=_no_sleep)],
        limits=noting(seen, "limits"),
    )
    fake.fail(500)
    await client.chat.completions.create(**ASK)
    assert seen == ["outer", "inner", "limits", "limits"]


async def test_retries_stand_inside_the_callers_middleware_and_outside_the_limits(
    make: MakeClient, fake: FakeMoonshot
) -> None:
    seen: list[str] = []
    client = make(middleware=[noting(seen, "mine")], limits=noting(seen, "limits"), max_retries=1)
    client._options.retry._sleep = _no_sleep
    fake.fail(500)
    await client.chat.completions.create(**ASK)
    assert seen == ["mine", "limits", "limits"]


async def test_a_retry_in_the_list_stands_where_it_was_put(make: MakeClient, fake: FakeMoonshot) -> None:
    seen: list[str] = []
    client = make(middleware=[Retry(1, sleep=_no_sleep), noting(seen, "inside")])
    fake.fail(500)
    await client.chat.completions.create(**ASK)
    assert seen == ["inside", "inside"]


async def test_a_log_in_the_list_is_the_only_one(make: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="moonshot_async")
    await make(middleware=[Log()]).models.list()
    await make().models.list()
    assert len(caplog.records) == 2
    assert KEY not in caplog.text


async def test_the_log_does_not_see_a_rotating_key(make: MakeClient) -> None:
    seen: list[bool] = []

    async def key() -> str:
        return KEY

    async def spy(request: Request, call_next: Handler) -> Response:
        seen.append("authorization" in request.headers)
        return await call_next(request)

    await make(api_key=key, limits=spy).models.list()
    assert seen == [False]


# --- request


class Balance(msgspec.Struct):
    cash: float


def answering(content: bytes) -> tuple[MemoryTransport, list[Request]]:
    requests: list[Request] = []

    async def app(request: Request) -> Response:
        requests.append(request)
        return Response(200, {"Content-Type": "application/json"}, content)

    return MemoryTransport(app), requests


async def test_request_decodes_to_the_type_that_is_asked_for() -> None:
    transport, requests = answering(b'{"cash": 1.5, "new": 1}')
    client = AsyncMoonshot(api_key=KEY, transport=transport)
    assert await client.request("get", "users/me", response_type=Balance) == Balance(1.5)
    assert await client.request("GET", "/users/me") == {"cash": 1.5, "new": 1}
    assert await client.request("GET", "/users/me", response_type=bytes) == b'{"cash": 1.5, "new": 1}'
    assert {(request.method, request.url) for request in requests} == {("GET", "https://api.moonshot.cn/v1/users/me")}
    assert requests[0].body == b""


async def test_request_sends_json_or_bytes_as_they_are() -> None:
    transport, requests = answering(b"1")
    client = AsyncMoonshot(api_key=KEY, transport=transport)
    await client.request("POST", "/a", body={"text": "日本"})
    await client.request("POST", "/a?x=1", body=b"raw", extra_query={"y": "https://z"}, extra_headers={"X": "1"})
    await client.request("POST", "/a", body=[], timeout=5)
    assert [request.body for request in requests] == ['{"text":"日本"}'.encode(), b"raw", b"[]"]
    assert requests[1].url == "https://api.moonshot.cn/v1/a?x=1&y=https%3A%2F%2Fz"
    assert requests[1].headers["X"] == "1"
    assert requests[2].timeout == Timeout(total=5)


async def test_request_takes_a_url_inside_the_query() -> None:
    transport, requests = answering(b"1")
    await AsyncMoonshot(api_key=KEY, transport=transport).request("GET", "/fetch?url=https://example.com/..")
    assert requests[0].url.endswith("/v1/fetch?url=https://example.com/..")


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/v1",
        "//evil.example",
        "/%2Fevil.example",
        "/a/../../admin",
        "/a/%2e%2E/admin",
        "..",
        "/a\\..\\b",
        "/a b",
        "/a\r\nX-Evil: 1",
        "/a\0",
        "/a#b",
    ],
)
async def test_request_refuses_a_path_that_leads_elsewhere(path: str, make: MakeClient, fake: FakeMoonshot) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        await make().request("GET", path)
    assert fake.requests == []


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nET", "ÉT", 5])
async def test_request_refuses_a_method_that_is_none(method: Any, make: MakeClient, fake: FakeMoonshot) -> None:
    with pytest.raises(ConfigurationError, match="method"):
        await make().request(method, "/models")
    assert fake.requests == []


async def test_request_raises_what_every_call_raises(make: MakeClient) -> None:
    with pytest.raises(APIResponseValidationError):
        await make().request("GET", "/models", response_type=Balance)
    with pytest.raises(AuthenticationError):
        await make(api_key="nope").request("GET", "/models")


# --- Secrets


def test_repr_and_pickle_keep_the_key() -> None:
    client = no_network(api_key=KEY, default_headers={"X-Api-Key": "sk-too"})
    assert repr(client) == "AsyncMoonshot(base_url='https://api.moonshot.cn/v1')"
    assert "sk-" not in repr(vars(client))
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make one in each process") as caught:
            way(client)
        assert "sk-" not in str(caught.value)
    with pytest.raises(TypeError, match="must not leave the process"):
        pickle.dumps(client._options)


async def test_no_error_shows_the_key(make: MakeClient, fake: FakeMoonshot) -> None:
    fake.fail(401, message=f"bad key {KEY}")
    with pytest.raises(AuthenticationError) as caught:
        await make().chat.completions.create(**ASK)
    error = caught.value
    assert KEY not in f"{error!r} {error} {error.body} {error.request!r} {error.request.headers} {error.response.text}"


# --- Its life


async def test_a_closed_client_says_so_and_may_be_closed_again(make: MakeClient, fake: FakeMoonshot) -> None:
    async with make() as client:
        assert not client.is_closed()
    assert client.is_closed()
    await client.close()
    with pytest.raises(APIConnectionError, match="closed"):
        await client.models.list()
    assert fake.requests == []


async def test_clients_that_share_connections_are_closed_together(make: MakeClient) -> None:
    client = make()
    other = client.with_options(max_retries=0).with_options(timeout=5)
    await other.aclose()
    assert client.is_closed()
    with pytest.raises(APIConnectionError, match="closed"):
        await client.models.list()


async def test_without_a_transport_it_speaks_http(fake: FakeMoonshot) -> None:
    async with fake.serve() as url, AsyncMoonshot(api_key=KEY, base_url=url) as client:
        assert (await client.chat.completions.create(**ASK)).choices[0].message.content
    with pytest.raises(APIConnectionError, match="closed"):
        await client.models.list()


def test_a_client_may_be_made_where_no_event_loop_runs() -> None:
    assert not AsyncMoonshot(api_key=KEY).is_closed()


def noting(seen: list[str], name: str) -> Middleware:
    async def layer(request: Request, call_next: Handler) -> Response:
        seen.append(name)
        return await call_next(request)

    return layer


async def _no_sleep(seconds: float) -> None:
    pass


# --- Arguments that are something else


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"limits": 5}, r"limits: int is no layer: pass RateLimits\(\.\.\.\)"),
        ({"limits": RateLimits}, "limits: the class RateLimits is no layer"),
        ({"breaker": True}, r"breaker: bool is no layer: pass CircuitBreaker\(\.\.\.\)"),
        ({"middleware": "x"}, "middleware must be a list of layers"),
        ({"middleware": {"a": 1}}, "middleware must be a list of layers"),
        ({"middleware": Retry}, "must be a list of layers.* not the class Retry"),
        ({"middleware": Retry()}, r"must be a list of layers, such as \[Retry\(1\)\], not Retry"),
        ({"middleware": [Retry]}, "middleware: the class Retry is no layer"),
        ({"middleware": [None]}, "middleware: NoneType is no layer"),
        ({"catalog": 5}, "catalog must be a Catalog"),
        ({"default_headers": 5}, "default_headers must be a mapping"),
        ({"default_headers": {1: "x"}}, "headers must be a mapping of names"),
        ({"default_query": 5}, "default_query must be a mapping"),
        ({"base_url": 0}, r"base_url must be an http\(s\) URL"),
        ({"base_url": []}, r"base_url must be an http\(s\) URL"),
        ({"base_url": {}}, r"base_url must be an http\(s\) URL"),
        ({"region": 0}, "region must be 'cn' or 'intl', not 0"),
        ({"region": []}, "region must be 'cn' or 'intl'"),
    ],
)
def test_what_an_argument_cannot_be_is_refused_with_what_to_pass(given: Any, says: str, make: MakeClient) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make(**given)
    with pytest.raises(ConfigurationError, match=says):
        make().with_options(**given)


@pytest.mark.parametrize("name", ["headers", "query"])
def test_what_takes_the_place_of_headers_and_query_must_be_a_mapping(name: str, make: MakeClient) -> None:
    with pytest.raises(ConfigurationError, match=f"set_default_{name} must be a mapping"):
        make().with_options(**{f"set_default_{name}": 5})


@pytest.mark.parametrize("url", [0, [], {}])
def test_a_base_url_that_is_set_must_be_one(url: Any, make: MakeClient) -> None:
    client: Any = make()
    with pytest.raises(ConfigurationError, match="base_url must be"):
        client.base_url = url


@pytest.mark.parametrize(
    ("transport", "says"),
    [
        (FakeMoonshot(), "FakeMoonshot is an app: pass MemoryTransport"),
        (AiohttpTransport, "not the class AiohttpTransport"),
        (5, "must be AiohttpTransport.* not int"),
    ],
)
def test_what_is_no_transport_is_refused(transport: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        AsyncMoonshot(api_key=KEY, transport=transport)


def test_a_layer_stands_in_one_place(make: MakeClient) -> None:
    limits, breaker = RateLimits(concurrency=1), CircuitBreaker()
    for name, layer in (("limits", limits), ("breaker", breaker)):
        with pytest.raises(ConfigurationError, match=f"{name}= stands in middleware=, too"):
            make(**{"middleware": [layer], name: layer})
        with pytest.raises(ConfigurationError, match=f"{name}= stands in middleware=, too"):
            make(middleware=[layer]).with_options(**{name: layer})
    with pytest.raises(ConfigurationError, match="are the same"):
        make(limits=limits, breaker=limits)


def test_a_setting_that_was_not_given_says_nothing(make: MakeClient) -> None:
    client = make(base_url=NOT_GIVEN, region="", middleware=NOT_GIVEN, default_headers=NOT_GIVEN)
    assert client.base_url == "https://api.moonshot.cn/v1/"
    assert client.with_options(catalog=CATALOG).in_flight == 0
    assert client.with_options(base_url="", region="intl").base_url == "https://api.moonshot.ai/v1/"


@pytest.mark.parametrize("name", ["max_head_bytes", "max_trailer_bytes", "max_decompressed_bytes"])
def test_bounds_that_the_transport_keeps_are_not_silently_other_ones(name: str) -> None:
    narrow = Bounds(**{name: 1000})
    says = rf"{name} is kept by the transport, which .* transport=AiohttpTransport\(bounds=\.\.\.\)"
    with pytest.raises(ConfigurationError, match=says):
        AsyncMoonshot(api_key=KEY, bounds=narrow, transport=AiohttpTransport())
    with pytest.raises(ConfigurationError, match=says):
        AsyncMoonshot(api_key=KEY).with_options(bounds=narrow)
    for client in (
        AsyncMoonshot(api_key=KEY, bounds=narrow),
        AsyncMoonshot(api_key=KEY, bounds=narrow, transport=AiohttpTransport(bounds=narrow)),
        AsyncMoonshot(api_key=KEY, transport=AiohttpTransport(bounds=narrow)),
    ):
        assert client.with_options(timeout=1)._pipeline._bounds == narrow
        wide = Bounds(**{name: 1000}, max_body_bytes=7)
        assert client.with_options(bounds=wide)._pipeline._bounds is wide


def test_a_transport_that_knows_no_bounds_is_left_alone(make: MakeClient) -> None:
    narrow = Bounds(max_head_bytes=1000)
    assert make(bounds=narrow).with_options(bounds=Bounds(max_head_bytes=5))._pipeline._bounds.max_head_bytes == 5


@pytest.mark.parametrize("given", [[Retry(1)], (Retry(1),)])
def test_a_retry_that_is_given_counts_wherever_it_is_given(given: Any, make: MakeClient) -> None:
    both: dict[str, Any] = {"max_retries": 7, "middleware": given}
    assert make(**both).max_retries == make().with_options(**both).max_retries == 1
    assert make(middleware=given).with_options(max_retries=7).max_retries == 7
    with pytest.raises(TypeError, match="max_retries"):
        make(middleware=given, max_retries="7")


@pytest.mark.parametrize("priority", ["high", None, float("nan"), 1.5, True])
async def test_a_priority_that_is_no_whole_number_is_refused(
    priority: Any, make: MakeClient, fake: FakeMoonshot
) -> None:
    client = make(limits=RateLimits(concurrency=1))
    with pytest.raises(TypeError, match="priority must be a whole number"):
        await client.chat.completions.create(**ASK, priority=priority)
    with pytest.raises(TypeError, match="priority must be a whole number"):
        await client.models.list(priority=priority)
    assert fake.requests == []
    await client.chat.completions.create(**ASK, priority=-2)


async def test_headers_of_a_call_that_are_none_are_refused(make: MakeClient, fake: FakeMoonshot) -> None:
    with pytest.raises(ConfigurationError, match="headers must be a mapping"):
        await make().request("GET", "/models", extra_headers=5)  # type: ignore[arg-type]  # as it is meant
    assert fake.requests == []
