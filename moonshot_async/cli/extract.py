"""`moonshot extract`: the text of documents, as the service reads it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moonshot_async.cli.options import command, pass_state
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.toolkit.documents import Document, DocumentProgress


@command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option(
    "--parallel", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="How many at a time."
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep texts in this directory: a file that was read before is not uploaded again.",
)
@pass_state
def extract(state: State, paths: tuple[str, ...], parallel: int, cache: Path | None) -> int:
    """Read the text of documents.

    PDF, Office documents, pictures with text and many more. Each is uploaded, read, and deleted again. Several texts
    have a heading each, `==> PATH <==`; with --json there is a line for each, in the order given. What fails for one
    leaves the others alone.
    """
    return state.run(_extracted(state, paths, parallel, cache))


async def _extracted(state: State, paths: tuple[str, ...], parallel: int, cache: Path | None) -> int:
    from moonshot_async.cli.progress import Bar
    from moonshot_async.toolkit.documents import Documents

    kept: dict[str, Any] = {"cache": cache}
    printer = _Printer(state, paths)
    with Bar(state.output, "reading", total=len(paths)) as bar:

        def told(progress: "DocumentProgress") -> None:
            bar.update(progress.done, progress.total)
            with bar.aside():
                printer.add(progress.document)

        async with state.client() as client, Documents(client, parallel=parallel, **kept) as documents:
            await documents.extract_many([Path(path) for path in paths], progress=told)
    return printer.code


class _Printer:
    """Prints documents in the order in which they were given, each as soon as all before it are there."""

    def __init__(self, state: State, paths: tuple[str, ...]) -> None:
        from moonshot_async.cli.files.uploads import Many

        self._state = state
        self._paths = paths
        self._many = Many(state)
        self._waiting: dict[str, list[Document]] = {}
        self._next = 0

    @property
    def code(self) -> int:
        """The exit code."""
        return self._many.code

    def add(self, document: "Document") -> None:
        """Take a document, and print what can be."""
        self._waiting.setdefault(document.file, []).append(document)
        while self._next < len(self._paths) and (found := self._waiting.get(str(Path(self._paths[self._next])))):
            self._print(self._paths[self._next], found.pop())
            self._next += 1

    def _print(self, path: str, document: "Document") -> None:
        if document.error is not None:
            self._many.failed(document.error, path=path)
            return
        told = {"path": path, "title": document.title, "file_type": document.file_type, "text": document.text}
        heading = f"==> {path} <==\n" if len(self._paths) > 1 else ""
        self._many.done(told, heading + document.text.rstrip("\n"))
