import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "ping"}}
NAMED = {"type": "function", "function": {"name": "ping"}}
SCHEMA = {"name": "a", "schema": {"type": "object"}}


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
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "contains an invalid part type: None"),
        ({"messages": [{**USER, "tool_calls": 3}]}, "tool_calls of the message at position 0 must be a list"),
        ({"messages": [{**USER, "name": 3}]}, "name of the message at position 0 must be a string"),
        ({"messages": [{**USER, "partial": True}]}, "partial is only allowed"),
        ({"messages": [{"role": "assistant", "content": "a", "partial": True}, USER]}, "partial is only allowed"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": ["ping"]}, "tools must have a function with a name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools must have a function with a name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools must have a function with a name"),
        ({"messages": [{"role": "system", "tools": [3]}, USER]}, "tools must have a function with a name"),
        ({"tools": [{"type": "code", "function": {"name": "a"}}]}, "unsupported tool type: 'code'"),
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
        (json_schema({"name": "a", "schema": {"type": "object", "properties": 3}}), "the JSON schema cannot be used"),
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
        [USER, {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "", "tool_call_id": "a"}],
        [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}, {"role": "tool", "content": "4"}],
        [USER, {"role": "assistant", "content": None, "reasoning_content": "Hm."}, USER],
        [USER, {"role": "assistant", "content": "", "name": "Poet", "partial": True}],
        [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "ms://a"}}]}],
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
        ({"reasoning_effort": "medium"}, "invalid reasoning_effort: only low, high, max are allowed for this model"),
        (
            {"model": "kimi-k2.6", "thinking": {"type": "enabled"}, "reasoning_effort": "low"},
            "cannot specify both 'thinking' and 'reasoning_effort'",
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
        {"model": "kimi-k2.6", "reasoning_effort": "low"},
        {**OFF, "temperature": 0.6},
        {"model": "moonshot-v1-8k", "temperature": 0, "top_p": 0.1, "n": 5, "presence_penalty": 2},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"something": "new"},
    ],
)
async def test_a_model_takes_what_it_is_documented_to_take(ask: Any, payload: dict[str, Any]) -> None:
    assert await ask(**payload, to=FakeMoonshot(legacy_models=True))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 2) | st.sampled_from(["", "Hi", "text", "required"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "function", "name", "content", "text", "schema"]), inner, max_size=3)
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
