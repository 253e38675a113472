import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.catalog import CATALOG
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.rules import RefusedError, check_chat
from moonshot_async.wire import Request

USER = {"role": "user", "content": "Hi"}
ANY: dict[str, Any] = {"type": "object", "properties": {}}
TOOL = {"type": "function", "function": {"name": "ping", "parameters": ANY}}
SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}
NAMED = {"type": "function", "function": {"name": "ping"}}
SCHEMA = {"name": "a", "schema": {"type": "object"}}


def function(name: Any = "ping", **more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": name, "parameters": ANY, **more}}]}


def said(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [USER, *messages]}


def calling(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "ping", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "reasoning_content": "", "tool_calls": calls, **more}


def result(id: str | None, content: Any = "4") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": id}


def seen(url: Any, kind: str = "image_url", **more: Any) -> dict[str, Any]:
    part = {"type": kind, kind: {"url": url}}
    return {"messages": [{"role": "user", "content": [part]}], **more}


def json_schema(described: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": described}}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"model": None}, "model is required"),
        ({"model": ""}, "model is required"),
        ({"model": 3}, "model is required"),
        ({"stream": "yes"}, "stream must be a boolean"),
        ({"stream_options": True}, "stream_options must be an object"),
        ({"thinking": "on"}, "thinking must be an object"),
        ({"max_tokens": 1.5}, "max_tokens must be an integer"),
        ({"max_completion_tokens": 0}, "max_completion_tokens must be positive"),
        ({"max_completion_tokens": True}, "max_completion_tokens must be an integer"),
        ({"temperature": "1"}, "temperature must be a number"),
        ({"stop": 3}, "stop must be a string or a list of strings"),
        ({"stop": ["a", 3]}, "stop must be a string or a list of strings"),
        ({"messages": None}, "messages must be a list"),
        ({"messages": []}, "messages must be a list that is not empty"),
        ({"messages": {}}, "messages must be a list"),
        ({"messages": ["Hi"]}, "the message at position 0 has an invalid role: None"),
        ({"messages": [USER, {"role": "robot", "content": "Hi"}]}, "position 1 has an invalid role: 'robot'"),
        ({"messages": [{"role": "user", "content": 3}]}, "must be a string or a list"),
        ({"messages": [{"role": "user", "content": ""}]}, "position 0 with role 'user' must not be empty"),
        ({"messages": [{"role": "user", "content": []}]}, "position 0 with role 'user' must not be empty"),
        ({"messages": [{"role": "system", "content": ""}, USER]}, "position 0 with role 'system' must not be empty"),
        ({"messages": [USER, {"role": "assistant"}]}, "position 1 with role 'assistant' must not be empty"),
        ({"messages": [USER, {"role": "assistant", "partial": True}]}, "role 'assistant' must not be empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "text content is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "text content is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "contains an invalid part type: file"),
        ({"messages": [{"role": "user", "content": [{"type": []}]}]}, "contains an invalid part type: []"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "contains an invalid part type: None"),
        ({"messages": [{**USER, "tool_calls": 3}]}, "tool_calls of the message at position 0 must be a list"),
        ({"messages": [{**USER, "name": 3}]}, "name of the message at position 0 must be a string"),
        ({"messages": [{**USER, "partial": True}]}, "partial is only allowed"),
        ({"messages": [{"role": "assistant", "content": "a", "partial": True}, USER]}, "partial is only allowed"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": ["ping"]}, "unknown tool type: , currently only function and plugin are supported"),
        ({"tools": [{"function": {"name": "ping"}}]}, "unknown tool type: , currently"),
        ({"tools": [{"type": "code", "function": {"name": "a"}}]}, "unknown tool type: code, currently"),
        ({"messages": [{"role": "system", "tools": [3]}, USER]}, "unknown tool type: , currently"),
        ({"tools": [{"type": "function"}]}, "tools must have a function with a name"),
        ({"tools": [{"type": "function", "function": {}}]}, "function name is invalid, must start with a letter"),
        (function(""), "function name is invalid"),
        (function("1st_tool"), "function name is invalid"),
        (function("bad@name"), "function name is invalid"),
        (function("a" * 129), "function name is invalid"),
        (function("$web_search"), "function name is invalid"),
        (function(description=3), "tools.function.description must be a string"),
        (function(strict="yes"), "tools.function.strict must be a boolean"),
        (function(parameters=None), "tools.function.parameters is required"),
        (function(parameters=[]), "tools.function.parameters must be an object"),
        (function(parameters={"type": "string"}), 'tools.function.parameters.type is required and must be "object"'),
        (
            function(parameters={"type": "object", "properties": {"a": {}}}),
            "Invalid request: tools.function.parameters is not a valid moonshot flavored json schema, details: "
            "<At path 'properties.a': type is not defined>",
        ),
        ({"tools": [{"type": "builtin_function", "function": {"name": "$shell"}}]}, "unknown builtin_function: $shell"),
        ({"tools": [{"type": "builtin_function", "function": {}}]}, "unknown builtin_function: None"),
        ({"tools": [TOOL, TOOL]}, "function name ping is duplicated"),
        ({"tools": [TOOL], "messages": [{"role": "system", "tools": [TOOL]}, USER]}, "name ping is duplicated"),
        ({"tools": [SEARCH, SEARCH]}, "function name $web_search is duplicated"),
        (
            {"tools": [function(f"tool_{number}")["tools"][0] for number in range(129)]},
            "tools must not hold more than 128 tools",
        ),
        ({"messages": [{**USER, "tools": [TOOL]}]}, "position 0 with role 'user' cannot have tools"),
        (said({"role": "assistant", "content": "a", "tools": [TOOL]}), "role 'assistant' cannot have tools"),
        (
            {"messages": [{"role": "system", "content": "Be kind.", "tools": [TOOL]}, USER]},
            "position 0 cannot be used with content",
        ),
        (said({"role": "assistant", "tool_calls": [{}]}), "tool_calls of the message at position 1 must have an id"),
        (said({"role": "assistant", "tool_calls": [3]}), "tool_calls of the message at position 1 must have an id"),
        (said(calling("a") | {"tool_calls": [{**calling("a")["tool_calls"][0], "type": "code"}]}), "must have an id"),
        (said(result("a")), "tool_call_id a is not found"),
        (said(result(None)), "Invalid request: tool_call_id  is not found"),
        (said(calling(""), result("")), "tool_call_id  is not found"),
        (said(calling("a"), result("a"), result("a")), "tool_call_id a has more than one response message"),
        (said(calling("a"), result("a"), USER, result("a")), "tool_call_id a is not found"),
        (
            said(calling("a", "b", "c"), result("b")),
            "an assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: a, c",
        ),
        (said(calling("a"), USER, result("a")), "did not have response messages: a"),
        (said({"role": "assistant", "content": "a", "partial": "yes"}), "partial of the message at position 1"),
        (said({"role": "assistant", "content": "a", "partial": True}, USER), "partial is only allowed"),
        (
            said({"role": "assistant", "content": "a", "partial": True}) | {"response_format": {"type": "json_object"}},
            "partial cannot be used with response_format json_object",
        ),
        (said(calling("a", partial=True)), "partial cannot be used with tool_calls"),
        ({"stop": ["a"] * 6}, "stop must not hold more than 5 strings"),
        ({"stop": ""}, "stop must not hold an empty string"),
        ({"stop": ["a", ""]}, "stop must not hold an empty string"),
        ({"stop": "é" * 17}, "each string of stop must not exceed 32 bytes"),
        ({"logprobs": "yes"}, "logprobs must be a boolean"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": 2}, "logprobs must be true when top_logprobs is used"),
        ({"stream_options": {"include_usage": 1}}, "include_usage must be a boolean"),
        ({"prompt_cache_key": 3}, "prompt_cache_key must be a string"),
        ({"prompt_cache_options": "1h"}, "prompt_cache_options must be an object"),
        ({"prompt_cache_options": {"ttl": "2h"}}, "prompt_cache_options.ttl must be one of 5m, 1h"),
        ({"prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options.mode must be one of implicit"),
        ({"prediction": "text"}, "prediction must be an object"),
        ({"prediction": {"type": "text"}}, "unsupported prediction type: 'text'"),
        ({"prediction": {"type": "content"}}, "prediction.content must be a string or a list of text parts"),
        ({"prediction": {"type": "content", "content": [3]}}, "prediction.content must be a string"),
        (seen("https://example.com/cat.png"), "Invalid request: unsupported image url: https://example.com/cat.png"),
        (seen("http://example.com/a.mp4", "video_url"), "unsupported video url: http://example.com/a.mp4"),
        (seen("data:image/png,abc"), "unsupported image url: data:image/png,abc"),
        (seen("ms://"), "unsupported image url: ms://"),
        (seen("x" * 9999), "unsupported image url: " + "x" * 300),
        (seen(None), "image_url must have a url"),
        (seen("data:image/svg+xml;base64,aaaa"), "unsupported image format: image/svg+xml"),
        (seen("data:;base64,aaaa"), "unsupported image format: unknown"),
        (seen("data:image/png;base64,aaaa", "video_url"), "unsupported video format: image/png"),
        (seen("data:image/png;base64,a b"), "failed to decode image: invalid or unsupported image format"),
        (seen("data:image/png;base64,"), "prepare image failed error, status code: 400, message: failed to decode"),
        ({"tool_choice": "any"}, "unsupported tool_choice: 'any'"),
        ({"tool_choice": NAMED}, "tool_choice names no function of tools"),
        ({"tool_choice": {"type": "function"}, "tools": [TOOL]}, "tool_choice names no function of tools"),
        ({"tool_choice": "required"}, "tool_choice 'required' needs tools"),
        ({"tool_choice": "required", "tools": []}, "tool_choice 'required' needs tools"),
        ({"response_format": "json"}, "response_format must be an object"),
        ({"response_format": {"type": "xml"}}, "unsupported response_format type: 'xml'"),
        ({"response_format": {"type": "json_schema"}}, "json_schema is required"),
        (json_schema({"schema": {}}), "json_schema.name is required"),
        (json_schema({"name": "a"}), "json_schema.schema must be an object"),
        (json_schema({"name": "a", "schema": []}), "json_schema.schema must be an object"),
        (
            json_schema({"name": "a", "schema": {"type": "object", "properties": 3}}),
            "Invalid request: response_format.json_schema is not a valid moonshot flavored json schema, details: "
            "<At path 'properties': properties must be an object>",
        ),
        (
            json_schema({"name": "a", "schema": {"anyOf": [{"type": "object"}]}}),
            'response_format.json_schema.schema.type is required and must be "object"',
        ),
        (
            json_schema({"name": "a", "strict": False, "schema": {"type": "object", "properties": 3}}),
            "the JSON schema cannot be used",
        ),
        (json_schema({**SCHEMA, "strict": "yes"}), "json_schema.strict must be a boolean"),
    ],
)
async def test_a_body_of_the_wrong_shape_is_a_400_that_names_the_fault(
    refused: Any, payload: dict[str, Any], message: str
) -> None:
    status, kind, text = await refused(**payload)

    assert (status, kind) == (400, "invalid_request_error")
    assert message in text


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"text"'])
async def test_a_body_that_is_no_object_is_a_400(send: Any, body: bytes) -> None:
    response = await send(body=body)

    assert response.status == 400
    assert b"must be a JSON object" in await response.read()


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "tools": [TOOL]}, USER],
        [{"role": "system", "content": "", "tools": [TOOL]}, USER],
        [USER, {"role": "system", "content": None, "tools": [TOOL]}],
        [USER, calling("a"), result("a", "")],
        [USER, calling("a", content=""), result("a")],
        [USER, calling("a", content=None), result("a", None)],
        [USER, calling("a", "b"), result("b"), result("a"), calling("a"), result("a")],
        [USER, calling("a", "a"), result("a"), result("a")],
        [USER, {"role": "assistant", "content": None, "reasoning_content": "Hm."}, USER],
        [USER, {"role": "assistant", "content": "", "name": "Poet", "partial": True}],
        [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,aaaa"}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/PNG;base64,iVBO\nRw0K"}]}],
        [{"role": "user", "content": '[{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]'}],
        [{"role": "assistant", "content": "Hi"}],
    ],
)
async def test_messages_that_may_be_empty_are_accepted(ask: Any, messages: list[Any]) -> None:
    assert await ask(messages=messages)


