"""`files` and `extract`."""

import os
import stat
from pathlib import Path

import pytest

from moonshot_async.cli.extract import _Printer
from moonshot_async.cli.new_files import NewFile
from moonshot_async.cli.state import State
from moonshot_async.toolkit.documents import Document
from tests.cli.command_line import Service, offline

LEASE = "file-000000000001"
BATCH = "file-000000000002"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with some documents, to be in."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"a.txt": "Milk.", "b.txt": "Honey.\n", "asks.jsonl": '{"custom_id":"1"}\n'}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_files_are_listed() -> None:
    ended = offline("files", "list")
    head, *rows = ended.out.splitlines()
    assert head.split() == ["ID", "PURPOSE", "STATUS", "BYTES", "CREATED", "NAME"]
    assert [row.split()[1] for row in rows] == ["batch", "batch", "batch", "file-extract"]
    assert ended.err.startswith("4 files, ")
    only = offline("files", "list", "--purpose", "file-extract", "--json").json
    assert [file["filename"] for file in only["files"]] == ["lease.txt"]


def test_a_file_is_shown() -> None:
    lines = dict(line.split(":", 1) for line in offline("files", "show", LEASE).out.splitlines())
    assert (lines["id"].strip(), lines["bytes"].strip()) == (LEASE, "63")
    assert lines["created_at"].strip().endswith("Z")
    assert offline("files", "show", LEASE, "--json").json["filename"] == "lease.txt"


def test_files_are_uploaded_for_what_their_names_say(service: Service, here: Path) -> None:
    (here / "pixel.PNG").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    ended = service.asked("files", "upload", "a.txt", "asks.jsonl", "pixel.PNG")
    assert (ended.code, [line.split()[1] for line in ended.out.splitlines()]) == (
        0,
        ["a.txt", "asks.jsonl", "pixel.PNG"],
    )
    found = {file["filename"]: file["purpose"] for file in service.asked("files", "list", "--json").json["files"]}
    assert found == {"a.txt": "file-extract", "asks.jsonl": "batch", "pixel.PNG": "image"}
    assert service.asked("files", "upload", "a.txt", "--purpose", "file-extract").code == 0


def test_a_file_that_cannot_be_uploaded_leaves_the_others_alone(here: Path) -> None:
    ended = offline("files", "upload", "a.txt", "nope.txt", "b.txt")
    assert (ended.code, len(ended.out.splitlines())) == (3, 2)
    assert ended.err == "moonshot: nope.txt: file 'nope.txt' cannot be uploaded: there is no such file.\n"
    lines = offline("files", "upload", "a.txt", "nope.txt", "--json").lines
    assert (lines[0]["filename"], lines[1]["path"]) == ("a.txt", "nope.txt")
    assert lines[1]["error"]["type"] == "ConfigurationError"
    assert offline("files", "upload", "nope.txt").code == 2


def test_a_file_that_is_named_twice_is_uploaded_twice(here: Path) -> None:
    assert len(offline("files", "upload", "a.txt", "a.txt", "--json").lines) == 2


def test_what_would_fail_for_all_is_told_once(service: Service, here: Path) -> None:
    service.fake.fail(401, path="/files", times=None)
    ended = service.asked("files", "upload", "a.txt", "b.txt")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("moonshot: Error code: 401")


def test_content_comes_as_the_service_gives_it(here: Path) -> None:
    assert offline("files", "content", LEASE).out.startswith('{"content":"The lease')
    assert offline("files", "content", LEASE, "--text").out.startswith("The lease of the observatory ends in May.")
    assert len(offline("files", "content", BATCH).out.splitlines()) == 2
    told = offline("files", "content", LEASE, "--json", "--text").json
    assert (told["id"], told["content"].endswith("stays.\n")) == (LEASE, True)


def test_content_is_written_to_a_file(here: Path) -> None:
    ended = offline("files", "content", BATCH, "-o", "out.jsonl")
    assert (ended.out, ended.err) == ("", "312 bytes written to out.jsonl.\n")
    assert (here / "out.jsonl").read_text(encoding="utf-8") == offline("files", "content", BATCH).out
    told = offline("files", "content", LEASE, "--text", "-o", "lease.txt", "--json").json
    assert told == {"id": LEASE, "path": "lease.txt", "bytes": 63}
    assert (here / "lease.txt").read_text(encoding="utf-8").endswith("stays.\n")


def test_a_text_ends_its_line(service: Service, here: Path) -> None:
    file_id = service.asked("files", "upload", "a.txt", "--json").lines[0]["id"]
    assert service.asked("files", "content", file_id, "--text").out == "Milk.\n"


