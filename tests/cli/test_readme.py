"""The commands that the README shows, run with `--offline`."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.command_line import ROOT, moonshot_ended
from tests.cli.test_page import FILES, ROOF

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^moonshot (.+)$", README, re.MULTILINE)


def test_each_command_does_what_it_is_shown_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("asks.jsonl").write_text(FILES["asks.jsonl"], encoding="utf-8")
    Path("roof.png").write_bytes(ROOF)
    assert len(COMMANDS) > 3
    for command in COMMANDS:
        ended = moonshot_ended("--offline", *shlex.split(command))
        assert ended.code == 0, f"{command}\n{ended.err}"
        assert ended.out + ended.err, command
    assert len(Path("answers.jsonl").read_text(encoding="utf-8").splitlines()) == 2
