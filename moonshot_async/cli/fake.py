"""`moonshot fake serve`: the embedded service on a port, for other languages and curl."""

from typing import Any, Final

import click

from moonshot_async.cli.options import Amount, group, pass_state
from moonshot_async.cli.state import State

_TIERS: Final = 5
_EXAMPLES: Final = """\b
Examples:
  moonshot fake serve --port 8123 --tier 2
  curl http://127.0.0.1:8123/v1/models -H "Authorization: Bearer sk-any"
  MOONSHOT_API_KEY=sk-any moonshot models --base-url http://127.0.0.1:8123/v1
"""


@group()
def fake() -> None:
    """Serve the embedded service over HTTP."""


@fake.command(epilog=_EXAMPLES)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Any free one unless given.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--latency", type=Amount(), default=0.0, metavar="SECONDS", help="How long each answer takes to begin.")
@click.option("--chunk-latency", type=Amount(), default=0.0, metavar="SECONDS", help="How long each chunk takes.")
@click.option("--tier", type=click.IntRange(0, _TIERS), metavar="0-5", help="Have the limits of such an account.")
@click.option("--balance", type=Amount(), metavar="AMOUNT", help="What the account has; plenty unless given.")
@pass_state
def serve(state: State, /, port: int, host: str, balance: float | None, tier: int | None, **latencies: float) -> int:
    """Serve until Ctrl-C.

    Prints the base URL; any key that begins with "sk-" is good. Money is in USD, with --region cn in CNY.
    """
    from moonshot_async.catalog import CATALOG

    options: dict[str, Any] = {**latencies, "currency": "cny" if state.region == "cn" else "usd"}
    if tier is not None:
        options["limits"] = next(limits for limits in CATALOG.tiers if limits.tier == tier)
    if balance is not None:
        options["balance"] = str(balance)
    try:
        state.run(_serve(state, host, port, options), needs_key=False)
    except KeyboardInterrupt:
        state.output.note("")
    return 0


async def _serve(state: State, host: str, port: int, options: dict[str, Any]) -> None:
    import asyncio

    from moonshot_async.cli.endings import CommandError
    from moonshot_async.fake import FakeMoonshot

    service = FakeMoonshot(**options)
    server = service.serve(host, port)
    try:
        url = await server.start()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"Cannot listen on {host} port {port}: {reason}.") from None
    try:
        if state.json:
            state.output.line({"base_url": url})
        else:
            state.output.text(url)
            state.output.note("Any key that begins with sk- is good. Ctrl-C ends it.")
        await asyncio.get_running_loop().create_future()
    finally:
        await server.aclose()
        service.reset()
