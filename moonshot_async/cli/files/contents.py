"""What is in a file: to stdout or into another file, piece by piece, whatever its size."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moonshot_async.cli.new_files import NewFile
from moonshot_async.cli.state import State

if TYPE_CHECKING:
    from moonshot_async.raw_responses.open_bodies import APIResponse


async def print_content(state: State, file_id: str, path: Path | None, text: bool) -> None:
    """Print what is in a file, or write it.

    Args:
        state: has the client and the output.
        file_id: of the file.
        path: where to write it; None for stdout.
        text: whether it is a document, and only its text is wanted.
    """
    if text or (state.json and path is None):
        await _print_extracted(state, file_id, path, text)
        return
    async with (
        state.client(samples=True) as client,
        client.files.with_streaming_response.content(file_id) as response,
    ):
        if path is None:
            await _print(state, response)
            return
        with NewFile(path) as file:
            written = 0
            async for piece in response.iter_bytes():
                file.write(piece)
                written += len(piece)
    _tell(state, file_id, path, written)


async def _print_extracted(state: State, file_id: str, path: Path | None, text: bool) -> None:
    async with state.client(samples=True) as client:
        content = await client.files.content(file_id)
    said = content.extracted.content if text else content.text
    if path is None:
        if state.json:
            state.output.document({"id": file_id, "content": said})
        else:
            state.output.text(said, end="" if said.endswith("\n") else "\n")
        return
    data = said.encode("utf-8", "replace")
    with NewFile(path) as file:
        file.write(data)
    _tell(state, file_id, path, len(data))


async def _print(state: State, response: "APIResponse[Any]") -> None:
    if sys.stdout.isatty():
        # Pieces of text: of bytes a character may be in two.
        async for text in response.iter_text():
            state.output.text(text, end="")
    else:
        async for piece in response.iter_bytes():
            state.output.raw(piece)


def _tell(state: State, file_id: str, path: Path, written: int) -> None:
    if state.json:
        state.output.document({"id": file_id, "path": str(path), "bytes": written})
    else:
        state.output.note(f"{written:,} bytes written to {path}.")