@pytest.mark.parametrize(("legacy", "status"), [(False, 404), (True, 200)])
@pytest.mark.parametrize("model", ["moonshot-v1-8k", "kimi-k2.5", "kimi-latest"])
async def test_a_retired_model_is_a_404_unless_it_is_asked_for(
    send: Any, model: str, legacy: bool, status: int
) -> None:
    assert (await send(model=model, to=FakeMoonshot(legacy_models=legacy))).status == status


async def test_an_unknown_model_is_a_404_with_the_documented_text(refused: Any) -> None:
    assert await refused(model="gpt-9", to=FakeMoonshot(legacy_models=True)) == (
        404,
        "resource_not_found_error",
        "Not found the model gpt-9 or Permission denied",
    )


OFF = {"model": "kimi-k2.6", "thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"temperature": 0.5}, "invalid temperature: only 1 is allowed for this model"),
        ({"temperature": 0}, "invalid temperature: only 1 is allowed for this model"),
        ({**OFF, "temperature": 1}, "invalid temperature: only 0.6 is allowed for this model"),
        ({"model": "kimi-k2.6", "temperature": 0.6}, "invalid temperature: only 1 is allowed for this model"),
        ({"top_p": 1}, "invalid top_p: only 0.95 is allowed for this model"),
        ({"n": 2}, "invalid n: only 1 is allowed for this model"),
        ({"presence_penalty": 0.1}, "invalid presence_penalty: only 0 is allowed for this model"),
        ({"frequency_penalty": -1}, "invalid frequency_penalty: only 0 is allowed for this model"),
        ({"model": "moonshot-v1-8k", "temperature": 1.5}, "invalid temperature: must be between 0 and 1"),
        ({"model": "moonshot-v1-8k", "n": 6}, "invalid n: must be between 1 and 5"),
        ({"model": "moonshot-v1-8k", "presence_penalty": -3}, "invalid presence_penalty: must be between -2 and 2"),
        ({"max_completion_tokens": 1048577}, "invalid max_completion_tokens: must be between 1 and 1048576"),
        ({"reasoning_effort": "medium"}, "invalid reasoning_effort: only low, high, max are allowed for this model"),
        (
            {"model": "kimi-k2.6", "thinking": {"type": "enabled"}, "reasoning_effort": "low"},
            "cannot specify both 'thinking' and 'reasoning_effort'",
        ),
        (
            {"model": "kimi-k2.6", "reasoning_effort": "low"},
            "invalid reasoning_effort: it is not supported by this model",
        ),
        (
            {"model": "kimi-k2.5", "thinking": {"type": "enabled", "keep": "all"}},
            "invalid thinking: keep is not supported by this model",
        ),
        (
            {"model": "kimi-k2.7-code", "thinking": {"type": "disabled"}},
            "invalid thinking: only type enabled is allowed for this model",
        ),
        (
            {"model": "kimi-k2.6", "thinking": {}},
            "invalid thinking: only type enabled or disabled is allowed for this model",
        ),
        (
            {"model": "moonshot-v1-8k", "thinking": {"type": "enabled"}},
            "invalid thinking: only type disabled is allowed for this model",
        ),
        (
            {"model": "kimi-k2.6", "thinking": {"type": "enabled", "keep": "some"}},
            "invalid thinking: keep must be 'all' or null",
        ),
        (
            {"model": "kimi-k2.6", "tools": [TOOL], "tool_choice": "required"},
            "tool_choice 'required' is incompatible with thinking enabled",
        ),
        (
            {"model": "kimi-k2.6", "tools": [TOOL], "tool_choice": NAMED},
            "tool_choice 'specified' is incompatible with thinking enabled",
        ),
        ({"tools": [TOOL], "tool_choice": NAMED}, "tool_choice 'specified' is incompatible with thinking enabled"),
        ({**OFF, "tools": [TOOL], "tool_choice": "required"}, "tool_choice 'required' is not supported by this model"),
        ({"model": "kimi-k2.6", "messages": [{"role": "system", "tools": [TOOL]}, USER]}, "tokenization failed"),
        (
            said({**calling("a"), "reasoning_content": None}, result("a")),
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
        ),
        (
            {**said({**calling("a"), "reasoning_content": None}, result("a")), "model": "kimi-k2.7-code"},
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
        ),
        (
            seen("data:image/png;base64,aaaa", model="moonshot-v1-8k"),
            "Invalid request: the message at position 0 with role 'user' contains an invalid part type: image_url",
        ),
        (
            seen("ms://a", "video_url", model="moonshot-v1-8k-vision-preview"),
            "Invalid request: the message at position 0 with role 'user' contains an invalid part type: video_url",
        ),
    ],
)
async def test_a_model_refuses_what_it_does_not_take(refused: Any, payload: dict[str, Any], message: str) -> None:
    answer = await refused(**payload, to=FakeMoonshot(legacy_models=True))

    assert answer == (400, "invalid_request_error", message)


