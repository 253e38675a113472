"""What was typed before, in a file."""

import stat
from pathlib import Path

import pytest

from moonshot_async.cli.chat import history as chat_history
from moonshot_async.cli.chat.history import HistoryFile, state_directory


def entries(path: Path) -> list[str]:
    return list(HistoryFile(path).load_history_strings())


def test_entries_come_back_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "state" / "chat_history"
    assert entries(path) == []
    history = HistoryFile(path)
    for entry in ("one", "two\nlines\n", "你好 \ud83d"):
        history.append_string(entry)
    assert entries(path) == ["你好 ?", "two\nlines\n", "one"]
    assert history.get_strings() == ["one", "two\nlines\n", "你好 \ud83d"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "chat_history"
    HistoryFile(path).append_string("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    HistoryFile(path).append_string("two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("typed", [" a secret", "the key is sk-abcdefghijklmnopqrstuvwx"])
def test_what_is_not_to_be_kept_is_not(tmp_path: Path, typed: str) -> None:
    path = tmp_path / "chat_history"
    HistoryFile(path).append_string(typed)
    assert not path.exists()


def test_a_place_that_cannot_be_written_costs_nothing_but_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = HistoryFile(tmp_path / "file" / "chat_history")
    history.append_string("one")
    assert history.get_strings() == ["one"]


def test_a_long_history_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat_history"
    for number in range(50):
        HistoryFile(path).append_string(f"entry {number}")
    monkeypatch.setattr(chat_history, "_MOST_BYTES", 200)
    kept = entries(path)
    assert kept[0] == "entry 49"
    assert 2 < len(kept) < 12
    assert path.stat().st_size == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("environ", "platform", "end"),
    [
        ({"XDG_STATE_HOME": "/x/state"}, "linux", "/x/state/moonshot"),
        ({"XDG_STATE_HOME": "state"}, "linux", "/home/me/.local/state/moonshot"),
        ({}, "linux", "/home/me/.local/state/moonshot"),
        ({}, "darwin", "/home/me/Library/Application Support/moonshot"),
        ({"LOCALAPPDATA": "/x/local"}, "win32", "/x/local/moonshot"),
        ({}, "win32", "/home/me/AppData/Local/moonshot"),
    ],
)
def test_each_platform_has_its_place(
    environ: dict[str, str], platform: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert state_directory(environ, platform) == Path(end)
