"""What the openai package taught people to write works here with only the import changed.

One program, run once with openai's names and once with ours, against the same service, must print the same and send the
same. It runs in processes of its own, since both packages want to be imported as their users import them.
"""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from moonshot_async.fake import FakeMoonshot
from moonshot_async.wire import Request

ROOT = Path(__file__).parent.parent

NAMES = """
    NOT_GIVEN, APIConnectionError, APIError, APIStatusError, APITimeoutError, AuthenticationError, BadRequestError,
    InternalServerError, NotFoundError, RateLimitError,
"""
MORE_NAMES = "AsyncStream, BaseModel, NotGiven, Omit, Timeout, omit"
TYPES = "ChatCompletion, ChatCompletionChunk, ChatCompletionMessage"
IMPORTS = {
    "openai": f"""
from openai import (AsyncOpenAI, OpenAIError, {MORE_NAMES}, {NAMES})
from openai.types.chat import {TYPES}
""",
    "compat": f"""
from moonshot_async.compat.openai import (AsyncOpenAI, OpenAIError, {MORE_NAMES}, {NAMES})
from moonshot_async.compat.openai.types.chat import {TYPES}
""",
    "core": f"""
from moonshot_async import (AsyncMoonshot as AsyncOpenAI, MoonshotError as OpenAIError, {NAMES})
from moonshot_async.compat.openai import {MORE_NAMES}
from moonshot_async.compat.openai.types.chat import {TYPES}
""",
}
OURS = ("compat", "core")

