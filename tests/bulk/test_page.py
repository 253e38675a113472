"""What `docs/bulk.md` shows is run as it stands there, and the example it names, against the embedded service."""

import ast
import asyncio
import inspect
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import RateLimits
from moonshot_async.bulk import BulkResult, Journal, Progress
from moonshot_async.bulk.batches import groups
from moonshot_async.catalog import BATCH_PRICE_FACTOR, CATALOG
from moonshot_async.fake import FakeMoonshot
from tests.cli.test_page import Shell, commands, matches

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "bulk.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [
    '{"custom_id": "sum", "body": {"messages": [{"role": "user", "content": "What is 1 + 1?"}]}}\n',
    '{"messages": [{"role": "user", "content": "What is 2 + 2?"}]}\n',
]


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[str]:
    monkeypatch.chdir(tmp_path)
    async with FakeMoonshot().serve() as url:
        monkeypatch.setenv("MOONSHOT_API_KEY", "sk-page")
        monkeypatch.setenv("MOONSHOT_BASE_URL", url)
        yield url


def test_every_block_says_its_language() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "console"}
    assert PAGE.count("```") == 2 * len(BLOCKS)
    assert len(PAGE.splitlines()) < 250


@pytest.mark.usefixtures("no_leaks", "url")
async def test_the_snippets_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    try:
        for number, (_, code) in enumerate(block for block in BLOCKS if block[0] == "python"):
            compiled = compile(code, f"docs/bulk.md, snippet {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.iscoroutine(waiting := eval(compiled, names)):
                await waiting
    finally:
        await names["client"].aclose()
    out = capsys.readouterr().out
    assert "20 are done, for 0." in out
    assert "\n5 e stop\n" in out
    assert "20 0 0 0." in out
    assert "20 requests: 20 done, 0 failed" in out
    assert f"{names['live']:.2f} USD live, {names['batch']:.2f} USD in batches\n" in out
    with Journal("pages.db", response_format=names["Record"]) as read:
        assert all(isinstance(result.parsed, names["Record"]) for result in read.results())


def test_the_numbers_of_the_page_are_those_of_the_catalog() -> None:
    usage = {"prompt_tokens": 3000, "completion_tokens": 300}
    prices = [
        f"{10_000 * CATALOG.cost(usage, 'kimi-k2.6', currency=currency, batch=batch):.2f}"
        for currency in ("usd", "cny")
        for batch in (False, True)
    ]
    assert "That is {} USD live and {} USD in batches ({} and {} CNY).".format(*prices) in PAGE
    assert f"{CATALOG.models['kimi-k2.6'].default_output_tokens:,}" in PAGE
    (tier,) = (tier for tier in CATALOG.tiers if tier.tier == 2)
    assert f"may make {tier.rpm} requests a minute,\nso live takes {10_000 // tier.rpm} minutes" in PAGE
    assert f"| price | 100 % | {BATCH_PRICE_FACTOR * 100:.0f} % |" in PAGE
    assert f"{groups._MOST_LINES:,} lines" in PAGE
    assert RateLimits.tier(2)


def test_the_page_tells_all_that_a_result_and_the_progress_have() -> None:
    fields = {name for name in BulkResult.__struct_fields__ if not name.startswith("_")}
    properties = {name for name, value in vars(BulkResult).items() if isinstance(value, property)}
    table = PAGE.partition("## Results")[2].partition("## The journal")[0]
    told = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line[:1] == "|")))
    assert told >= (fields | properties) - {"request_id"}
    for name in Progress.__struct_fields__:
        assert f"`{name}`" in PAGE or name in ("put_back", "known", "currency", "elapsed"), name


def test_the_commands_print_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("requests.jsonl").write_text("".join(LINES), encoding="utf-8")
    shell = Shell()
    for language, block in BLOCKS:
        for command, told in commands(block) if language == "console" else ():
            printed = shell.run(command)
            assert (matches(printed, told), shell.code) == (True, 0), f"{command}\n{printed}"
    assert Path("records.jsonl").read_text(encoding="utf-8").count("\n") == 2


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


async def test_the_example_runs_by_itself_and_goes_on_with_its_journal(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}

    async def run(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(ROOT / "examples" / "bulk.py"), str(tmp_path / "p.db"), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        )
        out, err = await process.communicate()
        assert (process.returncode, err.decode()) == (0, "")
        return out.decode()

    first, second = await run("20"), await run("30")
    assert "the embedded fake answers" in first
    assert "20 requests: 20 done, 0 failed" in first
    assert "20 done, 0 failed, 0/s" in second
    assert "30 requests: 30 done, 0 failed" in second
