"""The fixtures that the package brings for other people's tests, used as they use them: in a pytest of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Where the package is installed the plugin is loaded by its entry point: blocked here, so that it is loaded just once.
PLUGIN = ("-p", "moonshot_async.pytest_plugin", "-p", "no:moonshot_async")

ASYNC_TESTS = """
import pytest
from moonshot_async import APIConnectionError, InternalServerError

ASK = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
closed = []

MARK
async def test_the_client_asks_the_fake(moonshot_client, moonshot_fake):
    moonshot_fake.reply("Hello!")
    completion = await moonshot_client.chat.completions.create(**ASK)
    assert completion.choices[0].message.content == "Hello!"
    assert len(moonshot_fake.requests) == 1
    moonshot_fake.fail(500, times=None)
    with pytest.raises(InternalServerError):
        await moonshot_client.with_options(max_retries=0).chat.completions.create(**ASK)
    closed.append(moonshot_client)

MARK
async def test_the_next_test_has_another_fake_and_the_client_of_the_last_one_is_closed(moonshot_client, moonshot_fake):
    assert moonshot_fake.requests == []
    assert await moonshot_client.models.list()
    assert closed[0].is_closed() and not moonshot_client.is_closed()
    with pytest.raises(APIConnectionError, match="closed"):
        await closed[0].models.list()
"""

SYNC_TESTS = """
import asyncio
import sys

def test_a_synchronous_test_may_use_the_client(moonshot_client, moonshot_fake):
    moonshot_fake.reply("Hello!")
    ask = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Canary prompt: hi"}]}
    completion = asyncio.run(moonshot_client.chat.completions.create(**ask))
    assert completion.choices[0].message.content == "Hello!"
    assert "pytest_asyncio" not in sys.modules
"""

IMPORT_TEST = """
import sys

def test_nothing_heavy_was_imported():
    heavy = {"aiohttp", "tenacity", "msgspec", "moonshot_async.client", "moonshot_async.fake"}
    assert not heavy & set(sys.modules)
"""


def run(folder: Path, tests: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run `tests` in a pytest of its own, without any settings of ours."""
    (folder / "test_theirs.py").write_text(tests)
    # pytest warns of a setting that no plugin knows, and pytest-asyncio warns where its own is missing.
    scope = "" if "no:asyncio" in options else "asyncio_default_fixture_loop_scope = function\n"
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{scope}")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MOONSHOT"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PLUGIN, *options, "test_theirs.py"],
        cwd=folder,
        env=variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def passed(ended: "subprocess.CompletedProcess[str]", count: int) -> None:
    # An error at the teardown of a test that passed is counted beside it.
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{count} passed" in ended.stdout
    assert "error" not in ended.stdout


@pytest.mark.parametrize(
    ("mode", "mark"),
    [("auto", ""), ("strict", "@pytest.mark.asyncio"), ("strict", "@pytest.mark.asyncio(loop_scope='module')")],
)
def test_the_fixtures_work_in_every_mode_of_pytest_asyncio(mode: str, mark: str, tmp_path: Path) -> None:
    ended = run(tmp_path, ASYNC_TESTS.replace("MARK", mark), f"--asyncio-mode={mode}")
    passed(ended, 2)


def test_the_fixtures_work_under_anyio(tmp_path: Path) -> None:
    backend = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    tests = ASYNC_TESTS.replace("MARK", "@pytest.mark.anyio") + backend
    ended = run(tmp_path, tests, "--asyncio-mode=strict")
    passed(ended, 2)


def test_the_fixtures_work_without_any_plugin_for_asyncio(tmp_path: Path) -> None:
    ended = run(tmp_path, SYNC_TESTS, "-p", "no:asyncio", "-p", "no:anyio")
    passed(ended, 1)


def test_a_pytest_that_does_not_use_the_fixtures_imports_nothing_for_them(tmp_path: Path) -> None:
    ended = run(tmp_path, IMPORT_TEST)
    passed(ended, 1)


def test_pytest_lists_the_fixtures_with_what_they_are(tmp_path: Path) -> None:
    ended = run(tmp_path, SYNC_TESTS, "--fixtures")
    assert "moonshot_fake -- " in ended.stdout
    assert "A client whose requests go to `moonshot_fake`" in ended.stdout


def test_the_package_names_the_plugin_to_pytest() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"moonshot_async": "moonshot_async.pytest_plugin"}