@pytest.mark.parametrize(
    "payload",
    [
        {"temperature": 1, "top_p": 0.95, "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"temperature": None, "n": None, "thinking": None, "tools": None, "stop": None, "response_format": None},
        {"reasoning_effort": "max", "thinking": {"type": "enabled", "keep": "all"}},
        {"thinking": {"type": "enabled", "effort": "low"}},
        {"model": "kimi-k2.7-code", "thinking": {"type": "enabled", "keep": None}},
        {**OFF, "temperature": 0.6},
        {**OFF, **said({**calling("a"), "reasoning_content": None}, result("a"))},
        {**OFF, "tools": [TOOL], "tool_choice": NAMED},
        {"model": "kimi-k2.5", "thinking": {"type": "disabled"}},
        {"thinking": {"type": "disabled"}},
        seen("data:image/png;base64,aaaa", model="moonshot-v1-8k-vision-preview"),
        {"model": "moonshot-v1-8k", "temperature": 0, "top_p": 0.1, "n": 5, "presence_penalty": 2},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"messages": [{"role": "system", "tools": [TOOL]}, USER], "tool_choice": "required"},
        {"tools": [SEARCH, TOOL]},
        {"tools": [{**SEARCH, "function": {"name": "$web_search", "parameters": {"type": "string"}}}]},
        function("_under-score9", strict=True, parameters={}),
        function(strict=False, parameters={"properties": {"a": {}}}),
        json_schema({"name": "a", "schema": {}}),
        json_schema({"name": "a", "strict": False, "schema": {"properties": {"a": {}}}}),
        {"stop": ["a", "b", "c", "d", "é" * 16], "logprobs": True, "top_logprobs": 20},
        {"logprobs": False, "top_logprobs": None},
        {"prompt_cache_key": "a", "prompt_cache_options": {"mode": "implicit", "ttl": "1h"}, "safety_identifier": "b"},
        {"prediction": {"type": "content", "content": "Hello"}},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "Hello"}]}},
        {"seed": 1, "user": "me", "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": False},
        {"something": "new"},
    ],
)
async def test_a_model_takes_what_it_is_documented_to_take(ask: Any, payload: dict[str, Any]) -> None:
    assert await ask(**payload, to=FakeMoonshot(legacy_models=True))


