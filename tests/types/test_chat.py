"""The fields of chat completions, whole and streamed, and how a message goes back."""

import copy
import json
import pickle
from typing import Any

import pytest
from openai.types.chat import ChatCompletion as OpenAICompletion
from openai.types.chat import ChatCompletionChunk as OpenAIChunk
from openai.types.completion_usage import CompletionTokensDetails as OpenAICompletionDetails
from openai.types.completion_usage import CompletionUsage as OpenAIUsage
from openai.types.completion_usage import PromptTokensDetails as OpenAIPromptDetails

from moonshot_async.types.chat import (
    ChatCompletion,
    ChatCompletionMessage,
    CompletionTokensDetails,
    PromptTokensDetails,
    Usage,
    decode_chunk,
    decode_completion,
)

# The example of the API's documentation, with what other hosts add.
WHOLE: dict[str, Any] = {
    "id": "chatcmpl-68a1",
    "choices": [
        {
            "finish_reason": "tool_calls",
            "index": 0,
            "logprobs": {
                "content": [
                    {
                        "token": "Hi",
                        "bytes": [72, 105],
                        "logprob": -0.5,
                        "top_logprobs": [{"token": "Ho", "bytes": None, "logprob": -1.5}],
                    }
                ],
                "refusal": None,
            },
            "message": {
                "content": "",
                "refusal": None,
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "get_weather:0",
                        "function": {"arguments": '{"city":"Oslo"}', "name": "get_weather"},
                        "type": "function",
                    }
                ],
                "reasoning_content": "Need the weather.",
            },
        }
    ],
    "created": 1794200000,
    "model": "kimi-k3",
    "object": "chat.completion",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "usage": {
        "completion_tokens": 64,
        "prompt_tokens": 812,
        "total_tokens": 876,
        "completion_tokens_details": {"reasoning_tokens": 41},
        "prompt_tokens_details": {"cached_tokens": 768, "cache_write_tokens": 0},
        "cached_tokens": 768,
    },
}
PIECE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "choices": [
        {
            "delta": {
                "content": "Hel",
                "role": "assistant",
                "tool_calls": [
                    {
                        "index": 1,
                        "id": "f:1",
                        "function": {"arguments": "{", "name": "f"},
                        "type": "builtin_function",
                    }
                ],
                "reasoning_content": "Short.",
            },
            "finish_reason": "stop",
            "index": 2,
        }
    ],
    "created": 1794200000,
    "model": "kimi-k3",
    "object": "chat.completion.chunk",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "usage": {"completion_tokens": 7, "prompt_tokens": 9, "total_tokens": 16},
}

OPENAI: dict[type, Any] = {
    Usage: OpenAIUsage,
    PromptTokensDetails: OpenAIPromptDetails,
    CompletionTokensDetails: OpenAICompletionDetails,
}


def encoded(data: object) -> bytes:
    return json.dumps(data).encode()


def message_of(**fields: object) -> ChatCompletionMessage:
    return decode_completion(encoded({"choices": [{"message": fields}]})).choices[0].message


def usage_of(**fields: object) -> Usage:
    usage = decode_completion(encoded({"choices": [], "usage": fields})).usage
    assert usage is not None
    return usage


def keys_of(tree: object) -> object:
    """The names of a tree in their order."""
    if isinstance(tree, dict):
        return [(name, keys_of(value)) for name, value in tree.items()]
    return [keys_of(item) for item in tree] if isinstance(tree, list) else None


def test_every_documented_field_of_an_answer_is_read() -> None:
    completion = decode_completion(encoded(WHOLE))

    choice = completion.choices[0]
    message = choice.message
    assert (completion.id, completion.object, completion.created) == ("chatcmpl-68a1", "chat.completion", 1794200000)
    assert (completion.model, completion.system_fingerprint, completion.service_tier) == ("kimi-k3", "fp_1", "default")
    assert (choice.index, choice.finish_reason) == (0, "tool_calls")
    assert (message.role, message.content, message.refusal) == ("assistant", "", None)
    assert message.reasoning_content == "Need the weather."
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert (call.id, call.type, call.function.name) == ("get_weather:0", "function", "get_weather")
    assert call.function.arguments == '{"city":"Oslo"}'
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    token = choice.logprobs.content[0]
    assert (token.token, token.logprob, token.bytes) == ("Hi", -0.5, [72, 105])
    assert (token.top_logprobs[0].token, token.top_logprobs[0].logprob) == ("Ho", -1.5)
    usage = completion.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (812, 64, 876)
    assert usage.cached_tokens == 768
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens) == (768, 0)
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 41


