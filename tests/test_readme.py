"""What the README shows is run as it stands there, against the embedded service."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from moonshot_async import DEFAULT_TIMEOUT, AsyncMoonshot, Timeout, errors
from moonshot_async.chat_events import ChatStreamEvent, LogprobsEvent, LogprobsKind
from moonshot_async.fake import FakeMoonshot

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
PROGRAMS = [code for code in PYTHON if "asyncio.run(" in code]
TESTS = [code for code in PYTHON if "def test_" in code]
SNIPPETS = [code for code in PYTHON if code not in (*PROGRAMS, *TESTS)]


# An image of one pixel.
PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def test_every_block_says_its_language() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "sh"}
    assert README.count("```") == 2 * len(BLOCKS)
    assert PROGRAMS
    assert TESTS
    assert len(SNIPPETS) > 5


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def served(fake: FakeMoonshot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeMoonshot]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roof.png").write_bytes(PIXEL)
    (tmp_path / "notes.txt").write_text("Milk and honey.", encoding="utf-8")
    async with fake.serve() as url:
        monkeypatch.setenv("MOONSHOT_API_KEY", "sk-readme")
        monkeypatch.setenv("MOONSHOT_BASE_URL", url)
        yield fake


@pytest.mark.parametrize("code", PROGRAMS)
async def test_a_program_runs(code: str, served: FakeMoonshot) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    assert "sky blue" in out.decode()


@pytest.mark.parametrize("code", TESTS)
def test_a_test_passes(code: str, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(code, encoding="utf-8")
    plugin = ("-p", "moonshot_async.pytest_plugin", "-p", "no:moonshot_async")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "-o", "asyncio_mode=auto", "test_theirs.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{code.count('def test_')} passed" in ended.stdout, ended.stdout + ended.stderr


async def run_snippets(names: dict[str, Any], snippets: list[str]) -> None:
    try:
        for number, code in enumerate(snippets):
            compiled = compile(code, f"README.md, snippet {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.iscoroutine(waiting := eval(compiled, names)):
                await waiting
    finally:
        if "client" in names:
            await names["client"].aclose()


async def test_the_snippets_run_one_after_the_other(served: FakeMoonshot, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    await run_snippets(names, SNIPPETS)
    out = capsys.readouterr().out
    assert "kimi-k2.6 262144" in out
    assert "/v1/models 0." in out
    assert len(served.requests) >= 6
    assert names["completion"].choices[0].message.content == "Hello!"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ({"status": 429, "type": "exceeded_current_quota_error"}, "later: None (Attempt(1, 'QuotaExceededError 429'"),
        ({"status": 400, "message": "no"}, "400 invalid_request_error Error code: 400 - no fake-request-000001"),
        (None, "no answer: Connection error: "),
    ],
)
async def test_the_snippet_about_errors_tells_each_of_them(
    failure: dict[str, Any] | None, told: str, served: FakeMoonshot, capsys: pytest.CaptureFixture[str]
) -> None:
    if failure is None:
        served.disconnect(times=None)
    else:
        served.fail(**failure)
    setting = next(code for code in SNIPPETS if "client = AsyncMoonshot()" in code)
    handling = next(code for code in SNIPPETS if "except" in code)
    await run_snippets({}, [setting.replace("AsyncMoonshot()", "AsyncMoonshot(max_retries=0)"), handling])
    assert told in capsys.readouterr().out


def test_every_error_has_its_line() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MoonshotError)
    }
    table = README.partition("| class |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+Error)`", table.replace("`ValueError`", "").replace("`TimeoutError`", ""))) == (
        classes - {"MoonshotError"}
    )


def test_every_clock_has_its_line_with_its_default() -> None:
    table = README.partition("| clock |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", table, re.MULTILINE))
    defaults = {name: getattr(DEFAULT_TIMEOUT, name) for name in Timeout.__struct_fields__}
    assert rows == {name: "off" if value is None else f"{value:g} s" for name, value in defaults.items()}


def test_every_event_has_its_line() -> None:
    table = README.partition("| event |")[2].partition("\n\n")[0]
    shown = re.findall(r"`([a-z_.]*[a-z_]|….done)`", "\n".join(row.split("|")[1] for row in table.splitlines() if row))
    for place, name in enumerate(shown):
        if name.startswith("…"):
            shown[place] = shown[place - 1].rpartition(".")[0] + ".done"
    kinds = set(get_args(LogprobsKind))
    for event in get_args(ChatStreamEvent):
        if event is not LogprobsEvent:
            kinds.update(get_args((get_origin(event) or event).__annotations__["type"]))
    assert set(shown) == kinds


def test_every_make_target_that_is_named_exists() -> None:
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)
    assert {"demo", "test"} <= set(named) <= set(rules)


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        if target.startswith("#"):
            headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
            assert target[1:] in {heading.lower().replace(",", "").replace(" ", "-") for heading in headings}
        else:
            assert (ROOT / target).exists(), target


def test_every_setting_of_a_client_is_named() -> None:
    for name in inspect.signature(AsyncMoonshot).parameters:
        assert f"`{name}" in README, name
