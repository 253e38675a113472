"""Every example of `docs/cli.md`, run as it stands there, with `--offline`; what it prints is compared."""

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import click
import pytest

from moonshot_async.cli import endings, signals
from moonshot_async.cli.app import moonshot
from tests.cli.command_line import ROOT, moonshot_ended, started
from tests.cli.test_app import leaves

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {
    "notes.txt": "Milk and honey.\n",
    "lease.txt": "The telescope stays.\n",
    "schema.json": '{"type":"object","minProperties":1,"properties":{"city":{"oneOf":[{"type":"string"}]}}}',
    "asks.jsonl": (
        '{"custom_id": "sum", "body": {"messages": [{"role": "user", "content": "What is 1 + 1?"}]}}\n'
        '{"messages": [{"role": "user", "content": "What is 2 + 2?"}]}\n'
    ),
}

ROOF = b"\x89PNG\r\n\x1a\n" + bytes(64)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, and what it is said to print."""
    for part in block.split("$ ")[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def matches(printed: str, told: str) -> bool:
    """Whether something was printed as the page tells it; … stands for anything, and at the end for all the rest."""
    pattern = ".*".join(map(re.escape, told.rstrip("\n").split("…")))
    return re.fullmatch(pattern, printed.rstrip("\n"), re.DOTALL) is not None


class Shell:
    """As much of a shell as the page needs: a pipe from cat, a file for stdout, the exit code."""

    def __init__(self) -> None:
        self.code = 0

    def run(self, line: str) -> str:
        """Run a command; gives what a terminal would show."""
        if line == "echo $?":
            return f"{self.code}\n"
        line, _, target = line.partition(" > ")
        *before, last = (shlex.split(part) for part in line.split(" | "))
        input = "".join(Path(path).read_text(encoding="utf-8") for _, path in before)
        if last[0] == "cat":
            return Path(last[1]).read_text(encoding="utf-8")
        ended = moonshot_ended("--offline", *last[1:], input=input)
        self.code = ended.code
        if target:
            Path(target).write_bytes(ended.bytes)
        return ended.err if target else ended.out + ended.err


@pytest.mark.parametrize("block", [block for block in BLOCKS if "fake serve" not in block])
def test_an_example_prints_what_the_page_says(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("roof.png").write_bytes(ROOF)
    shell = Shell()
    lines = list(commands(block))
    for (command, told), (following, _) in zip(lines, [*lines[1:], ("", "")], strict=True):
        printed = shell.run(command)
        assert matches(printed, told), f"{command}\n{printed}"
        assert shell.code == 0 or "echo $?" in (command, following), f"{command} ended with {shell.code}"


def test_the_served_example_answers_as_the_page_says() -> None:
    (block,) = (block for block in BLOCKS if "fake serve" in block)
    (serve, url), (curl, answer) = commands(block)
    process = started(*shlex.split(serve.replace("8123", "0"))[1:])
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        served = process.stdout.readline().decode().strip()
        port = served.rpartition(":")[2].removesuffix("/v1")
        told = process.stderr.readline().decode()
        assert matches(f"{served}\n{told}".replace(port, "8123"), url)
        program, address, option, header = shlex.split(curl)
        assert (program, option) == ("curl", "-H")
        request = Request(address.replace("8123", port), headers=dict([header.split(": ")]))
        with urlopen(request) as answered:
            assert matches(answered.read().decode(), answer)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"\n")
    assert process.returncode == 0


def test_the_page_tells_every_command_and_every_shared_option() -> None:
    for path in leaves(moonshot):
        assert f"moonshot {' '.join(path)}" in PAGE, path
    for parameter in moonshot.params:
        if isinstance(parameter, click.Option) and parameter.name != "version":
            assert f"`{parameter.opts[-1]}" in PAGE


def test_the_page_tells_every_exit_code() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    codes = {value for name, value in vars(endings).items() if name.isupper() and isinstance(value, int)}
    assert told == codes | {signals.TERMINATED, signals.HUNG_UP}