# Each part is the body of `async def part(client, url)`; `ASK` is a request that every service answers.
PARTS = {
    "the settings of a client": """
        print(str(client.base_url) == url + "/", client.max_retries, client.is_closed())
        other = client.with_options(max_retries=5, timeout=7.5)
        print(other.max_retries, client.max_retries, str(other.base_url) == str(client.base_url))
        print(client.copy(max_retries=1).max_retries)
        async with AsyncOpenAI(api_key="sk-b", base_url=url, organization="o", project="p", http_client=None) as own:
            print(len((await own.models.list()).data))
        print(own.is_closed())
        await own.close()
        for options in ({"max_retries": None}, {"no_such_option": 1}):
            try:
                AsyncOpenAI(**{"api_key": "sk-a", "base_url": url} | options)
            except TypeError:
                print("TypeError", *options)
        try:
            AsyncOpenAI(base_url=url)
        except OpenAIError:
            print("no key")
    """,
    "what can be asked of a client and set": """
        print(client.api_key, str(client.base_url) == url + "/", client.organization, client.project)
        own = AsyncOpenAI(api_key="sk-a", base_url="http://127.0.0.1:1/v1", organization="o", project="p", timeout=9.0,
            default_headers={"X-A": "1", "X-B": "1"}, default_query={"a": "1"}, _strict_response_validation=True,
            websocket_base_url="wss://example.com")
        print(own.organization, own.project, own.default_headers["X-A"], dict(own.default_query))
        print(own.copy(project="q").project, own.copy(project="q").organization)
        own.base_url = url
        own.api_key = "sk-b"
        own.max_retries = 7
        own.timeout = 8.0
        print(str(own.base_url) == url + "/", own.api_key, own.max_retries)
        print(len((await own.models.list()).data))
        own.base_url = url + "/"
        other = own.with_options(set_default_headers={"X-C": "1"}, set_default_query={"c": "1"})
        print(other.api_key, other.max_retries, other.organization, len((await other.models.list()).data))
        print(other.default_headers.get("X-A"), other.default_headers.get("X-C"), dict(other.default_query))
        for both in ("headers", "query"):
            try:
                own.with_options(**{f"default_{both}": {"a": "1"}, f"set_default_{both}": {"a": "1"}})
            except ValueError:
                print("ValueError", both)
        try:
            AsyncOpenAI(api_key="sk-a", max_retries=-1)
        except ValueError:
            print("ValueError")
        print(own.beta.chat.completions is own.chat.completions or own.beta.chat.completions.parse is not None)
        print(hasattr(own, "no_such_thing"))
        await other.close()
        print(own.is_closed())

        async def key():
            return "sk-called"

        own = AsyncOpenAI(api_key=key, base_url=url)
        print(repr(own.api_key), len((await own.models.list()).data))
        await own.close()
    """,
    "models": """
        models = await client.models.list()
        print([model.id for model in models.data], models.object)
        async for model in client.models.list():
            print(model.id, model.object, model.created, model.owned_by, model.context_length)
        model = await client.models.retrieve("kimi-k3")
        print(model.id, model.created)
        try:
            await client.models.retrieve("gpt-5")
        except NotFoundError as error:
            print(error.status_code, error.type)
    """,
    "a page": """
        page = await client.models.list()
        print(page.has_next_page(), page.next_page_info(), len([model async for model in page]) == len(page.data))
        print([len(one.data) for one in [one async for one in page.iter_pages()]] == [len(page.data)], bool(page))
        try:
            await page.get_next_page()
        except RuntimeError:
            print("no next page")
        listing = client.models.list()
        print(len([model async for model in listing]) == len((await listing).data))
    """,
    "an answer": """
        completion = await client.chat.completions.create(**ASK)
        print(completion.id, completion.object, completion.created, completion.model, completion.system_fingerprint)
        choice = completion.choices[0]
        print(choice.index, choice.finish_reason, choice.logprobs)
        message = choice.message
        print(message.role, message.content, message.refusal, message.tool_calls, message.function_call)
        print(message.reasoning_content, hasattr(message, "no_such_field"))
        usage = completion.usage
        print(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens)
        print(usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens)
        print(json.dumps(completion.to_dict(), sort_keys=True))
        print(message.to_dict() == message.model_dump(exclude_unset=True))
        print(json.dumps(message.model_dump(exclude_none=True), sort_keys=True))
        print(json.loads(completion.to_json()) == completion.to_dict())
        print(json.loads(completion.model_dump_json(exclude_none=True))["choices"][0]["message"]["role"])
        print(completion == await client.chat.completions.create(**ASK), completion == completion)
    """,
    "response objects": """
        completion = await client.chat.completions.create(**ASK)
        message = completion.choices[0].message
        print(sorted(completion.model_fields_set), {"content", "role"} <= message.model_fields_set)
        print(sorted(completion.model_dump(include={"id", "model"}).items()), completion.model_extra)
        print(json.dumps(completion.to_dict(exclude_none=True), sort_keys=True))
        print("usage" in completion.model_dump(exclude={"usage"}), "refusal" in message.model_fields_set)
        print(completion.model_dump_json(include={"id", "object"}), completion.to_json(indent=None)[:1])
        again = ChatCompletion.model_validate(completion.model_dump())
        print(again == ChatCompletion.model_validate_json(completion.model_dump_json()), again.to_dict()["id"])
        for twin in (pickle.loads(pickle.dumps(completion)), copy.deepcopy(completion), completion.model_copy()):
            print(twin == completion, twin is completion, twin.choices[0].message.reasoning_content)
        changed = completion.model_copy(update={"model": "other", "new": 1}, deep=True)
        print(changed.model, completion.model, changed.new, changed.choices[0] is completion.choices[0])
        made = ChatCompletion.construct(id="x", choices=[{"index": 0, "message": {"content": "c"}}], strange=1)
        print(made.id, made.choices[0].message.content, made.strange, type(made.choices[0].message).__name__)
        print(ChatCompletionMessage(role="assistant", content="c").to_dict())
        print(hasattr(completion, "_request_id"), isinstance(completion, BaseModel))
        async for chunk in await client.chat.completions.create(**ASK, stream=True):
            print(json.dumps(chunk.to_dict(), sort_keys=True))
    """,
    "raw responses": """
        create = client.chat.completions.with_raw_response.create
        raw = await create(**ASK)
        print(raw.status_code, raw.headers["Content-Type"], raw.method, str(raw.url) == url + "/chat/completions")
        print(raw.retries_taken, raw.is_closed, raw.http_version, type(raw.elapsed).__name__, raw.elapsed.days)
        print(json.loads(raw.text) == json.loads(raw.content), raw.http_response.status_code, raw.http_request.method)
        print(raw.http_request.headers["authorization"], json.loads(raw.http_request.content)["model"])
        completion = raw.parse()
        print(completion.choices[0].message.content, raw.parse() is completion, type(completion).__name__)
        print(raw.parse(to=object)["id"], json.loads(raw.parse(to=str))["id"], sorted(raw.parse(to=dict[str, object])))
        raw = await create(**ASK, stream=True)
        print(raw.status_code, raw.headers["content-type"], raw.is_closed)
        print([chunk.choices[0].delta.content async for chunk in raw.parse()], raw.is_closed)
        raw = await client.models.with_raw_response.list()
        print(len(raw.parse().data), raw.parse().has_next_page(), [model.id async for model in raw.parse()])
        raw = await client.with_raw_response.models.retrieve("kimi-k3")
        print(raw.parse().id, raw.method)
        print((await client.with_raw_response.chat.completions.create(**ASK)).parse().model)
        print((await client.chat.with_raw_response.completions.create(**ASK)).parse().model)
        for wrong in ({"model": "gpt-5"}, {"max_token": 5}):
            try:
                await create(**ASK | wrong)
            except (NotFoundError, TypeError) as error:
                print(type(error).__name__)
    """,
    "streaming responses": """
        create = client.chat.completions.with_streaming_response.create
        async with create(**ASK) as response:
            print(response.status_code, response.headers["content-type"], response.method, response.is_closed)
            print(response.retries_taken, response.http_request.method, response.http_version, str(response.url) == url)
            completion = await response.parse()
            print(completion.choices[0].message.content, (await response.parse()) is completion, response.is_closed)
        async with create(**ASK) as response:
            print(json.loads(await response.read()) == json.loads(await response.text()) == await response.json())
            print((await response.parse(to=object))["object"])
        async with create(**ASK) as response:
            print(json.loads(b"".join([piece async for piece in response.iter_bytes()]))["object"], response.is_closed)
        async with create(**ASK) as response:
            pieces = [piece async for piece in response.iter_bytes(chunk_size=10)]
            print({len(piece) for piece in pieces[:-1]}, len(b"".join(pieces)) > 100)
        async with create(**ASK) as response:
            print(json.loads("".join([text async for text in response.iter_text()]))["object"])
        async with create(**ASK, stream=True) as response:
            print([line async for line in response.iter_lines()])
        async with create(**ASK, stream=True) as response:
            stream = await response.parse()
            print([chunk.choices[0].delta.content async for chunk in stream])
        async with create(**ASK, stream=True) as response:
            await response.close()
            print(response.is_closed)
        async with client.models.with_streaming_response.list() as response:
            print(len((await response.parse()).data))
        async with client.with_streaming_response.models.retrieve("kimi-k3") as response:
            print((await response.parse()).id)
        try:
            async with create(**ASK | {"model": "gpt-5"}) as response:
                print("never")
        except NotFoundError as error:
            print(error.status_code)
    """,
    "endpoints without a method": """
        print((await client.get("/models", cast_to=object))["object"])
        print(sorted(await client.get("models/kimi-k3", cast_to=dict[str, object]))[:2])
        print((await client.get("/models", cast_to=httpx2.Response)).status_code)
        print((await client.post("/chat/completions", cast_to=ChatCompletion, body=ASK)).choices[0].finish_reason)
        options = {"headers": {"X-Own": "1"}, "params": {"q": "1"}, "timeout": 5.0}
        print(type(await client.get("/models", cast_to=object, options=options)).__name__)
        stream = await client.post("/chat/completions", cast_to=ChatCompletion, body=ASK | {"stream": True},
            stream=True, stream_cls=AsyncStream[ChatCompletionChunk])
        print([chunk.choices[0].delta.content async for chunk in stream])
        for verb in ("get", "post", "put", "patch", "delete"):
            try:
                await getattr(client, verb)("/no/such/thing", cast_to=object)
            except APIStatusError as error:
                print(verb, error.status_code)
    """,
    "what stays unsent": """
        ask = ASK | dict(temperature=omit, tools=Omit(), stop=NotGiven(), top_p=NOT_GIVEN)
        print((await client.chat.completions.create(**ask)).choices[0].finish_reason)
        own = client.with_options(default_headers={"X-A": "1", "X-B": "1"})
        print(len((await own.models.list(extra_headers={"X-A": omit, "X-C": Omit()})).data))
        print(isinstance(omit, Omit), isinstance(NOT_GIVEN, NotGiven), bool(omit))
    """,
    "keywords": """
        ask = ASK | dict(frequency_penalty=0, logit_bias={}, logprobs=False, max_completion_tokens=500, metadata={},
            n=1, parallel_tool_calls=True, presence_penalty=0, prompt_cache_key="k", response_format={"type": "text"},
            safety_identifier="s", seed=0, service_tier="auto", stop=["zzz"], store=False, stream=False,
            temperature=1, tool_choice="auto", top_p=0.95, user="u", tools=[], verbosity="low", timeout=20)
        print((await client.chat.completions.create(**ask)).choices[0].finish_reason)
        ask = ASK | dict(max_tokens=None, stop=None, temperature=NOT_GIVEN, tools=NOT_GIVEN, stream=NOT_GIVEN)
        print((await client.chat.completions.create(**ask)).choices[0].finish_reason)
        for wrong in ({**ASK, "max_token": 5}, {"model": "kimi-k2.6"}, {"messages": []}):
            try:
                await client.chat.completions.create(**wrong)
            except TypeError:
                print("TypeError")
    """,
    "a stream": """
        stream = await client.chat.completions.create(**ASK, stream=True)
        print(stream.response.status_code, stream.response.headers["content-type"])
        async for chunk in stream:
            print(chunk.id, chunk.object, chunk.created, chunk.model, chunk.usage, len(chunk.choices))
            for choice in chunk.choices:
                delta = choice.delta
                reasoning = getattr(delta, "reasoning_content", None)
                print(choice.index, choice.finish_reason, delta.role, delta.content, reasoning, delta.tool_calls)
        print([chunk async for chunk in stream])
    """,
    "a stream with usage": """
        stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        async for chunk in stream:
            if chunk.usage:
                print(len(chunk.choices), chunk.usage.total_tokens)
    """,
    "a stream in parts": """
        stream = await client.chat.completions.create(**ASK, stream=True)
        print((await anext(stream)).choices[0].delta.role, (await stream.__anext__()).choices[0].delta.content)
        await stream.close()
        await stream.close()
        async with await client.chat.completions.create(**ASK, stream=True) as stream:
            async for chunk in stream:
                print(chunk.choices[0].delta.role)
                break
        stream = await client.chat.completions.create(**ASK, stream=True)
        await stream.aclose()
    """,
    "events": """
        async with client.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    print(event.type, repr(event.delta), repr(event.snapshot), event.parsed)
                elif event.type == "content.done":
                    print(event.type, event.content, event.parsed)
                elif event.type == "chunk":
                    print(event.type, event.chunk.id, event.snapshot.choices[0].message.content)
                elif event.type.startswith("refusal"):
                    print(event.type)
            completion = await stream.get_final_completion()
        print(completion.choices[0].message.content, completion.choices[0].finish_reason, completion.usage.total_tokens)
        print(completion.choices[0].message.role, completion.choices[0].message.tool_calls, completion.model)
        async with client.chat.completions.stream(**ASK) as stream:
            await stream.until_done()
            print(stream.current_completion_snapshot.choices[0].message.content)
        async with client.chat.completions.stream(**ASK) as stream:
            print((await stream.get_final_completion()).id)
        async with client.chat.completions.stream(**ASK) as stream:
            await stream.close()
    """,
    "events of tool calls": """
        ask = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Weather in Paris?"}], "tools": TOOLS}
        async with client.chat.completions.stream(**ask) as stream:
            async for event in stream:
                if event.type == "tool_calls.function.arguments.delta":
                    print(event.type, event.name, event.index, repr(event.arguments), repr(event.arguments_delta))
                elif event.type == "tool_calls.function.arguments.done":
                    print(event.type, event.name, event.index, event.arguments)
            call = (await stream.get_final_completion()).choices[0].message.tool_calls[0]
        print(call.id, call.type, call.function.name, call.function.arguments)
    """,
    "a round trip through a tool": """
        messages = [{"role": "user", "content": "Weather in Paris?"}]
        completion = await client.chat.completions.create(model="kimi-k2.6", messages=messages, tools=TOOLS)
        message = completion.choices[0].message
        messages.append(message)
        for call in message.tool_calls:
            print(call.id, call.type, call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "rain"})
        completion = await client.chat.completions.create(model="kimi-k2.6", messages=messages, tools=TOOLS)
        print(completion.choices[0].message.content, completion.choices[0].finish_reason)
        messages += [completion.choices[0].message, {"role": "user", "content": "And in Rome?"}]
        print((await client.chat.completions.create(model="kimi-k2.6", messages=messages)).choices[0].message.content)
    """,
    "errors": """
        client = client.with_options(max_retries=0)
        failing = [{}, {}, {}, {}]
        for wrong in (*failing, {"model": "gpt-5"}, {"temperature": 0.123}, {"key": "wrong"}):
            asked = client.with_options(api_key=wrong.pop("key", None))
            try:
                await asked.chat.completions.create(**ASK | wrong)
            except (AuthenticationError, NotFoundError, RateLimitError, BadRequestError, InternalServerError) as error:
                print([kind.__name__ for kind in CLASSES if isinstance(error, kind)])
                print(error.status_code, error.code, error.type, error.param, error.body, error.response.status_code)
                print(error.request.method, str(error.request.url) == url + "/chat/completions")
                print(str(error).partition(" (")[0].replace(url, ""), error.message == str(error))
                print(error.response.headers["content-type"], error.response.json()["error"]["type"])
                print(error.response.text == error.response.content.decode(), error.response.headers.get("retry-after"))
    """,
    "errors of the connection": """
        client = client.with_options(max_retries=0)
        try:
            await client.chat.completions.create(**ASK)
        except APIConnectionError as error:
            print("broken off", isinstance(error, APITimeoutError), str(error.request.url) == url + "/chat/completions")
        try:
            await client.with_options(base_url="http://127.0.0.1:1/v1").chat.completions.create(**ASK)
        except APIConnectionError as error:
            print("refused", isinstance(error, APITimeoutError), isinstance(error, APIError))
        stream = await client.chat.completions.create(**ASK, stream=True)
        try:
            async for chunk in stream:
                pass
        except APIError as error:
            print(type(error).__name__, error.message, error.type, error.body)
    """,
    "a timeout": """
        each = Timeout(30.0, read=0.1)
        short = ({"timeout": 0.1}, {"timeout": each})
        for options, call in [*((one, {}) for one in short), *(({}, one) for one in short)]:
            try:
                await client.with_options(max_retries=0, **options).chat.completions.create(**ASK, **call)
            except APITimeoutError as error:
                print(isinstance(error, APIConnectionError))
    """,
    "retries": """
        print((await client.with_options(max_retries=1).chat.completions.create(**ASK)).choices[0].finish_reason)
    """,
    "retries that are told": """
        print((await client.chat.completions.with_raw_response.create(**ASK)).retries_taken)
        async with client.models.with_streaming_response.list() as response:
            print(response.retries_taken)
    """,
    "extras": """
        extras = dict(extra_headers={"X-Habit": "1", "X-Default": "mine"}, extra_query={"q": "a b", "n": 1, "f": True})
        own = AsyncOpenAI(
            api_key="sk-a", base_url=url, default_headers={"X-Default": "theirs"}, default_query={"d": "1", "q": "no"}
        )
        body = {"thinking": {"type": "disabled"}, "user": "from extra_body"}
        completion = await own.chat.completions.create(**ASK, **extras, extra_body=body, user="from a keyword")
        print(completion.usage.completion_tokens_details)
        stream = await own.chat.completions.create(**ASK, **extras, extra_body=body, stream=True)
        print(len([chunk async for chunk in stream]))
        print(len((await own.models.list(**extras)).data))
        async with own.chat.completions.stream(**ASK, **extras, extra_body=body) as stream:
            print((await stream.get_final_completion()).choices[0].finish_reason)
        own = own.with_options(default_headers={"X-Default": "changed", "X-More": "1"}, default_query={"e": "2"})
        print(len((await own.models.list()).data))
        await own.close()
    """,
}

