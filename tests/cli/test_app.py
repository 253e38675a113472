"""The commands as a whole: help, options of every command, and that each works offline and speaks JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moonshot_async import __version__
from moonshot_async.cli.app import COMMANDS, moonshot
from tests.cli.command_line import environment, moonshot_ended, offline, started

HEAVY = {"aiohttp", "anyio", "asyncio", "prompt_toolkit", "rich", "tenacity", "moonshot_async.client"}


def leaves(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """The names of all commands that do something."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, *path, name)
    else:
        yield path


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    for name, (_, words) in COMMANDS.items():
        command = moonshot.get_command(click.Context(moonshot), name)
        assert command is not None
        assert command.get_short_help_str(200) == words
        assert command.name == name


def test_help_costs_little_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from moonshot_async.cli import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n    main()\n"
        "finally:\n    import time\n    print(time.process_time(), *sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    seconds, *modules = ended.stderr.split()
    assert "Usage: moonshot" in ended.stdout
    assert not HEAVY & set(modules)
    assert float(seconds) < 0.25


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(arguments: tuple[str, ...]) -> None:
    ended = moonshot_ended(*arguments)
    told = ended.out + ended.err
    assert all(f"  {name} " in told and words.split(":")[0] in told for name, (_, words) in COMMANDS.items())


def test_help_of_every_command_lists_the_shared_options_apart() -> None:
    for path in (*leaves(moonshot), ("files",)):
        ended = moonshot_ended(*path, "--help")
        assert ended.code == 0, path
        own, _, shared = ended.out.partition("Options of every command:")
        assert "--offline" in shared, path
        assert "--offline" not in own, path


def test_the_version_is_told() -> None:
    assert moonshot_ended("--version").out == f"moonshot {__version__}\n"


REQUESTS = '{"messages":[{"role":"user","content":"What is 1 + 1?"}]}\n'
SCHEMA = '{"type":"object","properties":{"city":{"type":"string"}},"additionalProperties":false}'
# Each command, with what it needs; and what it reads on stdin.
WORKING: dict[tuple[str, ...], tuple[tuple[str, ...], str | None]] = {
    ("chat",): (("What is 1 + 1?",), None),
    ("models",): ((), None),
    ("balance",): ((), None),
    ("tokens",): ((), "How many?"),
    ("files", "list"): ((), None),
    ("files", "show"): (("file-000000000001",), None),
    ("files", "content"): (("file-000000000001",), None),
    ("files", "upload"): (("notes.txt",), None),
    ("files", "delete"): (("file-000000000001",), None),
    ("files", "janitor"): ((), None),
    ("extract",): (("notes.txt",), None),
    ("batch", "run"): (("-", "--model", "kimi-k2.6"), REQUESTS),
    ("batch", "results"): (("batch-000000000001",), None),
    ("batch", "status"): (("batch-000000000001",), None),
    ("batch", "list"): ((), None),
    ("batch", "cancel"): (("batch-000000000002",), None),
    ("schema", "lint"): ((), SCHEMA),
    ("schema", "normalise"): ((), SCHEMA),
    ("doctor",): ((), None),
    ("completion",): (("fish",), None),
}
# They have no end, or need a journal: tested elsewhere.
OTHERS = {("fake", "serve"), ("bulk", "run"), ("bulk", "resume"), ("bulk", "results"), ("bulk", "report")}
STREAMS = {("files", "upload"), ("files", "delete"), ("extract",), ("batch", "run"), ("batch", "results")}


def test_every_command_is_tried_offline() -> None:
    assert set(leaves(moonshot)) == {*WORKING, *OTHERS}


