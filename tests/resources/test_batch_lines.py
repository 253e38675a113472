"""From requests to the lines of an input file."""

import json
from typing import Any

import pytest

from moonshot_async import ConfigurationError
from moonshot_async.resources.batch_lines import BatchRequest, LineMaker
from moonshot_async.types.chat import ChatCompletionMessage, FunctionCall, ToolCall
from moonshot_async.types.encoding import NOT_GIVEN
from tests.resources.batch_service import ask

LINE = {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", "body": ask("Hi")}


def maker(*, model: str | None = None, check: bool = True) -> LineMaker:
    return LineMaker(model=model, endpoint="/v1/chat/completions", check=check)


def decoded(item: Any, *, model: str | None = None, check: bool = True) -> dict[str, Any]:
    made = maker(model=model, check=check).line(item)
    assert made is not None
    line: dict[str, Any] = json.loads(made[1])
    assert made[0] == line["custom_id"]
    assert b"\n" not in made[1]
    return line


def problem(item: Any, *, model: str | None = None, check: bool = True) -> str:
    with pytest.raises(ConfigurationError) as caught:
        maker(model=model, check=check).line(item)
    return str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        BatchRequest("q1", ask("Hi")),
        ("q1", ask("Hi")),
        {"custom_id": "q1", **ask("Hi")},
        LINE,
        {"custom_id": "q1", "body": ask("Hi")},
        json.dumps(LINE),
        json.dumps(LINE).encode() + b"\n",
    ],
)
def test_every_form_of_a_request_becomes_the_same_line(item: Any) -> None:
    assert decoded(item) == LINE


def test_keywords_alone_get_a_custom_id_by_their_position_and_empty_lines_count_for_nothing() -> None:
    lines = maker()
    made = [lines.line(item) for item in (ask("a"), "", b" \n", ("own", ask("b")), ask("c"))]
    assert [None if one is None else one[0] for one in made] == ["request-1", None, None, "own", "request-3"]


def test_response_objects_are_sent_as_they_were_received() -> None:
    call = ToolCall(id="t", function=FunctionCall(name="f", arguments="{}"))
    message = ChatCompletionMessage(content="", reasoning_content="hm", tool_calls=[call])
    messages = ({"role": "user", "content": "Hi"}, message, {"role": "tool", "tool_call_id": "t", "content": "1"})
    for item in (
        ("q", {"model": "kimi-k2.6", "messages": messages}),
        {**LINE, "body": {**ask(""), "messages": messages}},
    ):
        sent = decoded(item)["body"]["messages"][1]
        assert sent["reasoning_content"] == "hm"
        assert sent["tool_calls"][0]["id"] == "t"
        assert "content" not in sent


def test_the_model_of_the_run_is_that_of_requests_that_name_none() -> None:
    assert decoded({"messages": []}, model="kimi-k2.6")["body"] == {"model": "kimi-k2.6", "messages": []}
    assert decoded({"custom_id": "q", "body": {"messages": []}}, model="kimi-k2.6")["body"]["model"] == "kimi-k2.6"
    assert decoded(ask("Hi"), model="other")["body"]["model"] == "kimi-k2.6"


def test_what_is_not_given_is_not_sent_and_extra_body_goes_last() -> None:
    body = decoded(ask("Hi", temperature=NOT_GIVEN, tools=NOT_GIVEN, max_tokens=None, extra_body={"x": 1}))["body"]
    assert body == {**ask("Hi"), "max_tokens": None, "x": 1}


def test_what_a_line_has_besides_stays() -> None:
    assert decoded({**LINE, "priority": 3, "body": {**ask("Hi"), "newer": 1}}) == {
        **LINE,
        "priority": 3,
        "body": {**ask("Hi"), "newer": 1},
    }
    assert decoded({**LINE, "body": {"model": "kimi-k2.6"}})["body"] == {"model": "kimi-k2.6"}


@pytest.mark.parametrize("name", ["temperature", "top_p", "n", "presence_penalty", "frequency_penalty"])
def test_sampling_parameters_are_refused_by_name(name: str) -> None:
    said = problem(("q7", ask("Hi", **{name: 1})))
    assert said == f"request 1 (custom_id 'q7'): a batch takes no sampling parameters: leave {name} out"
    assert decoded(("q7", ask("Hi", **{name: 1})), check=False)["body"][name] == 1


def test_a_batch_does_not_stream() -> None:
    assert problem({**LINE, "body": ask("Hi", stream=True)}).endswith("a batch does not stream: leave stream out")


def test_all_requests_use_one_model() -> None:
    lines = maker()
    lines.line(("a", ask("Hi")))
    with pytest.raises(ConfigurationError, match=r"request 2 \(custom_id 'b'\): .* 'kimi-k2.7-code' and request 1"):
        lines.line(("b", ask("Hi", model="kimi-k2.7-code")))


def test_a_model_that_is_known_to_take_no_batches_is_refused_and_an_unknown_one_is_not() -> None:
    said = problem(ask("Hi", model="kimi-k3"))
    assert "did not take kimi-k3" in said
    assert "kimi-k2.6" in said
    assert "check=False" in said
    assert decoded(ask("Hi", model="kimi-k3"), check=False)["body"]["model"] == "kimi-k3"
    assert decoded(ask("Hi", model="kimi-k9"))["body"]["model"] == "kimi-k9"
    assert decoded({**LINE, "body": {**ask("Hi"), "model": ["odd"]}})["body"]["model"] == ["odd"]


@pytest.mark.parametrize("change", [{"method": "GET"}, {"url": "/v1/embeddings"}])
def test_a_line_for_something_else_is_refused(change: dict[str, str]) -> None:
    assert "its method must be 'POST' and its url '/v1/chat/completions'" in problem({**LINE, **change})
    assert decoded({**LINE, **change}, check=False) == {**LINE, **change}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (5, "request 1: a request is BatchRequest(custom_id, body), (custom_id, keywords of a chat completion)"),
        (("a", {}, 1), "not tuple"),
        ("{", "request 1: its line is not valid JSON"),
        ("[1]", "request 1: its line is no JSON object with a body"),
        (b'{"custom_id": "q"}', "its line is no JSON object with a body"),
        ({"body": ask("Hi")}, "request 1: its custom_id must be a text that is not empty, not NoneType"),
        (("", ask("Hi")), "its custom_id must be a text that is not empty, not an empty one"),
        (({"messages": "secret"}, ask("Hi")), "its custom_id must be a text that is not empty, not dict"),
        (("q", "Hi"), "request 1 (custom_id 'q'): its body must be an object"),
        (("q", {"model": "kimi-k2.6"}), "missing required keyword argument 'messages'"),
        (("q", {"messages": []}), "missing required keyword argument 'model'"),
        ({**LINE, "body": {"messages": []}}, "its body names no model: name one there, or pass model="),
        (("q", ask("Hi", max_tokn=1)), "unexpected keyword argument 'max_tokn'; did you mean 'max_tokens'?"),
        (("q", {"model": "kimi-k2.6", "messages": "Hi"}), "messages must be a list of messages"),
        (("q", ask("Hi", user=object())), "a value of type object has no JSON form"),
        (("q", ask("\ud800")), "a text has a lone surrogate"),
    ],
)
def test_what_is_no_request_is_refused_by_position_without_its_words(item: Any, said: str) -> None:
    message = problem(item)
    assert said in message
    assert "secret" not in message
