"""litellm: `moonshot/…` models, as its documentation shows them."""

import asyncio
import json
from typing import Any

import litellm
from pydantic import BaseModel

KEY = "sk-peers-key"
HELLO = [{"role": "user", "content": "Tell me of rain"}]
WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Place(BaseModel):
    city: str
    population: int


def ask(url: str, **more: Any) -> dict[str, Any]:
    return {"model": "moonshot/kimi-k2.6", "messages": HELLO, "api_base": url, "api_key": KEY, "num_retries": 0} | more


def told(answer: Any) -> dict[str, Any]:
    choice = answer.choices[0]
    return {
        "text": choice.message.content,
        "reasoning": getattr(choice.message, "reasoning_content", None),
        "finish": choice.finish_reason,
        "total": answer.usage.total_tokens,
    }


async def completions(url: str) -> Any:
    awaited = await litellm.acompletion(**ask(url, max_tokens=900))
    waited = await asyncio.to_thread(litellm.completion, **ask(url))
    depth = await litellm.acompletion(**ask(url, model="moonshot/kimi-k3", max_completion_tokens=900, temperature=1))
    return [told(awaited), told(waited), told(depth)]


async def streams(url: str) -> Any:
    stream = await litellm.acompletion(**ask(url, stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in stream]
    built = litellm.stream_chunk_builder(chunks, messages=HELLO)

    def talk() -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ask(url, stream=True)))

    calls = await litellm.acompletion(**ask(url, messages=WEATHER, tools=[TOOL], stream=True))
    called = litellm.stream_chunk_builder([chunk async for chunk in calls]).choices[0].message.tool_calls
    return {
        "awaited": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "built": told(built),
        "waited": await asyncio.to_thread(talk),
        "calls": [[call.function.name, call.function.arguments] for call in called],
    }


async def tools(url: str) -> Any:
    messages: list[Any] = list(WEATHER)
    first = await litellm.acompletion(**ask(url, messages=messages, tools=[TOOL], tool_choice="auto"))
    message = first.choices[0].message
    messages.append(message)
    for call in message.tool_calls:
        city = json.loads(call.function.arguments)["city"]
        messages.append(
            {"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": f"4 in {city}"}
        )
    second = await litellm.acompletion(**ask(url, messages=messages, tools=[TOOL]))
    forgetful = [*WEATHER, {"role": "assistant", "tool_calls": [message.tool_calls[0].model_dump()]}, messages[-1]]
    third = await litellm.acompletion(**ask(url, model="moonshot/kimi-k2.5", messages=forgetful, tools=[TOOL]))
    required = await litellm.acompletion(**ask(url, messages=list(WEATHER), tools=[TOOL], tool_choice="required"))
    return {
        "calls": [[call.function.name, call.function.arguments] for call in message.tool_calls],
        "answers": [second.choices[0].message.content, third.choices[0].message.content],
        "required": required.choices[0].finish_reason,
    }


async def formats(url: str) -> Any:
    place = await litellm.acompletion(**ask(url, messages=WEATHER, response_format=Place))
    loose = await litellm.acompletion(
        **ask(
            url,
            messages=[{"role": "user", "content": "Answer in JSON: the weather in Oslo"}],
            response_format={"type": "json_object"},
        )
    )
    return [Place.model_validate_json(place.choices[0].message.content).model_dump(), loose.choices[0].message.content]


async def extras(url: str) -> Any:
    quick = await litellm.acompletion(
        **ask(url, extra_body={"thinking": {"type": "disabled"}}, extra_headers={"X-Msh-Request-Nonce": "n"}, user="u1")
    )
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "text", "text": "What is shown?"},
    ]
    seen = await litellm.acompletion(**ask(url, messages=[{"role": "user", "content": content}]))
    parts = [{"role": "user", "content": [{"type": "text", "text": "Tell me of rain"}]}]
    flat = await litellm.acompletion(**ask(url, messages=parts))
    return [told(quick), seen.choices[0].finish_reason, told(flat)["text"]]


async def errors(url: str) -> Any:
    seen: list[Any] = []
    for more in ({}, {}, {}, {"model": "moonshot/gpt-5"}, {"temperature": 0.3}, {"api_key": "sk-wrong"}):
        try:
            await litellm.acompletion(**ask(url, **more))
        except litellm.exceptions.OpenAIError as error:
            seen.append([type(error).__name__, error.status_code])
        except Exception as error:  # noqa: BLE001  # which one it is, is what is told
            seen.append([type(error).__name__, getattr(error, "status_code", None)])
    return seen


async def retries(url: str) -> Any:
    return told(await litellm.acompletion(**ask(url, num_retries=2)))["finish"]


PARTS = {
    "completions": completions,
    "streams": streams,
    "tools": tools,
    "formats": formats,
    "extras": extras,
    "errors": errors,
    "retries": retries,
}
