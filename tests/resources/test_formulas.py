"""`client.formulas`."""

from typing import Any

import pytest

from moonshot_async import APIError, AsyncMoonshot, ConfigurationError, MemoryTransport, NotFoundError
from moonshot_async.fake import FakeMoonshot
from tests.canned import Canned

TOOL = {"type": "function", "function": {"name": "web_search", "parameters": {"type": "object", "properties": {}}}}
FIBER = {"id": "fiber-1", "status": "succeeded", "context": {"output": "found"}}


async def test_formulas_are_listed() -> None:
    service = Canned({"object": "list", "data": [{"uri": "moonshot/date:latest"}]})
    async with service.client() as client:
        page = await client.formulas.list()
        uris = [formula.uri async for formula in client.formulas.list(extra_query={"a": 1})]

    assert [formula.uri for formula in page.data] == uris == ["moonshot/date:latest"]
    assert [request.url.partition("/v1")[2] for request in service.requests] == ["/formulas", "/formulas?a=1"]


async def test_the_tools_of_a_formula_are_ready_for_a_chat() -> None:
    service = Canned({"tools": [TOOL]})
    async with service.client() as client:
        tools = await client.formulas.tools("moonshot/web-search:latest", extra_headers={"X-A": "1"})

    assert tools.tools == [TOOL]
    assert tools.request_id == "req-1"
    assert service.path == "/formulas/moonshot/web-search:latest/tools"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [('{"query":  "grey\\u0020roofs"}', '{"query":  "grey\\u0020roofs"}'), ({"query": "é"}, '{"query":"é"}'), ("", "")],
)
async def test_arguments_are_sent_as_the_model_wrote_them(arguments: Any, sent: str) -> None:
    service = Canned(FIBER)
    async with service.client() as client:
        fiber = await client.formulas.fibers.create(
            "moonshot/web-search:latest", name="web_search", arguments=arguments, extra_body={"new": 1}
        )

    assert service.path == "/formulas/moonshot/web-search:latest/fibers"
    assert service.sent == {"name": "web_search", "arguments": sent, "new": 1}
    assert fiber.result == "found"
    assert fiber.request_id == "req-1"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("moonshot/web search:latest", "/formulas/moonshot/web%20search:latest/tools"),
        ("moonshot/a?b#c:1", "/formulas/moonshot/a%3Fb%23c:1/tools"),
        ("moonshot/a%2e%2e:1", "/formulas/moonshot/a%252e%252e:1/tools"),
        ("date", "/formulas/date/tools"),
        ("moonshot/..\\x", "/formulas/moonshot/..%5Cx/tools"),
    ],
)
async def test_what_has_a_meaning_in_a_url_is_escaped(uri: str, path: str) -> None:
    service = Canned({"tools": []})
    async with service.client() as client:
        await client.formulas.tools(uri)
    assert service.path == path


@pytest.mark.parametrize(
    "uri", ["", " ", "/", "moonshot/", "/moonshot", "a//b", "..", "moonshot/../files", "a/.", None, 5]
)
async def test_a_uri_that_would_lead_elsewhere_is_refused(uri: Any) -> None:
    service = Canned()
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match="uri must name a formula"):
            await client.formulas.tools(uri)
        with pytest.raises(ConfigurationError, match="uri must name a formula"):
            await client.formulas.fibers.create(uri, name="f", arguments="{}")
    assert service.requests == []


async def test_a_formula_that_is_not_found_for_its_underscore_brings_a_hint() -> None:
    service = Canned({"error": {"type": "resource_not_found_error", "message": "formula not found"}}, 404)
    async with service.client() as client:
        with pytest.raises(NotFoundError, match="formula not found") as tools:
            await client.formulas.tools("moonshot/web_search:latest")
        with pytest.raises(NotFoundError) as fiber:
            await client.formulas.fibers.create("moonshot/web_search:latest", name="web_search", arguments="{}")
        with pytest.raises(NotFoundError) as other:
            await client.formulas.tools("moonshot/nothing:latest")

    assert "'moonshot/web-search:latest'?" in tools.value.__notes__[0]
    assert tools.value.__notes__ == fiber.value.__notes__
    assert not hasattr(other.value, "__notes__")


async def test_a_keyword_that_does_not_exist_is_a_type_error() -> None:
    service = Canned()
    unknown: dict[str, Any] = {"argumens": 1}
    async with service.client() as client:
        with pytest.raises(TypeError, match=r"list\(\) got an unexpected"):
            client.formulas.list(**unknown)
        with pytest.raises(TypeError, match=r"tools\(\) got an unexpected"):
            await client.formulas.tools("a/b", **unknown)
        with pytest.raises(TypeError, match=r"create\(\) got an unexpected"):
            await client.formulas.fibers.create("a/b", name="f", arguments="", **unknown)
    assert service.requests == []


async def test_the_embedded_service_executes_what_its_model_asks_for() -> None:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        uris = [formula.uri async for formula in client.formulas.list()]
        uri = "moonshot/web-search:latest"
        tools = (await client.formulas.tools(uri)).tools
        messages: list[Any] = [{"role": "user", "content": "Do a web_search for grey roofs"}]
        asked = await client.chat.completions.create(model="kimi-k3", messages=messages, tools=tools)
        message = asked.choices[0].message
        assert message.tool_calls
        messages.append(message)
        for call in message.tool_calls:
            name, arguments = call.function.name, call.function.arguments
            fiber = await client.formulas.fibers.create(uri, name=name, arguments=arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "name": name, "content": fiber.result})
        answer = await client.chat.completions.create(model="kimi-k3", messages=messages, tools=tools)

    assert uri in uris
    assert fiber.result.startswith("----MOONSHOT ENCRYPTED BEGIN----")
    assert answer.choices[0].finish_reason == "stop"


async def test_an_execution_that_fails_at_the_embedded_service_says_why() -> None:
    async with AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot())) as client:
        fiber = await client.formulas.fibers.create("moonshot/date:latest", name="nothing", arguments="{}")
        with pytest.raises(NotFoundError, match="formula not found"):
            await client.formulas.tools("moonshot/web_search:latest")

    assert fiber.failure == "function nothing is not found in this formula"
    with pytest.raises(APIError, match="function nothing is not found"):
        _ = fiber.result
