"""Images and videos in what somebody types: `What is this? @roof.png`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.cli.chat.files import expanded
from moonshot_async.cli.endings import WRONG_USAGE, CommandError
from moonshot_async.threads import in_daemon_thread
from moonshot_async.toolkit.media.types import IMAGE_TYPES, VIDEO_TYPES, media_type_of

if TYPE_CHECKING:
    from moonshot_async.toolkit.media import Uploads

# At the beginning or behind white space: addresses of mail are none.
_MARKED: Final = re.compile(r"(?<!\S)@(?:(@\S*)|\"([^\"\n]+)\"|(\S+))")
_MEDIA: Final = frozenset(IMAGE_TYPES) | frozenset(VIDEO_TYPES)
_HEAD: Final = 4096
_ENDS: Final = ".,;:!?)]}'\""


class Typed(msgspec.Struct):
    """What was typed, and the files that it names."""

    text: str
    paths: list[Path]


async def content_of(typed: str, paths: list[Path], uploads: "Uploads", *, rest: str = "") -> Any:
    """The content of a message.

    Args:
        typed: what somebody typed, `@path` for each image or video in it.
        paths: more of them.
        uploads: makes parts of files.
        rest: text behind it that nobody typed, in which nothing is looked for.

    Raises:
        CommandError: a file is missing, or neither an image nor a video.
        ConfigurationError, APIError: as for `Uploads.part`.
    """
    found = await in_daemon_thread(attachments, typed)
    for path in paths:
        await in_daemon_thread(_check, path)
    text = "\n\n".join(filter(None, [found.text.strip(), rest]))
    parts = [await uploads.part(path) for path in [*paths, *found.paths]]
    if not parts:
        return text
    return [*parts, {"type": "text", "text": text}] if text else parts


def attachments(typed: str) -> Typed:
    """Find the files. `@@` stands for an @ that names none, and what names no file is left as it is.

    Raises:
        CommandError: something is called as an image or a video is, but is not there; or is a file of another kind.
    """
    paths: list[Path] = []

    def replaced(found: re.Match[str]) -> str:
        escaped, quoted, word = found.groups()
        if escaped is not None:
            return str(escaped)
        path, after = _path(quoted) if quoted is not None else _path(word, ends=_ENDS)
        if path is None:
            return found[0]
        _check(path)
        paths.append(path)
        return path.name + after

    return Typed(_MARKED.sub(replaced, typed), paths)


def _path(word: str, ends: str = "") -> tuple[Path | None, str]:
    """The file that a word names, and what of the word stands behind its name."""
    bare = word.rstrip(ends) if ends else word
    for name in (word, bare):
        if name and expanded(name).is_file():
            return expanded(name), word[len(name) :]
    path = expanded(bare)
    if path.suffix.lower().removeprefix(".") in _MEDIA:
        return path, word[len(bare) :]
    return None, ""


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}. (@@ stands for an @ that names no file.)", WRONG_USAGE) from None
    if media_type_of(head, path.name) is None:
        raise CommandError(
            f"{path} is neither an image nor a video. Text goes in by stdin: `cat FILE | moonshot chat QUESTION`; @@ "
            "stands for an @ that names no file.",
            WRONG_USAGE,
        )