def files(ids: dict[str, str]) -> Any:
    def check(url: str, kind: str = "image_url") -> Any:
        payload = {"model": "kimi-k3", **seen(url, kind)}
        return check_chat(payload, CATALOG, legacy_models=False, purpose_of=ids.get)

    return check


def test_a_file_is_named_by_its_id_and_must_have_been_uploaded_to_be_seen() -> None:
    check = files({"cat": "image", "clip": "video", "text": "file-extract"})

    assert check("ms://cat").id == "kimi-k3"
    assert check("ms://clip", "video_url")
    assert check("data:image/png;base64,aaaa")
    with pytest.raises(RefusedError, match="the file dog is not found"):
        check("ms://dog")
    assert check_chat({"model": "kimi-k3", **seen("ms://dog")}, CATALOG, legacy_models=False)
    with pytest.raises(RefusedError, match="the purpose of the file text is file-extract, not image"):
        check("ms://text")
    with pytest.raises(RefusedError, match="the purpose of the file cat is image, not video"):
        check("ms://cat", "video_url")


async def test_a_prompt_and_what_is_asked_for_must_fit_into_the_window(refused: Any, ask: Any) -> None:
    fake = FakeMoonshot(legacy_models=True)
    long = [{"role": "user", "content": "word " * 6000}]
    size = (await ask(messages=long, model="moonshot-v1-8k", to=fake))["usage"]["prompt_tokens"]

    beyond = await refused(messages=[*long, *long], model="moonshot-v1-8k", to=fake)
    asked = await refused(messages=long, model="moonshot-v1-8k", max_tokens=8193 - size, to=fake)

    text = "Your request exceeded model token limit: 8192 (requested: {})"
    assert beyond == (400, "invalid_request_error", text.format(2 * size))
    assert asked == (400, "invalid_request_error", text.format(8193))
    assert await ask(messages=long, model="moonshot-v1-8k", max_tokens=8192 - size, to=fake)