def test_every_documented_field_of_a_chunk_is_read() -> None:
    chunk = decode_chunk(encoded(PIECE))

    choice = chunk.choices[0]
    delta = choice.delta
    assert (chunk.id, chunk.object, chunk.created) == ("chatcmpl-1", "chat.completion.chunk", 1794200000)
    assert (chunk.model, chunk.system_fingerprint, chunk.service_tier) == ("kimi-k3", "fp_1", "default")
    assert (choice.index, choice.finish_reason) == (2, "stop")
    assert (delta.role, delta.content, delta.reasoning_content) == ("assistant", "Hel", "Short.")
    assert delta.tool_calls is not None
    call = delta.tool_calls[0]
    assert (call.index, call.id, call.type) == (1, "f:1", "builtin_function")
    assert call.function is not None
    assert (call.function.name, call.function.arguments) == ("f", "{")
    assert chunk.usage is not None
    assert chunk.usage.total_tokens == 16


def test_a_documented_answer_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for decode, body in ((decode_completion, WHOLE), (decode_chunk, PIECE)):
        monkeypatch.setattr(type(decode), "_forgiving", None)
        decode(encoded(body))


def test_what_nobody_sent_has_its_default() -> None:
    chunk = decode_chunk(b'{"choices":[{}]}')
    completion = decode_completion(b'{"choices":[{"message":{}}]}')

    assert (chunk.id, chunk.created, chunk.model, chunk.usage) == ("", 0, "", None)
    assert (chunk.choices[0].index, chunk.choices[0].finish_reason, chunk.choices[0].delta.role) == (0, None, None)
    assert (completion.id, completion.created, completion.model, completion.usage) == ("", 0, "", None)
    assert (completion.choices[0].message.role, completion.choices[0].message.content) == ("assistant", None)
    assert decode_chunk(b'{"choices":[]}').choices == []


def test_values_of_open_sets_that_are_new_are_kept() -> None:
    chunk = decode_chunk(b'{"choices":[{"finish_reason":"tired","delta":{"role":"oracle"}}],"object":"new"}')

    assert (chunk.choices[0].finish_reason, chunk.choices[0].delta.role, chunk.object) == ("tired", "oracle", "new")


def test_the_usage_of_the_finish_chunk_is_at_its_choice() -> None:
    chunk = decode_chunk(b'{"choices":[{"delta":{},"finish_reason":"stop","usage":{"total_tokens":16}}]}')

    assert chunk.choices[0].usage is not None
    assert chunk.choices[0].usage.total_tokens == 16


def test_cached_tokens_are_found_under_both_names_whichever_was_sent() -> None:
    flat = usage_of(cached_tokens=5)
    nested = usage_of(prompt_tokens_details={"cached_tokens": 6, "cache_write_tokens": 1})
    hollow = usage_of(cached_tokens=7, prompt_tokens_details={"cache_write_tokens": 1})
    both = usage_of(cached_tokens=8, prompt_tokens_details={"cached_tokens": 9})

    assert flat.prompt_tokens_details == PromptTokensDetails(cached_tokens=5)
    assert nested.cached_tokens == 6
    assert hollow.prompt_tokens_details == PromptTokensDetails(cached_tokens=7, cache_write_tokens=1)
    assert (both.cached_tokens, both.prompt_tokens_details) == (8, PromptTokensDetails(cached_tokens=9))
    assert (usage_of().cached_tokens, usage_of().prompt_tokens_details) == (None, None)
    assert usage_of(prompt_tokens_details={}).cached_tokens is None


@pytest.mark.parametrize("exclude_none", [False, True])
def test_a_dump_has_what_openai_dumps_in_its_order(exclude_none: bool) -> None:
    ours = decode_completion(encoded(WHOLE)).model_dump(exclude_unset=True, exclude_none=exclude_none)
    theirs = OpenAICompletion.model_validate(WHOLE).model_dump(exclude_unset=True, exclude_none=exclude_none)

    assert _without_none(ours) == _without_none(theirs)
    assert list(ours) == list(theirs)
    ours_choice, theirs_choice = ours["choices"][0], theirs["choices"][0]
    assert list(_without_none(ours_choice)) == list(_without_none(theirs_choice))
    assert list(_without_none(ours_choice["message"])) == list(_without_none(theirs_choice["message"]))