def test_content_that_does_not_come_leaves_the_file_as_it_was(here: Path) -> None:
    assert offline("files", "content", "file-nope", "-o", "a.txt").code == 1
    assert (here / "a.txt").read_text(encoding="utf-8") == "Milk."
    assert sorted(path.name for path in here.iterdir()) == ["a.txt", "asks.jsonl", "b.txt"]


def test_files_are_deleted() -> None:
    ended = offline("files", "delete", LEASE, "file-nope", BATCH)
    assert (ended.code, ended.out) == (3, f"{LEASE}  deleted\n{BATCH}  deleted\n")
    assert ended.err.startswith("moonshot: file-nope: Error code: 404")
    lines = offline("files", "delete", LEASE, "file-nope", "--json").lines
    assert lines[0] == {"id": LEASE, "deleted": True}
    assert lines[1]["error"]["status"] == 404


def test_the_janitor_says_what_it_did(service: Service, here: Path) -> None:
    service.asked("files", "upload", "a.txt", "b.txt")
    service.fake.advance(7200)
    assert service.asked("files", "janitor").out.startswith("deleted 0 files")
    dry = service.asked("files", "janitor", "--older-than", "0s", "--dry-run").out.splitlines()
    assert (len(dry), dry[-1].startswith("would delete 2 files of 12 bytes;")) == (3, True)
    told = service.asked("files", "janitor", "--older-than", "1d", "--purpose", "batch", "--keep", "x", "--json").json
    assert told["deleted"] == []
    assert (told["kept"], told["dry_run"]) == (2, False)


def test_the_janitor_deletes_and_tells_what_it_could_not(service: Service, here: Path) -> None:
    ids = [line["id"] for line in service.asked("files", "upload", "a.txt", "b.txt", "--json").lines]
    service.fake.fail(403, path=f"/files/{ids[0]}", method="DELETE", times=2)
    ended = service.asked("files", "janitor", "--older-than", "0s")
    assert ended.code == 3
    assert f"{ids[1]}  b.txt" in ended.out
    assert ended.err.startswith(f"moonshot: {ids[0]}: Error code: 403")
    told = service.asked("files", "janitor", "--older-than", "0s", "--json")
    assert told.code == 3
    assert told.json["failures"][0]["id"] == ids[0]


def test_a_text_is_extracted(here: Path) -> None:
    assert offline("extract", "a.txt").out == "Milk.\n"
    assert offline("extract", "b.txt", "a.txt").out == "==> b.txt <==\nHoney.\n==> a.txt <==\nMilk.\n"
    (told,) = offline("extract", "./a.txt", "--json").lines
    assert told == {"path": "./a.txt", "title": "", "file_type": "text/plain", "text": "Milk."}


def test_documents_that_cannot_be_read_leave_the_others_alone(here: Path) -> None:
    ended = offline("extract", "nope.txt", "a.txt", "a.txt")
    assert (ended.code, ended.out) == (3, "==> a.txt <==\nMilk.\n==> a.txt <==\nMilk.\n")
    assert ended.err.startswith("moonshot: nope.txt: ")
    lines = offline("extract", "nope.txt", "a.txt", "--json").lines
    assert [sorted(line) for line in lines] == [["error", "path"], ["file_type", "path", "text", "title"]]
    assert offline("extract", "nope.txt").code == 2


def test_a_text_that_is_kept_is_not_uploaded_again(service: Service, here: Path) -> None:
    for _ in range(2):
        assert service.asked("extract", "a.txt", "--cache", "texts", "--parallel", "2").out == "Milk.\n"
    assert [request.method for request in service.fake.requests].count("POST") == 1


def test_texts_come_in_the_order_given_however_they_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    printer = _Printer(State(), ("./a.txt", "b.txt", "./a.txt"))
    for name in ("b.txt", "a.txt", "a.txt"):
        printer.add(Document(name, name, text=f"This is {name}."))
    assert [line for line in capsys.readouterr().out.splitlines() if "==>" in line] == [
        "==> ./a.txt <==",
        "==> b.txt <==",
        "==> ./a.txt <==",
    ]


def test_a_file_that_does_not_become_whole_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_bytes(b"one")
    with pytest.raises(KeyboardInterrupt), NewFile(path) as file:
        file.write(b"two")
        raise KeyboardInterrupt
    assert (path.read_bytes(), len(list(tmp_path.iterdir()))) == (b"one", 1)


def test_a_new_file_has_the_rights_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    with NewFile(path) as file:
        file.write(b"one")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    with NewFile(link) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == (b"two", 0o640, True)


def test_what_is_no_ordinary_file_is_written_to_as_it_is() -> None:
    with NewFile(Path(os.devnull)) as file:
        file.write(b"nothing")
    assert not Path(os.devnull).is_file()


def test_a_file_whose_disk_is_full_stays_as_it_was() -> None:
    with pytest.raises(OSError, match="No space left"), NewFile(Path("/dev/full")) as file:
        file.write(b"nothing")
