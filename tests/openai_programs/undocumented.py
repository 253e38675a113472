# ruff: noqa: T201  # what it prints is what is compared
"""Endpoints, parameters and fields that the library does not know."""

import asyncio
from typing import Any

import httpx2
from openai import AsyncOpenAI, BaseModel

client = AsyncOpenAI(default_headers={"X-Default": "theirs"}, default_query={"tenant": "a"})
ASK = {"messages": [{"role": "user", "content": "Say this is a test"}], "model": "kimi-k2.6"}


class Counted(BaseModel):
    total_tokens: int


class Count(BaseModel):
    data: Counted


async def main() -> None:
    print((await client.get("/users/me/balance", cast_to=object))["code"])
    count = await client.post("/tokenizers/estimate-token-count", cast_to=Count, body=ASK)
    print(count.data.total_tokens, count.to_dict())
    plain: Any = await client.post("/tokenizers/estimate-token-count", cast_to=object, body=ASK)
    print(plain["data"])
    response = await client.post("/tokenizers/estimate-token-count", cast_to=httpx2.Response, body=ASK)
    print(response.headers.get("x-msh-trace-id"), response.status_code, response.json(), response.text)
    completion = await client.chat.completions.create(
        **ASK,
        extra_headers={"X-Own": "1", "X-Default": "mine"},
        extra_query={"q": "a b", "n": 1, "on": True},
        extra_body={"thinking": {"type": "disabled"}},
    )
    print(completion.choices[0].message.model_extra, completion.model_extra)
    print(getattr(completion.choices[0].message, "reasoning_content", None))
    print(getattr(completion, "unknown_prop", "nothing"))
    other = client.with_options(default_headers={"X-Default": "other"}, default_query={"tenant": "b"})
    print(len((await other.models.list(extra_query={"q": "x,y", "none": None})).data))
    print(len((await client.models.list(extra_headers={"X-Own": "2"})).data))


asyncio.run(main())
