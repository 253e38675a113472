"""A chat that remembers, is saved to a file, and goes on from it. Needs MOONSHOT_API_KEY."""

import asyncio
import tempfile
from pathlib import Path

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.conversation import Conversation


async def begin(file: Path) -> None:
    async with AsyncMoonshot() as client:
        conversation = Conversation(client, model="kimi-k2.6", system="You are a travel guide. Be brief.")
        # Pinned: it stays, however long the conversation becomes.
        print(await conversation.ask("My name is Ann, and I am planning a trip to Norway.", pin=True))
        print(await conversation.ask("What should I pack?"))
        await conversation.save(file)


async def go_on(file: Path) -> None:
    """Another day, another program: the file is all it takes."""
    async with AsyncMoonshot() as client:
        conversation = await Conversation.load(client, file)
        async with conversation.stream("And what is my name?") as stream:
            async for event in stream:
                if event.type == "content.delta":
                    print(event.delta, end="", flush=True)
    cost = f"{conversation.cost} {conversation.currency.upper()}"
    print(f"\n{conversation.turns} turns, about {conversation.tokens} tokens, {cost} so far")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chat.json"
        await begin(file)
        await go_on(file)


if __name__ == "__main__":
    asyncio.run(main())
