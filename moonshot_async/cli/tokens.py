"""`moonshot tokens`: how many tokens a text is, and what it costs as a prompt."""

from typing import Any

import click

from moonshot_async.cli.options import command, model_option, pass_state
from moonshot_async.cli.output import plain
from moonshot_async.cli.state import State


@command()
@click.argument("text", required=False)
@click.option("-f", "--file", type=click.Path(), metavar="PATH", help="Count what is in a file; - for stdin.")
@model_option
@pass_state
def tokens(state: State, text: str | None, file: str | None, model: str) -> None:
    """Count the tokens of a text as a model would.

    TEXT is the text itself; without it and without --file, stdin is read.
    """
    from moonshot_async.cli.inputs import STDIN, argument_text, read_text

    if text is not None and file is not None:
        raise click.UsageError("Give a text or a file, not both.")
    text = read_text(file or STDIN) if text is None else argument_text(text)
    if not text.strip():
        raise click.UsageError("There is nothing to count: the text is empty.")
    counted = state.run(_counted(state, text, model))
    if state.json:
        state.output.document(counted)
    else:
        state.output.text(_sentence(counted))


async def _counted(state: State, text: str, model: str) -> dict[str, Any]:
    from moonshot_async.catalog import currency_of

    async with state.client() as client:
        messages = [{"role": "user", "content": text}]
        total = (await client.tokenizers.estimate_token_count(model=model, messages=messages)).total_tokens
        currency = currency_of(client.base_url)
        known, price = client.catalog.get(model), client.catalog.price(model, currency)
    return {
        "model": model,
        "tokens": total,
        "context_window": known.context_window if known else None,
        "cost": plain(price.cost(prompt_tokens=total, completion_tokens=0)) if price else None,
        "currency": currency if price else None,
    }


def _sentence(counted: dict[str, Any]) -> str:
    text = f"{counted['tokens']:,} tokens for {counted['model']}"
    if window := counted["context_window"]:
        text += f", {counted['tokens'] / window:.1%} of its window"
    if counted["cost"] is not None:
        text += f", {counted['cost']:f} {counted['currency'].upper()} as a prompt"
    return text