def test_to_dict_and_to_json_give_what_openai_gives() -> None:
    body = _without_none(WHOLE)
    body["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] = 1
    ours, theirs = decode_completion(encoded(body)), OpenAICompletion.model_validate(body)

    assert ours.to_dict() == theirs.to_dict()
    assert keys_of(ours.to_dict()["choices"]) == keys_of(theirs.to_dict()["choices"])
    assert json.loads(ours.to_json()) == json.loads(theirs.to_json())
    assert ours.to_json().splitlines()[:2] == theirs.to_json().splitlines()[:2]


def test_a_chunk_dumps_as_openai_dumps_it() -> None:
    piece = json.loads(encoded(PIECE).replace(b"builtin_function", b"function"))
    ours, theirs = decode_chunk(encoded(piece)), OpenAIChunk.model_validate(piece)

    assert ours.to_dict() == theirs.to_dict() == piece
    assert keys_of(ours.to_dict()) == keys_of(theirs.to_dict())


@pytest.mark.parametrize("cls", [Usage, PromptTokensDetails, CompletionTokensDetails])
def test_fields_stand_in_the_order_of_openais(cls: type) -> None:
    ours = list(cls.__struct_fields__)  # type: ignore[attr-defined]  # msgspec sets it on every struct
    theirs = list(OPENAI[cls].model_fields)

    assert [name for name in ours if name in theirs] == [name for name in theirs if name in ours]
    assert len(set(ours) & set(theirs)) >= 3


def _without_none(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _without_none(value) for name, value in tree.items() if value is not None}
    return [_without_none(item) for item in tree] if isinstance(tree, list) else tree


def test_a_message_goes_back_as_it_came() -> None:
    message = message_of(role="assistant", content="Hi", reasoning_content="Greet.", mood={"a": None})

    assert message.to_param() == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "Greet.",
        "mood": {"a": None},
    }


def test_empty_content_beside_tool_calls_stays_out() -> None:
    calls = [{"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}, "index": 0}]

    for content in ("", None):
        assert message_of(content=content, tool_calls=calls).to_param() == {"role": "assistant", "tool_calls": calls}
    assert message_of(content="Hi", tool_calls=calls).to_param()["content"] == "Hi"


def test_content_without_tool_calls_stays_even_when_empty() -> None:
    assert message_of(content="", tool_calls=[]).to_param() == {"role": "assistant", "content": ""}


def test_reasoning_goes_back_under_the_name_it_came_by_even_when_empty() -> None:
    assert message_of(content="Hi", reasoning_content="").to_param() == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "",
    }
    assert message_of(content="Hi", reasoning="Greet.").to_param() == {
        "role": "assistant",
        "content": "Hi",
        "reasoning": "Greet.",
    }


def test_nulls_do_not_go_back() -> None:
    assert message_of(content="Hi", refusal=None, name=None, mood=None).to_param() == {
        "role": "assistant",
        "content": "Hi",
    }


def test_the_request_id_is_known_once_the_headers_were_seen() -> None:
    completion = ChatCompletion(choices=[])
    assert completion.request_id is None

    completion._request_id = "r-1"

    assert completion.request_id == "r-1"
    assert "r-1" not in completion.model_dump_json()


@pytest.mark.parametrize(
    "sent",
    [
        {"cached_tokens": 5},
        {"prompt_tokens_details": {"cached_tokens": 6}},
        {"cached_tokens": 7, "prompt_tokens_details": {"cache_write_tokens": 1}},
        {"cached_tokens": 8, "prompt_tokens_details": {"cached_tokens": 8}},
        {"prompt_tokens_details": {"cache_write_tokens": 1}},
        {"prompt_tokens_details": {"cached_tokens": 9, "unheard_of": 1}},
        {},
    ],
)
def test_what_is_filled_in_is_no_part_of_what_the_server_sent(sent: dict[str, Any]) -> None:
    tokens = {"completion_tokens": 1, "prompt_tokens": 2, "total_tokens": 3}
    usage = Usage.model_validate(tokens | sent)

    assert usage.to_dict() == usage.model_dump(exclude_unset=True) == tokens | sent
    assert json.loads(usage.to_json()) == tokens | sent
    assert copy.deepcopy(usage).to_dict() == pickle.loads(pickle.dumps(usage)).to_dict() == tokens | sent
    assert usage.to_dict(exclude_none=True) == tokens | sent
    whole = usage.model_dump()
    assert whole.get("cached_tokens") == (whole["prompt_tokens_details"] or {}).get("cached_tokens")
    assert "prompt_tokens_details" not in usage.model_dump(exclude_unset=True, exclude={"prompt_tokens_details"})