async def test_an_answer_shrinks_to_what_the_prompt_leaves_free(ask: Any) -> None:
    fake = FakeMoonshot(legacy_models=True)
    size = (await ask("word", model="moonshot-v1-8k", to=fake))["usage"]["prompt_tokens"]
    long = "word" + " word" * ((8192 - size - 10) * 4 // 5)

    completion = await ask(long, model="moonshot-v1-8k", to=fake)

    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"]["total_tokens"] == 8192


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 2) | st.sampled_from(["", "Hi", "text", "required"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "content", "text", "schema", "id"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional=dict.fromkeys(
        ("content", "partial", "tool_calls", "tools", "name", "reasoning_content", "tool_call_id"), JSON
    ),
)
PAYLOAD = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["kimi-k3", "kimi-k2.6", "moonshot-v1-8k"]),
        "messages": st.lists(MESSAGE, min_size=1, max_size=3),
    },
    optional=dict.fromkeys(
        (
            "stream",
            "stream_options",
            "max_tokens",
            "n",
            "temperature",
            "stop",
            "thinking",
            "tools",
            "tool_choice",
            "response_format",
            "reasoning_effort",
            "logprobs",
            "top_logprobs",
            "prediction",
            "prompt_cache_options",
        ),
        JSON,
    ),
)


@given(PAYLOAD)
async def test_whatever_is_asked_is_answered_or_refused_and_never_crashes(payload: Any) -> None:
    fake = FakeMoonshot(legacy_models=True)

    body = json.dumps(payload).encode()
    response = await fake(Request("POST", "http://a/v1/chat/completions", {"Authorization": "Bearer sk-a"}, body))

    content = await response.read()
    assert response.status in (200, 400)
    assert response.status == 400 or content.endswith((b"}", b"[DONE]\n\n"))
