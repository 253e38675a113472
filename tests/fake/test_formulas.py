import json
from decimal import Decimal
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot, mfjs
from moonshot_async.fake.formula_tools import TOOLS

NAMES = {
    "convert",
    "web-search",
    "rethink",
    "random-choice",
    "mew",
    "memory",
    "excel",
    "date",
    "base64",
    "fetch",
    "quickjs",
    "code-runner",
}


@pytest.fixture
def execute(send: Any, fake: FakeMoonshot) -> Any:
    """Execute a hosted tool, and return the fiber."""

    async def execute(name: str, arguments: Any, *, function: str = "", to: FakeMoonshot = fake) -> Any:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        payload = {"name": function or name.replace("-", "_"), "arguments": text}
        path = f"/v1/formulas/moonshot/{name}:latest/fibers"
        response = await send(path=path, body=json.dumps(payload).encode(), to=to)
        assert response.status == 200
        return json.loads(await response.read())

    return execute


@pytest.fixture
def output(execute: Any) -> Any:
    async def output(name: str, **arguments: Any) -> str:
        fiber = await execute(name, arguments)
        assert fiber["status"] == "succeeded", fiber
        return str(fiber["context"]["output"])

    return output


@pytest.fixture
def error(execute: Any) -> Any:
    async def error(name: str, arguments: Any, **more: Any) -> str:
        fiber = await execute(name, arguments, **more)
        assert fiber["status"] == "failed"
        assert "output" not in fiber["context"]
        assert fiber["error"] == fiber["context"]["error"]
        return str(fiber["error"])

    return error


async def test_the_documented_tools_are_there(send: Any) -> None:
    listed = json.loads(await (await send("GET", "/v1/formulas")).read())

    assert listed["object"] == "list"
    assert {formula["name"] for formula in listed["data"]} == NAMES == set(TOOLS)
    for formula in listed["data"]:
        declared = json.loads(await (await send("GET", f"/v1/formulas/{formula['uri']}/tools")).read())
        (tool,) = declared["tools"]
        assert declared["object"] == "list"
        assert tool["type"] == "function"
        assert tool["function"]["name"] == formula["name"].replace("-", "_")
        assert tool["function"]["description"] == formula["description"]
        mfjs.check(tool["function"]["parameters"])


async def test_the_tools_fit_into_a_chat(send: Any, ask: Any, execute: Any) -> None:
    declared = json.loads(await (await send("GET", "/v1/formulas/moonshot/date/tools")).read())["tools"]
    question = {"role": "user", "content": "Tell me the date and the time, please"}

    called = (await ask(messages=[question], tools=declared))["choices"][0]["message"]
    function = called["tool_calls"][0]["function"]
    fiber = await execute("date", function["arguments"], function=function["name"])
    told = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": fiber["context"]["output"]}
    del called["content"]
    answer = await ask(messages=[question, called, told], tools=declared)

    assert fiber["context"]["output"] in answer["choices"][0]["message"]["content"]


async def test_a_fiber_tells_everything_about_an_execution(execute: Any) -> None:
    fiber = await execute("mew", {})

    assert fiber.pop("id").startswith("fiber-")
    assert fiber == {
        "object": "fiber",
        "created_at": 1794200000,
        "lambda_id": "lambda-mew",
        "status": "succeeded",
        "formula": "moonshot/mew:latest",
        "organization_id": "org-fake",
        "project_id": "proj-fake",
        "context": {
            "input": '{"name":"mew","arguments":"{}"}',
            "output": "Meow! May your tests stay green.",
        },
    }


async def test_what_is_found_on_the_web_is_for_the_model_alone(execute: Any) -> None:
    fiber = await execute("web-search", {"query": "rain", "classes": ["all", "code"]})

    hidden = fiber["context"]["encrypted_output"]
    assert hidden.startswith("----MOONSHOT ENCRYPTED BEGIN----")
    assert hidden.endswith("----MOONSHOT ENCRYPTED END----")
    assert "rain" not in hidden
    assert "output" not in fiber["context"]
    assert (await execute("web-search", {"query": "rain"}))["context"]["encrypted_output"] == hidden


async def test_only_searches_cost_money(execute: Any) -> None:
    fake = FakeMoonshot(balance=1)

    await execute("mew", {}, to=fake)
    await execute("web-search", {}, to=fake)
    assert fake.account.cash == 1
    await execute("web-search", {"query": "rain"}, to=fake)
    assert fake.account.cash == 1 - Decimal("0.005")


async def test_an_empty_account_searches_nothing(send: Any) -> None:
    fake = FakeMoonshot(balance=0)
    body = b'{"name": "mew", "arguments": "{}"}'

    searched = await send(path="/v1/formulas/moonshot/web-search:latest/fibers", body=body, to=fake)
    mewed = await send(path="/v1/formulas/moonshot/mew:latest/fibers", body=body, to=fake)

    assert (searched.status, mewed.status) == (429, 200)


async def test_values_are_converted(output: Any, error: Any) -> None:
    assert await output("convert", value=2, from_unit="KM", to_unit="mi") == "2 km = 1.242742384 mi"
    assert await output("convert", value=100, from_unit="c", to_unit="f") == "100 c = 212 f"
    assert await output("convert", value=32, from_unit="F", to_unit="C") == "32 f = 0 c"
    for source, target in (("km", "kg"), ("km", "odd"), ("odd", "km"), ("c", "km")):
        arguments = {"value": 1, "from_unit": source, "to_unit": target}
        assert await error("convert", arguments) == f"cannot convert {source} to {target}"


