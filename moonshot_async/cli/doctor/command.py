"""`moonshot doctor`: what is wrong on the way to an answer, and what to do about it."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.cli.options import command, pass_state
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.cli.doctor.findings import Finding

_TIMEOUT: Final = 5.0
# Sent nowhere: the header that would hold it is taken away.
_NO_KEY: Final = "sk-none"
_MARKS: Final = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skip": ("·", "dim")}


@command()
@pass_state
def doctor(state: State) -> int:
    """Find out why calls fail, and what to do.

    Looks at key, name server, proxy, connection, certificate, region, clock, limits, latency and balance. Nothing of it
    costs anything. Where the key is refused by one of Moonshot's regions, the other one is asked with it, too.

    Exit codes: 0 where nothing failed, 1 where something did.
    """
    from moonshot_async.cli.endings import DONE, FAILED

    findings = state.run(_findings(state), needs_key=False)
    _tell(state, findings)
    return FAILED if any(finding.status == "fail" for finding in findings) else DONE


async def _findings(state: State) -> "list[Finding]":
    from urllib.parse import urlsplit

    from moonshot_async.cli.doctor.checks import place_of
    from moonshot_async.cli.doctor.plan import examine, key_in
    from moonshot_async.settings import chosen_url

    url = chosen_url(state.url, None)
    key = key_in(host=urlsplit(url).hostname or "", offline=state.offline)
    timeout = state.timeout or _TIMEOUT
    options: dict[str, Any] = {"max_retries": 0, "timeout": timeout}
    if state.offline:
        async with state.client(**options) as client:
            return await examine(client, None, key=key)
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.transports.aiohttp import AiohttpTransport

    options["transport"] = AiohttpTransport(trust_env=True)
    if key.status == "fail":
        options |= {"api_key": _NO_KEY, "default_headers": {"Authorization": None}}
    async with AsyncMoonshot(base_url=url, **options) as client:
        return await examine(client, place_of(url), key=key, timeout=timeout)


def _tell(state: State, findings: "list[Finding]") -> None:
    from moonshot_async.cli.doctor.findings import worst

    if state.json:
        told = [msgspec.structs.asdict(finding) for finding in findings]
        state.output.document({"status": worst(findings), "checks": told})
        return
    from rich.table import Table
    from rich.text import Text

    from moonshot_async.cli.chat.visible import visible

    console = state.output.console()
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        mark, style = _MARKS[finding.status]
        words = Text(visible(finding.found))
        if finding.advice:
            words.append(f"\n→ {visible(finding.advice)}", "bold" if finding.status == "fail" else "")
        table.add_row(Text(mark, style), Text(finding.check), words)
    with console.capture() as capture:
        console.print(table)
    print(*(line.rstrip() for line in capture.get().rstrip().split("\n")), sep="\n", flush=True)
