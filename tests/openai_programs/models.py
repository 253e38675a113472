# ruff: noqa: T201  # what it prints is what is compared
"""The models, listed in three ways and looked up."""

import asyncio

from openai import AsyncOpenAI, NotFoundError

client = AsyncOpenAI()


async def main() -> None:
    page = await client.models.list()
    print(page.object, [model.id for model in page.data])
    print([model.id async for model in client.models.list()])
    async for model in page:
        print(model.id, model.object, model.created, model.owned_by, model.context_length)
        print(model.to_dict())
    print(page.has_next_page(), page.next_page_info())
    model = await client.models.retrieve("kimi-k2.6")
    print(model.id, model.context_length, model.supports_reasoning, model.model_dump(exclude_none=True))
    try:
        await client.models.retrieve("gpt-5.5")
    except NotFoundError as error:
        print(error.status_code)


asyncio.run(main())
