"""The keywords of a chat completion: every one that people pass, and no other."""

import inspect
import json
from typing import Any, get_args, get_type_hints

import pytest
from openai.resources.chat.completions import AsyncCompletions

from moonshot_async.types.chat_params import WEB_SEARCH, CompletionParams, CompletionRequest
from moonshot_async.types.encoding import NotGiven, build, encode

# Not part of the body: the call itself is addressed by them.
OF_THE_CALL = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
DOCUMENTED = {
    "model": "kimi-k3",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_completion_tokens": 1024,
    "max_tokens": 1024,
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1.0,
    "top_p": 0.95,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "stop": ["a", "b"],
    "response_format": {"type": "json_object"},
    "tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}],
    "tool_choice": "auto",
    "thinking": {"type": "enabled", "keep": None},
    "reasoning_effort": "low",
    "prediction": {"type": "content", "content": "x"},
    "logprobs": True,
    "top_logprobs": 20,
    "prompt_cache_key": "session",
    "prompt_cache_options": {"mode": "implicit", "ttl": "1h"},
    "safety_identifier": "user-1",
    "seed": 0,
    "top_k": 0,
    "logit_bias": {"1": -1},
    "user": "u",
    "parallel_tool_calls": False,
    "metadata": {},
    "service_tier": None,
}


def test_every_documented_keyword_is_sent_as_given() -> None:
    assert json.loads(encode(build(CompletionRequest, DOCUMENTED, call="create"))) == DOCUMENTED


@pytest.mark.parametrize("name", sorted(set(inspect.signature(AsyncCompletions.create).parameters) - OF_THE_CALL))
def test_every_keyword_of_the_openai_package_is_accepted(name: str) -> None:
    request = build(CompletionRequest, {"model": "m", "messages": [], name: ["x"]}, call="create")

    assert json.loads(encode(request))[name] == ["x"]


def test_the_typed_keywords_are_those_of_the_request() -> None:
    typed = set(CompletionParams.__annotations__) | {"stream"}

    assert typed == set(CompletionRequest.__struct_fields__)
    assert CompletionParams.__required_keys__ == {"model", "messages"}


def test_every_optional_keyword_may_be_not_given() -> None:
    hints: dict[str, Any] = get_type_hints(CompletionParams)

    for name, hint in hints.items():
        assert name in ("model", "messages") or hint is Any or NotGiven in get_args(hint), name


def test_the_search_of_the_service_is_declared_as_it_wants_it() -> None:
    assert WEB_SEARCH == {"type": "builtin_function", "function": {"name": "$web_search"}}


@pytest.mark.parametrize("model", ["moonshot-v1-8k", "moonshot-v1-auto", "kimi-k2.5", "kimi-k3", "moonshotai/Kimi-K2"])
def test_old_parameters_go_with_any_model(model: str) -> None:
    old: dict[str, Any] = {"temperature": 0.3, "top_p": 1.0, "n": 5, "presence_penalty": -2, "max_tokens": 1024}

    request = build(CompletionRequest, {"model": model, "messages": [], **old}, call="create")

    assert json.loads(encode(request)) == {"model": model, "messages": [], **old}
