"""`moonshot files`: what lies in the account."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from moonshot_async.cli.options import group, pass_state
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.types.files import FileObject

_PURPOSES: Final = ("file-extract", "image", "video", "batch")
_ALL_PURPOSES: Final = (*_PURPOSES, "batch_output")
_NAMES: Final = ", ".join(_ALL_PURPOSES)
_SUFFIXES: Final = {
    "image": {".png", ".jpeg", ".jpg", ".webp", ".gif"},
    "video": {".mp4", ".mpeg", ".mpg", ".mov", ".avi", ".flv", ".webm", ".wmv", ".3gp", ".3gpp"},
    "batch": {".jsonl"},
}


@group()
def files() -> None:
    """Upload, list, read and delete files."""


@files.command("list")
@click.option("--purpose", type=click.Choice(_ALL_PURPOSES), metavar="PURPOSE", help=f"Only those for it: {_NAMES}.")
@pass_state
def list_files(state: State, purpose: str | None) -> None:
    """List the files of the account."""
    found = state.run(_listed(state, purpose))
    if state.json:
        state.output.document({"files": [file.to_dict() for file in found]})
        return
    rows = [
        (file.id, file.purpose, file.status, f"{file.bytes:,}", day(file.created_at), file.filename) for file in found
    ]
    titles = ("ID", "PURPOSE", "STATUS", "BYTES", "CREATED", "NAME")
    state.output.table(titles, rows, right=("BYTES",), spare=("STATUS", "PURPOSE", "CREATED", "BYTES"))
    many = "1 file" if len(found) == 1 else f"{len(found):,} files"
    state.output.note(f"{many}, {sum(file.bytes for file in found):,} bytes.")


@files.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option(
    "--purpose",
    type=click.Choice(_PURPOSES),
    metavar="PURPOSE",
    help=f"What they are for: {', '.join(_PURPOSES)}; told by their names unless given.",
)
@pass_state
def upload(state: State, paths: tuple[str, ...], purpose: str | None) -> int:
    """Upload files, one after the other.

    Prints the id of each; with --json a line for each. What fails for one leaves the others alone.
    """
    from moonshot_async.cli.files.uploads import upload_all

    return state.run(upload_all(state, [(path, purpose or purpose_of(path)) for path in paths]))


@files.command()
@click.argument("file_id", metavar="ID")
@pass_state
def show(state: State, file_id: str) -> None:
    """Show what the service knows of a file."""
    file = state.run(_shown(state, file_id))
    if state.json:
        state.output.document(file.to_dict())
        return
    told = {**file.to_dict(), "bytes": f"{file.bytes:,}", "created_at": day(file.created_at)}
    for name, value in told.items():
        if value not in (None, "") and name != "object":
            state.output.text(f"{name + ':':<16}{value}")


@files.command()
@click.argument("file_id", metavar="ID")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, not to stdout.")
@click.option("--text", is_flag=True, help="Of a document only the text that was read in it.")
@pass_state
def content(state: State, file_id: str, output: Path | None, text: bool) -> None:
    """Print what is in a file, as the service gives it.

    For documents that is JSON with what was read in them; for batches their lines; not for images and videos.
    """
    from moonshot_async.cli.files.contents import print_content
    from moonshot_async.cli.new_files import target

    state.run(print_content(state, file_id, target(output), text))


@files.command()
@click.argument("file_ids", nargs=-1, required=True, metavar="ID...")
@pass_state
def delete(state: State, file_ids: tuple[str, ...]) -> int:
    """Delete files. With --json, prints a line for each."""
    from moonshot_async.cli.files.uploads import delete_all

    return state.run(delete_all(state, file_ids))


@files.command()
@click.option("--older-than", default="1d", show_default=True, metavar="AGE", help="Such as 90m, 12h, 7d.")
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    type=click.Choice(_ALL_PURPOSES),
    metavar="PURPOSE",
    help=f"Which files: {_NAMES}; file-extract unless given; may be repeated.",
)
@click.option("--keep", multiple=True, metavar="ID", help="Leave this one; may be repeated.")
@click.option("--max-files", type=click.IntRange(0), metavar="N", help="Delete only until there are so few files.")
@click.option("--max-bytes", type=click.IntRange(0), metavar="N", help="Delete only until they have so few bytes.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@pass_state
def janitor(state: State, /, older_than: str, purposes: tuple[str, ...], **options: Any) -> int:
    """Delete old files: an account may have 1,000.

    Files that a batch under way needs stay.
    """
    from moonshot_async.cli.files.uploads import clean
    from moonshot_async.cli.inputs import duration

    options["older_than"] = duration(older_than, "--older-than")
    if purposes:
        options["purposes"] = purposes
    return state.run(clean(state, options))


def purpose_of(path: str) -> str:
    """What a file is for, by its name."""
    suffix = Path(path).suffix.lower()
    return next((purpose for purpose, suffixes in _SUFFIXES.items() if suffix in suffixes), "file-extract")


def day(seconds: int) -> str | None:
    """A moment in Unix seconds, in UTC, to the minute; None where it is unknown."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}Z" if seconds else None


async def _listed(state: State, purpose: str | None) -> "list[FileObject]":
    async with state.client(samples=True) as client:
        # The service documents no such argument.
        return [file async for file in client.files.list() if purpose in (None, file.purpose)]


async def _shown(state: State, file_id: str) -> "FileObject":
    async with state.client(samples=True) as client:
        return await client.files.retrieve(file_id)