async def test_a_choice_is_made_among_the_candidates(output: Any, error: Any) -> None:
    candidates = ["a", "b", "c"]

    chosen = json.loads(await output("random-choice", candidates=candidates, count=2))

    assert len(set(chosen)) == 2
    assert set(chosen) < set(candidates)
    assert len(json.loads(await output("random-choice", candidates=candidates))) == 1
    for count in (0, 4):
        assert "count must be between" in await error("random-choice", {"candidates": candidates, "count": count})


async def test_notes_are_kept_until_they_are_deleted_or_all_is_reset(
    fake: FakeMoonshot, output: Any, error: Any
) -> None:
    assert await output("memory", action="store", key="name", value="Ada") == "stored"
    assert await output("memory", action="store", key="town") == "stored"
    assert await output("memory", action="list") == '["name","town"]'
    assert await output("memory", action="retrieve", key="name") == "Ada"
    assert await output("memory", action="delete", key="name") == "Ada"
    assert await error("memory", {"action": "retrieve", "key": "name"}) == "nothing is stored under name"
    assert "key, for the action store" in await error("memory", {"action": "store"})
    assert "must be one of: store, retrieve, delete, list" in await error("memory", {"action": "burn"})
    fake.reset()
    assert await output("memory", action="list") == "[]"


async def test_tables_are_described(output: Any, error: Any) -> None:
    table = 'a,"b,c"\n1,2\n\n3,4\n'

    assert json.loads(await output("excel", content=table)) == {"columns": ["a", "b,c"], "row_count": 2}
    assert await error("excel", {"content": "\n"}) == "the table is empty"


async def test_the_date_is_that_of_the_fakes_clock(fake: FakeMoonshot, output: Any) -> None:
    assert await output("date") == "2026-11-09T04:53:20+00:00"
    fake.advance(3600)
    assert await output("date", days=-9) == "2026-10-31T05:53:20+00:00"


async def test_text_is_encoded_and_decoded(output: Any, error: Any) -> None:
    assert await output("base64", action="encode", text="né") == "bsOp"
    assert await output("base64", action="decode", text="bsOp") == "né"
    for text in ("!", "/w=="):
        assert await error("base64", {"action": "decode", "text": text}) == "the text is not Base64 of text"


async def test_pages_are_read(output: Any, error: Any) -> None:
    assert (await output("fetch", url="https://example.com/a")).startswith("# a - example.com")
    assert await error("fetch", {"url": "file:///etc/passwd"}) == "only http and https are supported"


async def test_code_is_not_run(output: Any) -> None:
    assert await output("quickjs", code="1 + 1") == "The fake does not run code; it was given 1 line."
    assert await output("code-runner", code="a = 1\nprint(a)") == "The fake does not run code; it was given 2 lines."


async def test_thoughts_are_thought_again(output: Any) -> None:
    assert "rain" in await output("rethink", thought="rain")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{", "arguments are not valid JSON"),
        ("[]", "arguments must be a JSON object"),
        ("{}", "missing required argument: query"),
        ({"query": "rain", "color": "red"}, "unknown argument: color"),
        ({"query": 5}, "argument query must be of type string"),
        ({"query": "rain", "classes": "all"}, "argument classes must be of type array"),
    ],
)
async def test_bad_arguments_fail_the_fiber(error: Any, arguments: Any, message: str) -> None:
    assert await error("web-search", arguments) == message


async def test_a_flag_is_no_number(error: Any) -> None:
    assert await error("date", {"days": True}) == "argument days must be of type integer"


async def test_a_function_of_another_name_fails_the_fiber(error: Any) -> None:
    assert await error("date", {}, function="time") == "function time is not found in this formula"


@pytest.mark.parametrize(
    "uri",
    [
        "moonshot/web_search:latest",
        "moonshot%2Fweb-search%3Alatest",
        "moonshot/web-search:v2",
        "other/web-search:latest",
        "web-search:latest",
        "moonshot/nothing:latest",
        "moonshot/",
    ],
)
async def test_an_unknown_formula_is_a_404(send: Any, uri: str) -> None:
    for method, end in (("GET", "tools"), ("POST", "fibers")):
        response = await send(method, f"/v1/formulas/{uri}/{end}", body=b'{"name": "a", "arguments": "{}"}')
        error = json.loads(await response.read())["error"]
        assert (response.status, error["type"]) == (404, "resource_not_found_error")
        assert error["message"] == "formula not found"


@pytest.mark.parametrize(
    "payload",
    [{}, {"name": "mew"}, {"arguments": "{}"}, {"name": "mew", "arguments": {}}, {"name": 1, "arguments": ""}],
)
async def test_a_body_without_name_and_arguments_is_a_400(send: Any, payload: Any) -> None:
    response = await send(path="/v1/formulas/moonshot/mew:latest/fibers", body=json.dumps(payload).encode())

    assert response.status == 400
    assert "is required and must be a string" in json.loads(await response.read())["error"]["message"]
