"""A chat without an end: what becomes too long is summed up, and two ways go on from it. Needs MOONSHOT_API_KEY."""

import asyncio
from typing import Any

from moonshot_async import AsyncMoonshot
from moonshot_async.toolkit.conversation import Conversation, DropOldest
from moonshot_async.toolkit.model_choice import choose_model

PLACES = ["Oslo", "Bergen", "Trondheim", "Stavanger", "Tromsø", "Bodø"]


async def main() -> None:
    async with AsyncMoonshot() as client:

        async def summarise(messages: list[dict[str, Any]]) -> str:
            """Gets the messages that are about to be dropped; what it returns is put in their place."""
            said = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
            question = f"Sum up in three sentences:\n{said}"
            summary = await client.chat.completions.create(
                model="kimi-k2.6", thinking={"type": "disabled"}, messages=[{"role": "user", "content": question}]
            )
            return f"What was said before: {summary.choices[0].message.content}"

        conversation = Conversation(
            client,
            model="kimi-k2.6",
            system="You are a travel guide.",
            thinking={"type": "disabled"},
            # As if the window were this small, for the example; without it the model's own is used.
            max_context_tokens=700,
            max_completion_tokens=300,
            trim=DropOldest(to=0.5),
            summarise=summarise,
        )
        for place in PLACES:
            await conversation.ask(f"We have seen {place}. What is to be remembered of it?")
            print(f"{place}: {conversation.tokens} tokens, {conversation.dropped_turns} turns were summed up")

        # A fork has the same history, and goes on by itself.
        for style in ("a poem", "a list"):
            fork = conversation.fork()
            print(await fork.ask(f"Tell all of it in {style}."))

    # Which model to ask: the smallest window that is large enough, then the lowest price.
    for tokens in (100_000, 500_000):
        print(f"{tokens} tokens fit into {choose_model(None, tokens).id}")


if __name__ == "__main__":
    asyncio.run(main())
