"""The types of the small endpoints, of requests' parts and of the toolkit; never run, only read by mypy."""

from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from moonshot_async import AsyncMoonshot, ChatCompletion, ChatCompletionMessage, StreamInterruptedError
from moonshot_async.catalog import CATALOG, Catalog, Currency, Model, Price, currency_of
from moonshot_async.toolkit import media, partial_mode
from moonshot_async.types.chat_params import (
    WEB_SEARCH,
    DynamicToolsMessage,
    ImagePart,
    MessageParam,
    ResponseFormat,
    ToolChoice,
    ToolParam,
    VideoPart,
)
from moonshot_async.types.formulas import Fiber, Formula
from moonshot_async.types.signatures import RequestSignature, new_nonce, nonce_header
from moonshot_async.types.tools import ProSearchResult, SearchChunk, SearchResult

TOOL: ToolParam = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


async def endpoints(client: AsyncMoonshot, messages: list[MessageParam]) -> None:
    assert_type((await client.users.balance()).available_balance, Decimal)
    assert_type((await client.tokenizers.estimate_token_count(model="m", messages=messages)).total_tokens, int)
    for result in await client.tools.search(text_query="q", limit=3):
        assert_type(result, SearchResult)
        assert_type(result.text, str | None)
    for better in await client.tools.search_pro(text_query="q", sites=["a.example"], time_window={"start": "2026"}):
        assert_type(better, ProSearchResult)
        assert_type(better.chunks, list[SearchChunk])
    assert_type((await client.tools.fetch(url="u", track_id="t")).markdown, str)
    await client.tools.search(query="q")  # type: ignore[call-arg]  # misspelt
    await client.tools.search_pro(text_query="q", time_window={"from": "2026"})  # type: ignore[arg-type]  # no such key


async def formulas(client: AsyncMoonshot) -> None:
    async for formula in client.formulas.list():
        assert_type(formula, Formula)
    tools = await client.formulas.tools("moonshot/web-search:latest")
    assert_type(tools.tools, list[dict[str, Any]])
    await client.chat.completions.create(model="m", messages=[], tools=tools.tools)
    fiber = await client.formulas.fibers.create("moonshot/web-search:latest", name="web_search", arguments="{}")
    assert_type(fiber, Fiber)
    assert_type(fiber.result, str)
    assert_type(fiber.failure, str | None)


async def signatures(client: AsyncMoonshot) -> None:
    nonce = new_nonce()
    await client.chat.completions.create(model="m", messages=[], extra_headers=nonce_header(nonce))
    signature = RequestSignature.read({}, nonce=nonce, model="m")
    assert_type(signature, RequestSignature | None)
    if signature is not None:
        assert_type((await client.signatures.verify(**signature.params())).valid, bool)


async def parts(client: AsyncMoonshot) -> None:
    picture = await media.image(Path("roof.png"))
    film = await media.video(b"")
    assert_type(picture, ImagePart)
    assert_type(film, VideoPart)
    assert_type(await media.upload_image(client, Path("roof.png")), ImagePart)
    more: DynamicToolsMessage = {"role": "system", "tools": [TOOL]}
    user: MessageParam = {"role": "user", "content": [picture, film, media.text("What?")]}
    await client.chat.completions.create(
        model="m",
        messages=[more, user, {"role": "user", "content": [picture]}],
        tools=[TOOL, WEB_SEARCH, {"type": "newer"}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        prediction={"type": "content", "content": "x"},
        reasoning_effort="low",
    )
    choice: ToolChoice = "a newer one"
    form: ResponseFormat = {"type": "a newer one", "more": 1}
    await client.chat.completions.create(model="m", messages=[], tool_choice=choice, response_format=form)


async def partial(client: AsyncMoonshot, completion: ChatCompletion, error: StreamInterruptedError) -> None:
    begun = partial_mode.prefix("Grey roofs", name="Poet")
    assert_type(begun, MessageParam)
    await client.chat.completions.create(model="m", messages=[begun])
    assert_type(partial_mode.continue_from(error), MessageParam)
    assert_type(partial_mode.continue_from(completion), MessageParam)
    whole = partial_mode.join(begun, completion)
    assert_type(whole, ChatCompletion)
    assert_type(partial_mode.join(error, completion).choices[0].message, ChatCompletionMessage)


def costs(completion: ChatCompletion) -> None:
    assert_type(CATALOG, Catalog)
    assert_type(CATALOG.get("kimi-k3"), Model | None)
    assert_type(CATALOG.price("kimi-k3"), Price | None)
    assert_type(currency_of("https://api.moonshot.cn/v1"), Currency)
    assert completion.usage is not None
    assert_type(CATALOG.cost(completion.usage, "kimi-k3", currency="cny"), Decimal)
    assert_type(CATALOG.cost({"prompt_tokens": 1}, "kimi-k3"), Decimal)
    CATALOG.cost(completion.usage, "kimi-k3", currency="eur")  # type: ignore[arg-type]  # no such currency
