"""Files that go to the account and out of it, many at a call: what fails for one leaves the others alone."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.cli.endings import DONE, SOME_FAILED, described, exit_code_of, sentence
from moonshot_async.cli.progress import Bar
from moonshot_async.cli.state import State
from moonshot_async.errors import AuthenticationError, MoonshotError, PermissionDeniedError, QuotaExceededError

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.types.files import FileObject

# What fails for one of these reasons fails for every other one, too.
_FATAL: Final = (AuthenticationError, PermissionDeniedError, QuotaExceededError)


async def upload_all(state: State, purposes: Iterable[tuple[str, str]]) -> int:
    """Upload files, given as their paths and purposes; tells the exit code."""
    many = Many(state)
    async with state.client() as client:
        for path, purpose in purposes:
            try:
                file = await _uploaded(state, client, path, purpose)
            except (MoonshotError, OSError) as error:
                many.failed(error, path=path)
            else:
                many.done({"path": path, **file.to_dict()}, f"{file.id}  {path}")
    return many.code


async def delete_all(state: State, file_ids: Iterable[str]) -> int:
    """Delete files; tells the exit code."""
    many = Many(state)
    async with state.client(samples=True) as client:
        for file_id in file_ids:
            try:
                deleted = await client.files.delete(file_id)
            except MoonshotError as error:
                many.failed(error, id=file_id)
            else:
                many.done({"id": file_id, "deleted": deleted.deleted}, f"{file_id}  deleted")
    return many.code


async def clean(state: State, options: dict[str, Any]) -> int:
    """Delete old files, and say how full the account is; tells the exit code."""
    from moonshot_async.toolkit.documents import janitor

    async with state.client(samples=True) as client:
        report = await janitor(client, **options)
    if state.json:
        state.output.document(
            {
                "deleted": [file.to_dict() for file in report.deleted],
                "failures": [{"id": failed.file.id, "error": described(failed.error)} for failed in report.failures],
                "spared": [file.id for file in report.spared],
                **{name: getattr(report, name) for name in ("kept", "kept_bytes", "max_files", "max_bytes", "dry_run")},
            }
        )
    else:
        for file in report.deleted:
            state.output.text(f"{file.id}  {file.filename}")
        for failed in report.failures:
            state.output.note(f"moonshot: {failed.file.id}: {sentence(failed.error)}")
        state.output.text(f"{report}.")
    return SOME_FAILED if report.failures else DONE


class Many:
    """The results of a command that does the same to many things."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._done = 0
        self._codes: list[int] = []

    @property
    def code(self) -> int:
        """The exit code."""
        if self._codes and not self._done:
            return min(self._codes)
        return SOME_FAILED if self._codes else DONE

    def done(self, told: Mapping[str, Any], text: str) -> None:
        """Print what became of one."""
        self._done += 1
        if self._state.json:
            self._state.output.line(told)
        else:
            self._state.output.text(text)

    def failed(self, error: Exception, **which: str) -> None:
        """Tell that one failed, and why.

        Raises:
            MoonshotError: the same error, where the others would fail like it.
        """
        if isinstance(error, _FATAL):
            raise error
        self._codes.append(exit_code_of(error))
        if self._state.json:
            self._state.output.line({**which, "error": described(error)})
        else:
            (name,) = which.values()
            self._state.output.note(self._state.hidden(f"moonshot: {name}: {sentence(error)}"))


async def _uploaded(state: State, client: "AsyncMoonshot", path: str, purpose: str) -> "FileObject":
    with Bar(state.output, path, unit="bytes") as bar:
        return await client.files.create(file=Path(path), purpose=purpose, progress=bar.update)
