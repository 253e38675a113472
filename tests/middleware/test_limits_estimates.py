"""What a request is estimated to count, against what the fake counts; and what an answer says it used."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.catalog import CATALOG, Model
from moonshot_async.fake.counting import prompt_tokens
from moonshot_async.middleware.limit_body import Usage, usage_of
from moonshot_async.middleware.limit_estimates import Estimate, Estimates

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + b"\0\0\x04\0\0\0\x03\0" + b"\0" * 500_000).decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def payload(*contents: Any, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content} for content in contents]
    return {"model": "kimi-k2.6", "messages": messages, **fields}


def of(data: Any, estimates: Estimates | None = None) -> Estimate:
    return (estimates or Estimates(None)).of(msgspec.json.encode(data))


texts = st.text() | st.text("你好，世界。今天", max_size=500) | st.text(" etaoin\n", max_size=2000)
media = st.sampled_from(
    [
        {"type": "image_url", "image_url": {"url": "ms://file-1"}},
        {"type": "image_url", "image_url": "ms://file-1"},
        {"type": "video_url", "video_url": {"url": "ms://file-2"}},
        IMAGE,
    ]
)
contents = texts | st.lists(st.builds(lambda text: {"type": "text", "text": text}, texts) | media, max_size=4)


@given(
    contents=st.lists(contents, min_size=1, max_size=6),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "tools": st.lists(st.just(TOOL), max_size=3),
            "response_format": st.just({"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}),
            "temperature": st.just(1.0),
        },
    ),
)
def test_an_estimate_is_never_below_what_counts_and_close_to_it(contents: list[Any], fields: Any) -> None:
    data = payload(*contents, **fields)
    counted, _ = prompt_tokens(data)
    estimate = of(data)

    assert estimate.prompt_tokens >= counted
    parts = sum(len(content) for content in contents if isinstance(content, list))
    # Of media the most is assumed; of text what it is, but for commas and empty lists.
    assert estimate.text <= counted + parts + 3
    assert estimate.prompt_tokens == estimate.text + estimate.media


def test_data_in_base64_is_no_text() -> None:
    assert of(payload([IMAGE])).prompt_tokens < 5000


def test_what_a_search_found_counts() -> None:
    arguments = json.dumps({"search_result": {"search_id": "s1"}, "usage": {"total_tokens": 9000}})
    call = {"id": "c1", "type": "builtin_function", "function": {"name": "$web_search", "arguments": arguments}}
    data = payload("Search.")
    data["messages"] += [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "$web_search", "content": arguments},
    ]

    assert of(data).prompt_tokens == prompt_tokens(data)[0] > 9000


@pytest.mark.parametrize(
    "content", ["search_id", '{"search_id": "s", "usage": 5}', '{"search_id": "s", "usage": {"total_tokens": -9}}', 5]
)
def test_what_only_looks_like_a_search_counts_as_text(content: Any) -> None:
    data = {"messages": [{"role": "tool", "content": content}]}

    assert of(data).media == 0


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 32_768),
        ({"max_completion_tokens": 50, "max_tokens": 70}, 50),
        ({"max_completion_tokens": None, "max_tokens": 70}, 70),
        ({"max_completion_tokens": 0}, 32_768),
        ({"max_completion_tokens": -5}, 32_768),
        ({"model": "kimi-k3"}, 131_072),
        ({"model": "kimi-k3.1-pro-2026-10-24"}, 131_072),
        ({"model": "moonshot-v1-8k"}, 8_192),
        ({"model": "somebody-elses"}, 131_072),
    ],
)
def test_an_answer_may_have_what_is_asked_for_or_what_the_model_gives(fields: Any, most: int) -> None:
    estimates = Estimates(None)

    assert {of(payload("Hi", **fields), estimates).max_completion_tokens for _ in range(2)} == {most}


def test_a_catalog_of_the_callers_says_what_models_give() -> None:
    catalog = CATALOG.extended(models=[Model("house-model", 1000, default_output_tokens=77)])
    estimates = Estimates(catalog)

    assert of(payload("Hi", model="house-model"), estimates).max_completion_tokens == 77
    # However many models are asked for.
    assert {of(payload("Hi", model=f"house-model-{n}"), estimates).max_completion_tokens for n in range(100)} == {77}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[1]",
        b'{"messages": 5}',
        b'{"messages": [5]}',
        b'{"max_tokens": "all"}',
        b"\xff" * 40,
        b"[" * 9999,
    ],
)
def test_what_makes_no_sense_counts_by_its_bytes(body: bytes) -> None:
    estimate = Estimates(None).of(body)

    assert estimate.prompt_tokens == max(1, -(-len(body) // 4))
    assert estimate.max_completion_tokens == 131_072


def test_an_upload_counts_by_its_length() -> None:
    class Body:
        length = 4000

        def pieces(self) -> AsyncIterator[bytes]:
            raise NotImplementedError

    assert Estimates(None).of(Body()).prompt_tokens == 1000


def test_the_other_surfaces_of_the_api_are_estimated_too() -> None:
    text = "Hello " * 200
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
    source = {"type": "image", "source": {"type": "base64", "data": PNG}}
    bodies: list[Any] = [
        {"input": text, "instructions": text},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": text * 2}]}], "max_output_tokens": 9},
        {"system": text, "messages": [{"role": "user", "content": text}], "max_tokens": 9},
    ]

    for body in bodies:
        assert 600 <= of(body).prompt_tokens <= 630
    assert of(bodies[1]).max_completion_tokens == 9
    for part in (image, source):
        assert of({"input": [{"role": "user", "content": [part]}]}).prompt_tokens < 5000


def test_texts_that_count_more_are_learned_at_once_and_less_slowly() -> None:
    estimates = Estimates(None)
    data = payload("x" * 4000)
    first = of(data, estimates)

    estimates.learn(first, first.prompt_tokens * 2)
    assert of(data, estimates).prompt_tokens == first.prompt_tokens * 2
    for _ in range(2):
        estimates.learn(first, first.prompt_tokens)
    assert 1.9 < of(data, estimates).prompt_tokens / first.prompt_tokens < 2
    for _ in range(1000):
        estimates.learn(first, 1)
    assert of(data, estimates).prompt_tokens / first.prompt_tokens == pytest.approx(0.5, abs=0.01)
    estimates.learn(first, first.prompt_tokens * 100)
    assert of(data, estimates).prompt_tokens == first.prompt_tokens * 8, "within reason"


def test_short_prompts_teach_nothing() -> None:
    estimates = Estimates(None)
    data = payload("Hi")

    estimates.learn(of(data), 5000)

    assert of(data, estimates) == of(data)


def test_media_that_count_more_are_learned_and_none_that_count_less() -> None:
    estimates = Estimates(None)
    data = payload([IMAGE])
    first = of(data, estimates)

    estimates.learn(first, first.text + 100)
    assert of(data, estimates) == first
    estimates.learn(first, first.text + 3 * first.media)
    assert of(data, estimates).prompt_tokens == first.text + 3 * first.media
    assert of(payload("Hi"), estimates) == of(payload("Hi"))


USAGE = {"prompt_tokens": 812, "completion_tokens": 64, "total_tokens": 876, "cached_tokens": 768}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 768, "cache_write_tokens": 0}}


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "Hi"}}], "usage": USAGE},
        {"usage": {**USAGE, **DETAILS}, "prompt_logprobs": None},
        {"usage": {**DETAILS, **USAGE}},
        {"usage": {"total_tokens": 876, "completion_tokens": 64, "prompt_tokens": 812}},
        {"usage": {"prompt_tokens": 812, "completion_tokens": 64}},
        {"choices": [{"message": {"content": json.dumps({"prompt_tokens": 5, "total_tokens": 6})}}], "usage": USAGE},
        {"usage": {"input_tokens": 812, "output_tokens": 64, "total_tokens": 876}},
        {"usage": {"input_tokens": 44, "output_tokens": 64, "cache_read_input_tokens": 768}},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_usage_is_found_at_the_end_of_a_body(body: Any, separators: Any) -> None:
    assert usage_of(json.dumps(body, separators=separators).encode()[-4096:]) == Usage(812, 876)


def test_of_several_usages_the_last_counts() -> None:
    chunks: list[Any] = [
        {"choices": [{"delta": {}, "usage": {**USAGE, "prompt_tokens": 1}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": USAGE}], "usage": None},
    ]
    frames = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)

    assert usage_of(frames + b"data: [DONE]\n\n") == Usage(812, 876)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"data: [DONE]\n\n",
        b'{"usage": null}',
        b'{"content": "{\\"prompt_tokens\\": 5}"}',
        b'{"prompt_tokens": "many"}',
        b'{"prompt_tokens": 99999999999999999}',
    ],
)
def test_no_usage_is_none(tail: bytes) -> None:
    assert usage_of(tail) is None


@given(st.binary() | st.text('{}":, prompt_tokensinu_al123').map(str.encode))
def test_any_bytes_are_survived(tail: bytes) -> None:
    usage_of(tail)
    usage_of(b'{"prompt_tokens":' + tail)
