"""kimi-agents-python: what its README shows, sync and async."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from kimi_agents_python import (
    AsyncKimiClient,
    AsyncSession,
    FilePurpose,
    KimiAgent,
    KimiAPIError,
    KimiClient,
    KimiError,
    LoopGuards,
    Model,
    RetryConfig,
    Runner,
    Session,
    arun_tools,
    kimi_tool,
    run_tools,
)
from pydantic import BaseModel, TypeAdapter

MODEL = Model.KIMI_K2_6
HELLO = [{"role": "user", "content": "Tell me of rain"}]
WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
NO_THINKING = {"type": "disabled"}


class Place(BaseModel):
    city: str
    population: int


@kimi_tool(read_only=True)
def get_weather(city: str) -> dict[str, Any]:
    """The weather of a city."""
    return {"city": city, "degrees": 4}


@kimi_tool
async def get_time(city: str) -> str:
    """The time in a city, and the weather of its clocks."""
    return f"noon in {city}"


def client_of(url: str, **options: Any) -> AsyncKimiClient:
    return AsyncKimiClient(base_url=url, **{"retries": 0} | options)


def sync_client(url: str, **options: Any) -> KimiClient:
    return KimiClient(base_url=url, **{"retries": 0} | options)


def spoken(message: Any) -> list[Any]:
    return [message.role, message.content, message.reasoning_content]


async def chat(url: str) -> Any:
    async with client_of(url, prompt_cache_key="session-1") as client:
        answer = await client.chat.create(
            model=MODEL, messages=[{"role": "system", "content": "Be brief."}, *HELLO], max_tokens=500, temperature=1.0
        )
        short = await client.chat.create(model=MODEL, messages=HELLO, max_tokens=4, thinking=NO_THINKING)
        stats = client.cache_stats
        return {
            "message": spoken(answer.choices[0].message),
            "finish": [answer.choices[0].finish_reason, short.choices[0].finish_reason],
            "usage": [answer.usage.total_tokens, answer.cached_tokens],
            "stats": [stats.requests, stats.prompt_tokens, str(stats.cost_usd) > "0"],
        }


async def chat_without_async(url: str) -> Any:
    def talk() -> Any:
        with sync_client(url) as client:
            answer = client.chat.create(model="kimi-k3", messages=HELLO)
            chunks = list(client.chat.create(model="kimi-k3", messages=HELLO, stream=True))
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        return [spoken(answer.choices[0].message), "".join(pieces), chunks[-1].choices[0].finish_reason]

    return await asyncio.to_thread(talk)


async def a_stream(url: str) -> Any:
    async with client_of(url) as client:
        stream = await client.chat.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        events = [event async for event in client.chat.stream_events(model=MODEL, messages=HELLO)]
        return {
            "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
            "reasoning": "".join(chunk.choices[0].delta.reasoning_content or "" for chunk in chunks if chunk.choices),
            "usage": chunks[-1].usage.total_tokens,
            "counted": client.cache_stats.requests,
            "events": list(dict.fromkeys(type(event).__name__ for event in events)),
            "finish": str(events[-1].finish_reason),
        }


async def a_stream_that_was_cut(url: str) -> Any:
    async with client_of(url) as client:
        stream = client.chat.stream_with_reconnect(model=MODEL, messages=HELLO, thinking=NO_THINKING, retry_delay=0.0)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def a_prefix(url: str) -> Any:
    async with client_of(url) as client:
        result = await client.chat.prefill(model=MODEL, messages=HELLO, prefill="Rain is", thinking=NO_THINKING)
        thought = await client.chat.prefill(model=MODEL, messages=HELLO, prefill="Rain is")
    return [result.text, result.completion.choices[0].message.content, thought.text]


async def tools(url: str) -> Any:
    async with client_of(url) as client:
        asked = await client.chat.create(model=MODEL, messages=WEATHER, tools=[get_weather, get_time])
        once = await arun_tools(client, model=MODEL, messages=WEATHER, tools=[get_weather])
        both = await arun_tools(
            client,
            model=MODEL,
            messages=[{"role": "user", "content": "Time and weather of Oslo"}],
            tools=[get_weather, get_time],
            guards=LoopGuards(max_tokens=10_000),
            thinking={"type": "enabled", "keep": "all"},
        )
        forced = await client.chat.create(
            model=MODEL, messages=HELLO, tools=[get_time], thinking=NO_THINKING, tool_choice="none"
        )

    def talk() -> Any:
        with sync_client(url) as client:
            return run_tools(client, model=MODEL, messages=WEATHER, tools=[get_weather]).choices[0].message.content

    return {
        "calls": [[call.function.name, call.function.arguments] for call in asked.choices[0].message.tool_calls],
        "once": once.choices[0].message.content,
        "both": both.choices[0].message.content,
        "none": forced.choices[0].message.tool_calls,
        "sync": await asyncio.to_thread(talk),
    }


async def sessions(url: str) -> Any:
    async with client_of(url) as client:
        session = AsyncSession(client, model=MODEL, system="Be brief.", thinking={"type": "enabled", "keep": "all"})
        first = await session.send("Tell me of rain")
        mark = session.checkpoint()
        second = await session.send("What is the weather in Oslo?", tools=[get_weather])
        roles = [str(message.role) for message in session.history]
        branch = session.fork()
        streamed = [chunk async for chunk in branch.stream("And of snow?", stream_options={"include_usage": True})]
        session.restore(mark)
        third = await session.send("And of snow?")
        counted = await session.estimated_tokens("One more?")

    def talk() -> Any:
        with sync_client(url) as client:
            session = Session(client, model=MODEL)
            return [session.send("Tell me of rain").content, session.send("And of snow?").content]

    return {
        "answers": [first.content, second.content, third.content],
        "roles": roles,
        "reasoned": bool(first.reasoning_content),
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices),
        "usage": [session.usage.requests, branch.usage.requests],
        "counted": counted > 0,
        "sync": await asyncio.to_thread(talk),
    }


async def agents(url: str) -> Any:
    forecaster = KimiAgent(name="forecaster", model=MODEL, instructions="Weather only.", tools=[get_weather])
    chief = KimiAgent(name="chief", model=MODEL, instructions="Delegate.", handoffs=[forecaster])
    plain = KimiAgent(name="plain", model=MODEL, model_settings={"thinking": NO_THINKING})
    async with client_of(url) as client:
        result = await Runner.run(chief, "Ask the forecaster of Oslo", client=client)
        several = await Runner.run_parallel(
            [(plain, "Tell me of rain"), (forecaster, "Weather in Rome?")], client=client
        )
    return {
        "output": result.final_output,
        "roles": [str(message.role) for message in result.messages],
        "cost": result.cost_usd > 0,
        "several": [one.final_output for one in several],
    }


async def a_parsed_answer(url: str) -> Any:
    async with client_of(url) as client:
        place = await client.chat.parse(model=MODEL, messages=WEATHER, response_format=Place)
        loose = await client.chat.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Answer in JSON: the weather in Oslo"}],
            response_format={"type": "json_object"},
        )
        adapter: Any = TypeAdapter(dict[str, int])
        numbers = await client.chat.parse(model=MODEL, messages=WEATHER, response_format=adapter)
    return [place.parsed.model_dump(), loose.choices[0].message.content, type(numbers.parsed).__name__]


async def vision(url: str) -> Any:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [picture, {"type": "text", "text": "What is shown?"}]
    async with client_of(url) as client:
        answer = await client.chat.create(model=MODEL, messages=[{"role": "user", "content": content}])
    return answer.choices[0].finish_reason


async def small_endpoints(url: str) -> Any:
    async with client_of(url) as client:
        models = await client.models.list()
        counted = await client.tokenizers.estimate(model=MODEL, messages=HELLO)
        balance = await client.account.balance()
    one = next(model for model in models if model.id == MODEL)
    return {
        "models": [model.id for model in models],
        "one": [one.owned_by, one.context_length, one.supports_image_in, one.supports_reasoning],
        "tokens": counted.data.total_tokens,
        "balance": [balance.code, balance.status, balance.scode],
        "money": balance.data.available_balance == balance.data.voucher_balance + balance.data.cash_balance,
    }


async def files(url: str) -> Any:
    async with client_of(url) as client:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "notes of today.md")
            path.write_text("# Rain\n\nIt rains.\n", encoding="utf-8")
            note = await client.files.create(file=path, purpose=FilePurpose.FILE_EXTRACT)
        picture = await client.files.create(file=("a.png", b"\x89PNG\r\n\x1a\n"), purpose="image")
        listed = await client.files.list()
        again = await client.files.retrieve(note.id)
        content = await client.files.content(note.id)
        deleted = await client.files.delete(picture.id)
        left = await client.files.list()
    return {
        "note": [note.object, note.bytes, note.filename, note.purpose, note.status, note == again],
        "listed": sorted(file.filename for file in listed),
        "content": content.text,
        "deleted": [deleted.id == picture.id, deleted.deleted],
        "left": [file.filename for file in left],
    }


async def batches(url: str) -> Any:
    line = (
        b'{"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", '
        b'"body": {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Tell me of rain"}]}}\n'
    )
    async with client_of(url) as client:
        file = await client.files.create(file=("in.jsonl", line), purpose=FilePurpose.BATCH)
        made = await client.batches.create(input_file_id=file.id, metadata={"job": "nightly"})
        again = await client.batches.retrieve(made.id)
        listed = await client.batches.list(limit=1)
        cancelled = await client.batches.cancel(made.id)
    return {
        "made": [made.object, made.endpoint, made.input_file_id == file.id, made.metadata, made.completion_window],
        "known": made.status in ("validating", "in_progress"),
        "again": again.id == made.id,
        "listed": [[batch.id == made.id for batch in listed.data], listed.has_more],
        "cancelled": cancelled.status in ("cancelling", "cancelled"),
    }


async def formulas(url: str) -> Any:
    uri = "moonshot/date:latest"
    async with client_of(url) as client:
        (tool, *_) = await client.formulas.load(uri)
        function = (await client.formulas.tools(uri))[0]["function"]
        fiber = await client.formulas.invoke(uri, name=function["name"], arguments={})
        try:
            await client.formulas.tools("moonshot/no_such:latest")
            missing = None
        except KimiAPIError as error:
            missing = error.status_code
        spoken = await tool.ainvoke("{}")
    return [tool.name == function["name"], fiber.object, fiber.status, fiber.output_str != "", spoken != "", missing]


async def errors(url: str) -> Any:
    async def failure(client: AsyncKimiClient, **more: Any) -> Any:
        try:
            await client.chat.create(**{"model": MODEL, "messages": HELLO} | more)
        except KimiError as error:
            return [type(error).__name__, getattr(error, "status_code", None), getattr(error, "error_type", None)]
        return None

    async with client_of(url) as client, client_of(url, api_key="sk-wrong") as stranger:
        told = [await failure(client) for _ in range(5)]
        told.append(await failure(client, model="moonshot-v1-8k"))
        told.append(await failure(client, messages=[{"role": "user", "content": ""}]))
        told.append(await failure(stranger))
        try:
            await client.files.retrieve("file-of-nobody")
        except KimiError as error:
            told.append([type(error).__name__, error.status_code])
    return told


async def retries(url: str) -> Any:
    async with client_of(url, retries=RetryConfig(max_retries=2, initial_delay=0.0, jitter=0.0)) as client:
        answer = await client.chat.create(model=MODEL, messages=HELLO)
    return answer.choices[0].finish_reason


async def a_proxy_for_debugging(url: str) -> Any:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    options = {"host": host, "port": int(port), "api_key": os.environ["MOONSHOT_API_KEY"], "trace_id": "trace-7"}
    async with AsyncKimiClient.with_moonpalace(**options) as client:
        return len(await client.models.list()) > 0


PARTS = {
    "chat": chat,
    "chat without async": chat_without_async,
    "a stream": a_stream,
    "a stream that was cut": a_stream_that_was_cut,
    "a prefix": a_prefix,
    "tools": tools,
    "sessions": sessions,
    "agents": agents,
    "a parsed answer": a_parsed_answer,
    "vision": vision,
    "small endpoints": small_endpoints,
    "files": files,
    "batches": batches,
    "formulas": formulas,
    "errors": errors,
    "retries": retries,
    "a proxy for debugging": a_proxy_for_debugging,
}