PROGRAM = """
import asyncio, copy, json, os, pickle, sys, traceback
import httpx2
IMPORT

ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: tell me of rain"}]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
CLASSES = (AuthenticationError, NotFoundError, RateLimitError, BadRequestError, InternalServerError,
    APIStatusError, APIError)

DEFINITIONS

async def main():
    for name, (part, url) in json.loads(os.environ["PARTS"]).items():
        print("##", name)
        async with AsyncOpenAI(api_key="sk-canary-01", base_url=url) as client:
            try:
                await globals()[part](client, url)
            except Exception:
                traceback.print_exc(file=sys.stdout)

asyncio.run(main())
"""

# What a program prints and what it sends, part by part.
Run: TypeAlias = tuple[dict[str, str], dict[str, list[dict[str, Any]]]]


def program(library: str) -> str:
    definitions = [f"async def part_{number}(client, url):{body}" for number, body in enumerate(PARTS.values())]
    return PROGRAM.replace("IMPORT", IMPORTS[library]).replace("DEFINITIONS", "\n".join(definitions))


def service(name: str) -> FakeMoonshot:
    fake = FakeMoonshot(clock=lambda: 1794200000.0)
    match name:
        case "errors":
            fake.fail(429, retry_after=1)
            fake.fail(429, type="exceeded_current_quota_error")
            fake.fail(500)
            fake.fail(400, type="content_filter")
        case "errors of the connection":
            fake.disconnect()
            fake.error_in_stream(2)
        case "a timeout":
            fake.latency = 5.0
        case "retries":
            fake.fail(429, headers={"retry-after-ms": "1"})
        case "retries that are told":
            fake.fail(429, headers={"retry-after-ms": "1"})
            fake.fail(500, headers={"retry-after-ms": "1"}, path="/v1/models")
    return fake