@pytest.mark.parametrize("path", WORKING, ids=" ".join)
def test_a_command_works_offline_and_speaks_json(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("Milk and honey.\n", encoding="utf-8")
    arguments, input = WORKING[path]
    text = offline(*path, *arguments, input=input)
    assert (text.code, bool(text.out)) == (0, path != ("schema", "lint")), text.err
    assert "\x1b" not in text.out + text.err
    told = offline("--json", *path, *arguments, input=input)
    assert told.code == 0
    assert told.lines if path in STREAMS else isinstance(told.json, dict)


WRONG: dict[str, str] = {
    "modls": "There is no command 'modls'. Did you mean 'models'?",
    "xyzzy": "There is no command 'xyzzy'.",
    "-- --nope": "No such option",
    "models --nope": "No such option",
    "models extra": "Got unexpected extra argument (extra)",
    "files show": "Missing argument 'ID'",
    "files upload": "Missing argument 'PATH...'",
    "files janitor --older-than soon": "--older-than takes a number and a unit",
    "files janitor --older-than 1e999d": "--older-than takes a number and a unit",
    "files list --purpose none": "Invalid value for '--purpose'",
    "fake serve --port 99999": "Invalid value for '--port'",
    "balance --region mars": "Invalid value for '--region'",
    "balance --timeout 0": "Invalid value for '--timeout'",
    "balance --timeout nan": "Invalid value for '--timeout'",
    "fake serve --latency inf": "Invalid value for '--latency'",
    "fake serve --balance much": "Invalid value for '--balance'",
    "tokens --file nope.txt": "'nope.txt' cannot be read: No such file or directory",
    "schema lint nope.json": "'nope.json' cannot be read: No such file or directory",
    "tokens caf\udce9": "The text is not in UTF-8",
    "batch run nope.jsonl --offline": "'nope.jsonl' cannot be read: No such file or directory",
    "batch run asks.jsonl -o nowhere/out --offline": "there is no such directory",
    "files content file-1 -o . --offline": "is a directory",
    "balance --base-url nonsense": "--base-url must be an http(s) URL",
    "balance --region cn --base-url http://localhost/v1": "give one",
    "balance": "No API key: set the environment variable MOONSHOT_API_KEY.",
    "tokens one --file two": "Give a text or a file, not both.",
    "batch list --limit 0": "Invalid value for '--limit'",
    "completion tcsh": "Invalid value for",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_ends_with_2_and_a_sentence(line: str) -> None:
    ended = moonshot_ended(*line.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("moonshot: ")
    assert ended.err.count("\n") == 1
    assert WRONG[line] in ended.err
    told = moonshot_ended(*line.split(), "--json")
    assert (told.code, told.out) == (2, "")
    assert WRONG[line] in json.loads(told.err)["error"]["message"]


def test_options_count_before_a_command_and_behind_it() -> None:
    assert moonshot_ended("--offline", "--json", "--region", "intl", "balance").json["currency"] == "usd"
    assert (
        moonshot_ended("--offline", "--region", "intl", "balance", "--region", "cn", "--json").json["currency"] == "cny"
    )
    assert moonshot_ended("files", "--json", "list", "--offline").json["files"]


def test_a_name_of_a_command_can_be_completed_without_loading_any() -> None:
    process = started(env={"_MOONSHOT_COMPLETE": "fish_complete", "COMP_WORDS": "moonshot ba", "COMP_CWORD": "ba"})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    names = [line.split(b",")[-1].split(b"\t")[0] for line in out.splitlines() if line]
    assert [name for name in (b"balance", b"batch") if name in out] == [b"balance", b"batch"], names
    assert b"models" not in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("moonshot files up", "upload"),
        ("moonshot --off", "--offline"),
        ("moonshot files list --purp", "--purpose"),
        ("moonshot files upload no", "file,no"),
        ("moonshot extract no", "file,no"),
        ("moonshot bulk run as", "file,as"),
        ("moonshot batch run as", "file,as"),
        ("moonshot schema lint sc", "file,sc"),
    ],
)
def test_commands_of_groups_and_options_are_completed(words: str, found: str) -> None:
    last = words.rpartition(" ")[2]
    ended = moonshot_ended(_MOONSHOT_COMPLETE="fish_complete", COMP_WORDS=words, COMP_CWORD=last)
    assert found in ended.out


def test_a_command_that_does_not_exist_completes_to_nothing() -> None:
    ended = moonshot_ended(_MOONSHOT_COMPLETE="fish_complete", COMP_WORDS="moonshot nope x", COMP_CWORD="x")
    assert (ended.code, ended.out.strip(), ended.err) == (0, "", "")


@pytest.mark.parametrize("path", [(), *leaves(moonshot), ("files",), ("bulk",)], ids=" ".join)
def test_help_is_whole_and_fits_a_terminal(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = moonshot_ended(*path, "--help")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "..." not in ended.out.split("\n", 1)[1]
    assert "RANGE" not in ended.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_printed_for_each_shell(shell: str) -> None:
    ended = moonshot_ended("completion", shell)
    assert ended.code == 0
    assert "_MOONSHOT_COMPLETE" in ended.out
    assert moonshot_ended("completion", shell, "--json").json == {
        "shell": shell,
        "script": ended.out.removesuffix("\n"),
    }


def test_a_group_alone_is_wrong_usage_and_says_what_there_is() -> None:
    ended = moonshot_ended("files")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: moonshot files ")
    assert json.loads(moonshot_ended("files", "--json").err)["error"]["exit_code"] == 2
