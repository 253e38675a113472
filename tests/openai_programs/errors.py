# ruff: noqa: T201  # what it prints is what is compared
"""What failures look like, by status and by kind."""

import asyncio
import os

import openai
from openai import AsyncOpenAI

client = AsyncOpenAI(max_retries=0)
ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Say this is a test"}]}


NAMES = (
    *("BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError", "ConflictError"),
    *("UnprocessableEntityError", "RateLimitError", "InternalServerError", "APIStatusError"),
    *("APIResponseValidationError", "APITimeoutError", "APIConnectionError", "APIError"),
    *("LengthFinishReasonError", "ContentFilterFinishReasonError", "OpenAIError"),
)


def names(e: BaseException) -> list[str]:
    return [name for name in NAMES if isinstance(e, getattr(openai, name))]


async def attempt(client: AsyncOpenAI, **more: object) -> None:
    try:
        await client.chat.completions.create(**{**ASK, **more})
    except openai.APIConnectionError as e:
        print("The server could not be reached")
        # What it was in particular, and advice, may follow.
        print(e.message[:16], str(e) == e.message, e.body, e.code, e.param, e.type, names(e))
        print(isinstance(e.__cause__, Exception) or e.__cause__ is None, e.request.method, str(e.request.url))
    except openai.RateLimitError as e:
        print("A 429 status code was received; we should back off a bit.", e.type)
        print(e.response.headers.get("retry-after"))
    except openai.APIStatusError as e:
        print("Another non-200-range status code was received")
        print(e.status_code, e.response.status_code, e.response.json(), e.response.headers["content-type"])
        print(e.response.text, e.response.content)
        print(str(e).partition(" (")[0], str(e) == e.message, e.body, e.code, e.param, e.type, names(e))
        print(e.request_id, e.request.method, str(e.request.url), str(e.response.url))


async def main() -> None:
    await attempt(client)  # 429
    await attempt(client)  # 400, filtered
    await attempt(client)  # 403
    await attempt(client)  # 409
    await attempt(client)  # 422
    await attempt(client)  # 500
    await attempt(client)  # broken off
    await attempt(client, model="gpt-5.5")
    await attempt(client, temperature=0.123)
    await attempt(client, messages=[])
    await attempt(client.with_options(api_key="nonsense"))
    await attempt(client.with_options(base_url="http://127.0.0.1:1/v1"))

    stream = await client.chat.completions.create(**ASK, stream=True)
    try:
        async for _ in stream:
            pass
    except openai.APIError as e:
        print(names(e), e.message, e.body, e.type, e.code)
    stream = await client.chat.completions.create(**ASK, stream=True)
    try:
        async for _ in stream:
            pass
    except openai.APIConnectionError as e:
        print(names(e))

    print([issubclass(getattr(openai, name), Exception) for name in NAMES])

    for name in ("OPENAI_API_KEY", "MOONSHOT_API_KEY"):
        os.environ.pop(name, None)
    try:
        AsyncOpenAI()
    except openai.OpenAIError:
        print("no key")


asyncio.run(main())