async def run(library: str) -> Run:
    fakes = {name: service(name) for name in PARTS}
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(fake.serve()) for name, fake in fakes.items()}
        parts = {name: (f"part_{number}", url) for number, (name, url) in enumerate(urls.items())}
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", program(library)),
            stdout=asyncio.subprocess.PIPE,
            env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PARTS": json.dumps(parts)},
        )
        out, _ = await process.communicate()
    sections = (section.partition("\n") for section in out.decode().split("## ")[1:])
    sent = {name: [_told(request) for request in fake.requests] for name, fake in fakes.items()}
    return {name: text for name, _, text in sections}, sent


def _told(request: Request) -> dict[str, Any]:
    habits = {name.lower(): value for name, value in request.headers.multi_items() if name.lower().startswith("x-")}
    return {
        "method": request.method,
        "url": request.url.partition("/v1")[2],
        "headers": {name: value for name, value in habits.items() if not name.startswith("x-stainless-")},
        "authorization": request.headers["authorization"],
        "body": json.loads(request.body) if request.body else None,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs() -> Mapping[str, Run]:
    """Both programs' runs, by library."""
    if importlib.util.find_spec("openai") is None:
        if os.environ.get("MOONSHOT_ASYNC_CI") == "1":
            pytest.fail("openai is not installed")
        pytest.skip("openai is not installed")
    return {library: await run(library) for library in IMPORTS}


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("name", PARTS)
def test_the_same_program_prints_the_same(name: str, library: str, runs: Mapping[str, Run]) -> None:
    theirs, ours = runs["openai"][0][name], runs[library][0][name]
    assert "Traceback" not in theirs, theirs
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("name", PARTS)
def test_the_same_program_sends_the_same(name: str, library: str, runs: Mapping[str, Run]) -> None:
    theirs, ours = runs["openai"][1][name], runs[library][1][name]
    assert theirs
    if name == "models":
        # A model that has no address of its own is looked for in the list.
        assert ours.pop()["url"] == "/models"
    for request in theirs:
        for message in (request["body"] or {}).get("messages", ()):
            if message.get("tool_calls") and message.get("content") == "":
                # The API refuses empty content, so an answer that only calls tools goes back without it.
                del message["content"]
    assert ours == theirs
