"""An `Answer` as the API writes it: one JSON object, or the chunks of a stream.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from moonshot_async.catalog import Model
from moonshot_async.fake import answers, brain, logprobs
from moonshot_async.fake.answers import Answer, ToolCall

DONE: Final = b"data: [DONE]\n\n"

_Object = dict[str, Any]


def completion(head: Mapping[str, Any], choices: Sequence[Answer], usage: Mapping[str, Any]) -> _Object:
    """The body of an answer that is not streamed; `head` holds id, created and model."""
    return {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": head["model"],
        "choices": [
            {"index": index, "message": _message(choice), **_logprobs(choice), "finish_reason": choice.finish_reason}
            for index, choice in enumerate(choices)
        ],
        "usage": usage,
    }


def chunks(
    head: Mapping[str, Any], choices: Sequence[Answer], usage: Mapping[str, Any], *, include_usage: bool
) -> Iterator[bytes]:
    """The frames of a stream, without the `[DONE]` that ends it, each made when it is asked for."""
    opening = {
        "id": head["id"],
        "object": "chat.completion.chunk",
        "created": head["created"],
        "model": head["model"],
    }
    nothing: _Object = {"usage": None} if include_usage else {}
    for index, choice in enumerate(choices):
        for delta, more in _deltas(choice):
            piece = {"index": index, "delta": delta, **more, "finish_reason": None}
            yield frame({**opening, "choices": [piece], **nothing})
        last = {"index": index, "delta": {}, "finish_reason": choice.finish_reason, "usage": usage}
        yield frame({**opening, "choices": [last], **nothing})
    if include_usage:
        yield frame({**opening, "choices": [], "usage": usage})


def frame(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def usage_of(payload: Mapping[str, Any], model: Model, choices: Sequence[Answer]) -> Mapping[str, Any]:
    """Count a completion; a scripted usage is taken as it is."""
    for choice in choices:
        if choice.usage is not None:
            return choice.usage
    prompt, cached = answers.prompt_tokens(payload)
    generated = sum(choice.completion_tokens() for choice in choices)
    # Only models with a price for it write to the cache on the bill.
    writes = model.price_usd is not None and model.price_usd.write_5m is not None
    usage: _Object = {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "cached_tokens": cached,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": prompt - cached if writes else 0},
    }
    if reasoning := sum(choice.reasoning_tokens() for choice in choices):
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


def _message(choice: Answer) -> _Object:
    message: _Object = {"role": "assistant", "content": choice.text}
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in choice.tool_calls]
    return message


def _call(call: ToolCall, arguments: str) -> _Object:
    return {"id": call.id, "type": call.type, "function": {"name": call.name, "arguments": arguments}}


def _logprobs(choice: Answer) -> _Object:
    """The log probabilities of a whole text, where they were asked for."""
    if choice.top_logprobs is None:
        return {}
    described = logprobs.entries(choice.text_pieces(), choice.top_logprobs)
    return {"logprobs": {"content": [entry for piece in described for entry in piece]}}


def _deltas(choice: Answer) -> Iterator[tuple[_Object, _Object]]:
    """What each chunk brings, and what stands beside it."""
    asked = choice.top_logprobs is not None
    beside: _Object = {"logprobs": None} if asked else {}
    yield {"role": "assistant", "content": ""}, beside
    if choice.reasoning is not None:
        # An empty reasoning is sent: a replayed message must carry the field.
        for piece in brain.pieces(choice.reasoning) or [""]:
            yield {"reasoning_content": piece}, beside
    pieces = choice.text_pieces()
    described = (
        logprobs.entries(pieces, choice.top_logprobs) if choice.top_logprobs is not None else [None] * len(pieces)
    )
    for piece, entries in zip(pieces, described, strict=True):
        yield {"content": piece}, {"logprobs": {"content": entries}} if asked else beside
    for index, call in enumerate(choice.tool_calls):
        yield {"tool_calls": [{"index": index, **_call(call, "")}]}, beside
        for piece in brain.pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, beside
