"""kimi-sdk (kosong): messages of parts, tools that are classes, and a loop of steps."""

from typing import Any

from kimi_sdk import (
    APIEmptyResponseError,
    APIStatusError,
    CallableTool2,
    ChatProviderError,
    ImageURLPart,
    Kimi,
    Message,
    SimpleToolset,
    TextPart,
    ThinkPart,
    ToolCall,
    ToolOk,
    ToolResult,
    ToolReturnValue,
    generate,
    step,
)
from pydantic import BaseModel

HELLO = [Message(role="user", content="Tell me of rain")]
WEATHER = [Message(role="user", content="What is the weather in Oslo?")]


class City(BaseModel):
    city: str


class Weather(CallableTool2[City]):
    name: str = "get_weather"
    description: str = "The weather of a city"
    params: type[City] = City

    async def __call__(self, params: City) -> ToolReturnValue:
        return ToolOk(output=f"4 degrees in {params.city}")


class Time(CallableTool2[City]):
    name: str = "get_time"
    description: str = "The time in a city"
    params: type[City] = City

    async def __call__(self, params: City) -> ToolReturnValue:
        return ToolOk(output=[TextPart(text="noon in "), TextPart(text=params.city)])


def kimi(url: str, model: str = "kimi-k2.6", **options: Any) -> Kimi:
    return Kimi(model=model, base_url=url, api_key=options.pop("api_key", "sk-peers-key"), max_retries=0, **options)


def thought(message: Message) -> str:
    return "".join(part.think for part in message.content if isinstance(part, ThinkPart))


def answered(result: ToolResult) -> Message:
    return Message(role="tool", tool_call_id=result.tool_call_id, content=result.return_value.output)


async def say(url: str) -> Any:
    told = {}
    for stream in (True, False):
        parts: list[Any] = []
        result = await generate(kimi(url, stream=stream), "Be brief.", [], HELLO, on_message_part=parts.append)
        usage = result.usage
        assert usage is not None
        told[str(stream)] = {
            "text": result.message.extract_text(),
            "thought": thought(result.message),
            "usage": [usage.input_other, usage.output, usage.input_cache_read],
            "id": bool(result.id),
            "parts": list(dict.fromkeys(part.type for part in parts)),
        }
    return told


async def thinking(url: str) -> Any:
    told = []
    for effort in ("off", "high"):
        result = await generate(kimi(url).with_thinking(effort), "", [], HELLO)
        told.append([result.message.extract_text(), thought(result.message)])
    keeping = kimi(url).with_thinking("high").with_extra_body({"thinking": {"keep": "all"}})
    first = await generate(keeping, "", [], HELLO)
    history = [*HELLO, first.message, Message(role="user", content="And of snow?")]
    second = await generate(keeping, "", [], history)
    depth = kimi(url, "kimi-k3").with_generation_kwargs(reasoning_effort="low", max_tokens=900, prompt_cache_key="s1")
    third = await generate(depth, "", [], [*history, second.message, Message(role="user", content="Thanks")])
    return {"efforts": told, "second": second.message.extract_text(), "third": third.message.extract_text()}


async def steps(url: str) -> Any:
    toolset = SimpleToolset([Weather(), Time()])
    told: dict[str, Any] = {}
    for stream in (True, False):
        provider = kimi(url, stream=stream)
        history = [Message(role="user", content="Time and weather of Oslo")]
        seen: list[Any] = []
        for _ in range(5):
            result = await step(provider, "Use tools.", toolset, history)
            history.append(result.message)
            results = await result.tool_results()
            seen.append([[call.function.name, call.function.arguments] for call in result.tool_calls])
            history.extend(map(answered, results))
            if not result.tool_calls:
                break
        history.append(Message(role="user", content="Tell me of rain"))
        last = await generate(provider, "Use tools.", [], history)
        told[str(stream)] = {
            "seen": seen,
            "answer": result.message.extract_text(),
            "roles": [message.role for message in history],
            "last": last.message.extract_text(),
        }
    return told


async def vision(url: str) -> Any:
    picture = ImageURLPart(image_url=ImageURLPart.ImageURL(url="data:image/png;base64,iVBORw0KGgo="))
    asked = [Message(role="user", content=[picture, TextPart(text="What is shown?")])]
    return bool((await generate(kimi(url), "", [], asked)).message.extract_text())


async def a_video(url: str) -> Any:
    part = await kimi(url).files.upload_video(data=b"\x00\x00\x00\x18ftypmp42", mime_type="video/mp4")
    asked = [Message(role="user", content=[part, TextPart(text="What happens?")])]
    answer = await generate(kimi(url), "", [], asked)
    return [part.video_url.url.startswith("ms://"), bool(answer.message.extract_text())]


async def a_prefix(url: str) -> Any:
    prefix = Message(role="assistant", content="Rain is", partial=True)
    return (await generate(kimi(url).with_thinking("off"), "", [], [*HELLO, prefix])).message.extract_text()


async def web_search(url: str) -> Any:
    class Search(CallableTool2[City]):
        name: str = "$web_search"
        description: str = "Search the web"
        params: type[City] = City

        async def __call__(self, params: City) -> ToolReturnValue:
            return ToolOk(output="")

    asked = [Message(role="user", content="Search the web for rain")]
    provider = kimi(url).with_thinking("off")
    first = await generate(provider, "", SimpleToolset([Search()]).tools, asked)
    calls: list[ToolCall] = first.message.tool_calls or []
    results = [Message(role="tool", tool_call_id=call.id, content=call.function.arguments or "") for call in calls]
    second = await generate(provider, "", SimpleToolset([Search()]).tools, [*asked, first.message, *results])
    return [[call.function.name for call in calls], bool(second.message.extract_text())]


async def errors(url: str) -> Any:
    told: list[Any] = []
    for provider in (kimi(url), kimi(url), kimi(url), kimi(url), kimi(url, "gpt-5"), kimi(url, api_key="sk-wrong")):
        try:
            await generate(provider, "", [], HELLO)
        except APIStatusError as error:
            told.append([type(error).__name__, error.status_code])
        except ChatProviderError as error:
            told.append(type(error).__name__)
    try:
        await generate(kimi(url).with_generation_kwargs(max_completion_tokens=3), "", [], HELLO)
    except APIEmptyResponseError as error:
        told.append(type(error).__name__)
    return told


PARTS = {
    "say": say,
    "thinking": thinking,
    "steps": steps,
    "vision": vision,
    "a video": a_video,
    "a prefix": a_prefix,
    "web search": web_search,
    "errors": errors,
}
