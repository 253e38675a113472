"""An agent that asks before it buys, and goes on from where it was left. Needs MOONSHOT_API_KEY."""

import asyncio
import json
import sys
from dataclasses import dataclass, field

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.functions import ToolContext, ToolRequest, run_tools, tool


@dataclass
class Shop:
    """What the tools work on. The model sees nothing of it but what they return."""

    basket: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)


@tool
async def put_into_basket(article: str, shop: ToolContext[Shop]) -> str:
    """Put an article into the basket."""
    shop.context.basket.append(article)
    return f"There are {len(shop.context.basket)} articles in the basket."


@tool(approve=True)
async def buy_everything(shop: ToolContext[Shop]) -> str:
    """Buy what is in the basket, and pay for it."""
    shop.context.bought += shop.context.basket
    shop.context.basket.clear()
    return "Bought."


def approve(request: ToolRequest) -> bool | str:
    """Ask a person. This runs in a thread of its own, so that it may wait."""
    if request.name != "buy_everything":
        return True
    if not sys.stdin.isatty():
        return "nobody is here to allow it"
    return input(f"Allow {request.name}({request.arguments})? [y/N] ").strip().lower() == "y"


async def main() -> None:
    shop = Shop()
    messages = [{"role": "user", "content": "Put Coffee and Bread into the basket, then buy everything in it."}]
    async with AsyncMoonshot() as client:
        # One step. What is saved could as well go into a file, to be gone on with next week.
        run = run_tools(
            client,
            model="kimi-k2.6",
            messages=messages,
            tools=[put_into_basket, buy_everything],
            context=shop,
            approve=approve,
            max_steps=1,
        )
        async for event in run:
            if event.type == "tool.finished":
                print(f"{event.name} -> {event.content}")
            elif event.type == "tool.failed":
                print(f"{event.name} failed: {event.reason}")
        saved = json.dumps(run.messages)

        # The rest of the way, with nothing but the saved messages.
        done = await run_tools(
            client,
            model="kimi-k2.6",
            messages=json.loads(saved),
            tools=[put_into_basket, buy_everything],
            context=shop,
            approve=approve,
            max_cost=0.50,
        )
    print(f"{done.text}\n\n{done.reason} after {done.steps} more steps, basket {shop.basket}, bought {shop.bought}")


if __name__ == "__main__":
    asyncio.run(main())
