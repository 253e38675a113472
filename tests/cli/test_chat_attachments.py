"""Images and videos that are named in what somebody types."""

from pathlib import Path
from typing import Any

import pytest

from moonshot_async.cli.chat.attachments import attachments, content_of
from moonshot_async.cli.endings import CommandError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.media import Uploads
from tests.toolkit.conversations import client_for
from tests.toolkit.file_world import PNG


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with some files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("roof.png", "two words.png", "picture"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("words")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text", "names"),
    [
        ("What is @roof.png?", "What is roof.png?", ["roof.png"]),
        ("@roof.png", "roof.png", ["roof.png"]),
        ("(@roof.png)", "(@roof.png)", []),
        ("see @./roof.png, @~/roof.png.", "see roof.png, roof.png.", ["roof.png", "~/roof.png"]),
        ('@"two words.png" and @picture', "two words.png and picture", ["two words.png", "picture"]),
        ("mail me@roof.png", "mail me@roof.png", []),
        ("@@roof.png @someone @ @nobody~", "@roof.png @someone @ @nobody~", []),
        ("@~no-such-user/x", "@~no-such-user/x", []),
    ],
)
def test_files_are_found(here: Path, typed: str, text: str, names: list[str]) -> None:
    found = attachments(typed)
    assert found.text == text
    assert found.paths == [Path(name).expanduser() for name in names]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("@missing.png", "missing.png: No such file"),
        ("look: @missing.JPG!", "missing.JPG: No such file"),
        ("@notes.txt", "notes.txt is neither an image nor a video.*stdin"),
    ],
)
def test_files_that_cannot_be_shown_are_refused(here: Path, typed: str, words: str) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        attachments(typed)
    assert caught.value.exit_code == 2


async def test_parts_stand_before_the_text(here: Path) -> None:
    async with client_for(FakeMoonshot()) as client, Uploads(client) as uploads:
        parts = await content_of("What is @roof.png", [here / "picture"], uploads, rest="not @roof.png")
        assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
        assert parts[-1]["text"] == "What is roof.png\n\nnot @roof.png"
        alone: Any = await content_of(" ", [here / "picture"], uploads)
        assert [part["type"] for part in alone] == ["image_url"]
        assert await content_of("plain ", [], uploads) == "plain"
        with pytest.raises(CommandError, match=r"nothing\.png: No such file"):
            await content_of("", [here / "nothing.png"], uploads)


async def test_large_ones_are_uploaded(here: Path) -> None:
    fake = FakeMoonshot()
    async with client_for(fake) as client, Uploads(client, inline_up_to=10) as uploads:
        parts = await content_of("@roof.png", [], uploads)
        assert parts[0]["image_url"]["url"].startswith("ms://")
    assert [request.method for request in fake.requests][-1] == "DELETE"
