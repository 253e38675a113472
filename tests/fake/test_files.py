import json
from collections.abc import Callable
from typing import Any

import pytest

from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.app import MAX_BODY_BYTES

KEY = {"Authorization": "Bearer sk-test"}
NEW = {"kimi-api-version": "2026-09-01-beta"}
NOW = 1794200000

Upload = Callable[..., Any]


@pytest.fixture
def upload(send: Any, fake: FakeMoonshot) -> Upload:
    """Upload a file and return the response, which may be a refusal."""

    async def upload(
        content: bytes = b"It rains.",
        purpose: str | None = "file-extract",
        filename: str | None = "rain.txt",
        *,
        field: str = "file",
        headers: dict[str, str] = {},  # noqa: B006  # never changed
        to: FakeMoonshot = fake,
    ) -> Any:
        parts = [] if purpose is None else [f'name="purpose"\r\n\r\n{purpose}'.encode()]
        named = "" if filename is None else f'; filename="{filename}"'
        parts.append(f'name="{field}"{named}\r\n\r\n'.encode() + content)
        body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--XX--\r\n"
        headers = KEY | {"Content-Type": "multipart/form-data; boundary=XX"} | headers
        return await send("POST", "/v1/files", headers=headers, body=body, to=to)

    return upload


@pytest.fixture
def get(send: Any, fake: FakeMoonshot) -> Callable[..., Any]:
    """Send a request without a body, and return status and decoded body."""

    async def get(path: str, method: str = "GET", *, headers: dict[str, str] = {}, to: FakeMoonshot = fake) -> Any:  # noqa: B006  # never changed
        response = await send(method, "/v1/files" + path, headers=KEY | headers, to=to)
        content = await response.read()
        return response.status, json.loads(content) if content else None

    return get


async def read(response: Any, status: int = 200) -> Any:
    content = await response.read()
    assert response.status == status, content
    return json.loads(content)


async def refusal(response: Any, status: int = 400, type: str = "invalid_request_error") -> str:
    error = (await read(response, status))["error"]
    assert error["type"] == type
    return str(error["message"])


async def test_a_file_is_kept_until_it_is_deleted(upload: Upload, get: Any) -> None:
    file = await read(await upload())

    assert file == {
        "id": "file-000000000001",
        "object": "file",
        "bytes": 9,
        "created_at": NOW,
        "filename": "rain.txt",
        "purpose": "file-extract",
        "status": "ok",
        "status_details": "",
    }
    assert await get("/" + file["id"]) == (200, file)
    assert await get("") == (200, {"object": "list", "data": [file], "has_more": False})
    assert await get("/" + file["id"], "DELETE") == (200, {"id": file["id"], "object": "file", "deleted": True})
    for path, method in (("", "GET"), ("", "DELETE"), ("/content", "GET")):
        status, answer = await get(f"/{file['id']}{path}", method)
        assert (status, answer["error"]["type"]) == (404, "resource_not_found_error")
        assert file["id"] in answer["error"]["message"]


async def test_the_content_of_a_document_is_its_text_in_json(upload: Upload, send: Any) -> None:
    file = await read(await upload(b"<title>Rain</title><p>It rains.</p>", filename="rain.html"))

    response = await send("GET", f"/v1/files/{file['id']}/content")

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert await read(response) == {
        "content": "It rains.\n",
        "file_type": "text/html",
        "filename": "rain.html",
        "title": "Rain",
        "type": "file",
    }


async def test_the_content_of_a_batch_file_is_the_file(upload: Upload, send: Any) -> None:
    file = await read(await upload(b"{}\r\n{}\n", "batch", "in.jsonl"))

    response = await send("GET", f"/v1/files/{file['id']}/content")

    assert await response.read() == b"{}\r\n{}\n"


@pytest.mark.parametrize(("purpose", "name"), [("image", "a.png"), ("video", "a.mp4")])
async def test_images_and_videos_have_no_content_to_read(upload: Upload, send: Any, purpose: str, name: str) -> None:
    file = await read(await upload(b"\x00", purpose, name))

    assert purpose in await refusal(await send("GET", f"/v1/files/{file['id']}/content"))


async def test_a_file_may_be_shown_to_the_model(upload: Upload, send: Any, refused: Any) -> None:
    image = await read(await upload(b"\x00", "image", "a.png"))
    text = await read(await upload())

    def asking(id: str) -> dict[str, Any]:
        parts = [{"type": "image_url", "image_url": {"url": f"ms://{id}"}}, {"type": "text", "text": "What is it?"}]
        return {"model": "kimi-k2.6", "messages": [{"role": "user", "content": parts}]}

    assert (await send(**asking(image["id"]))).status == 200
    for id in (text["id"], "file-9"):
        status, _, message = await refused(**asking(id))
        assert (status, id in message) == (400, True)


@pytest.mark.parametrize("purpose", ["assistants", "", "lambda", "batch_output", None])
async def test_an_unknown_purpose_is_refused(upload: Upload, purpose: str | None) -> None:
    assert await refusal(await upload(purpose=purpose)) == (
        f"Invalid purpose: {purpose or ''}, only file-extract, batch, batch_output, lambda, image and video accepted"
    )


@pytest.mark.parametrize(
    ("purpose", "name"),
    [
        ("file-extract", "a.png"),
        ("file-extract", "upload"),
        ("file-extract", "a.jsonl"),
        ("image", "a.svg"),
        ("video", "a.mkv"),
        ("batch", "a.json"),
    ],
)
async def test_a_format_that_the_purpose_does_not_take_is_refused(upload: Upload, purpose: str, name: str) -> None:
    message = await refusal(await upload(purpose=purpose, filename=name))

    assert message.startswith(f"Invalid request: the format of {name} is not supported for purpose {purpose}, only ")


@pytest.mark.parametrize(
    ("purpose", "names"),
    [
        ("file-extract", "a.pdf a.DOCX a.xlsx a.pptx a.epub a.mobi a.md a.csv a.log a.py a.tsx"),
        ("image", "a.png a.jpeg a.JPG a.webp a.gif"),
        ("video", "a.mp4 a.mpeg a.mpg a.mov a.avi a.x-flv a.flv a.webm a.wmv a.3gpp a.3gp"),
        ("batch", "a.jsonl"),
    ],
)
async def test_every_documented_format_is_taken(upload: Upload, purpose: str, names: str) -> None:
    for name in names.split():
        await read(await upload(purpose=purpose, filename=name))


@pytest.mark.parametrize(("filename", "field"), [(None, "file"), ("", "file"), ("a.txt", "upload")])
async def test_a_form_without_a_file_is_refused(upload: Upload, filename: str | None, field: str) -> None:
    assert "file is required" in await refusal(await upload(filename=filename, field=field))


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("application/json", "isn't multipart/form-data"),
        ("multipart/form-data", "no multipart boundary"),
        ("multipart/form-data; boundary=YY", "EOF"),
    ],
)
async def test_what_is_no_form_is_refused(upload: Upload, content_type: str, message: str) -> None:
    assert message in await refusal(await upload(headers={"Content-Type": content_type}))


async def test_sizes_and_numbers_are_limited(upload: Upload, get: Any) -> None:
    fake = FakeMoonshot(max_file_bytes=10, max_files=2, max_total_file_bytes=15)

    assert await refusal(await upload(b"")) == "File size is zero, please confirm and re-upload the file"
    assert (
        await refusal(await upload(b"x" * 11, to=fake))
        == "File size is too large, max file size is 10 bytes, please confirm and re-upload the file"
    )
    await read(await upload(b"x" * 10, to=fake))
    assert "exceeded the max total size 15 bytes" in await refusal(await upload(b"x" * 6, to=fake))
    await read(await upload(b"x" * 5, to=fake))
    assert await refusal(await upload(b"x", to=fake)) == (
        "The number of files you have uploaded exceeded the max file count 2, please delete previous uploaded files"
    )
    await get("/file-000000000001", "DELETE", to=fake)
    await read(await upload(b"x" * 10, to=fake))


async def test_the_documented_limits_hold_unless_others_are_given(upload: Upload) -> None:
    content = b"x" * (MAX_BODY_BYTES + 1)

    assert (
        await refusal(await upload(content))
        == "File size is too large, max file size is 100MB, please confirm and re-upload the file"
    )
    assert (await read(await upload(content[1:])))["bytes"] == MAX_BODY_BYTES


async def test_a_form_beyond_every_limit_is_a_413_and_a_400_in_the_new_version(upload: Upload) -> None:
    fake = FakeMoonshot(max_body_bytes=10)

    assert await refusal(await upload(b"x" * 70_000, to=fake), 413) == "Request exceeds the maximum size"
    assert "File size is too large" in await refusal(await upload(b"x" * 70_000, to=fake, headers=NEW))


async def test_the_list_is_newest_first_and_may_be_of_one_purpose(upload: Upload, get: Any) -> None:
    for purpose, name in (("file-extract", "a.txt"), ("image", "a.png"), ("file-extract", "b.txt")):
        await read(await upload(purpose=purpose, filename=name))

    _, everything = await get("?after=file-000000000003&limit=1&order=asc")
    _, some = await get("?purpose=file-extract")

    assert [file["filename"] for file in everything["data"]] == ["b.txt", "a.png", "a.txt"]
    assert [file["filename"] for file in some["data"]] == ["b.txt", "a.txt"]


async def test_a_file_may_take_a_while_to_be_processed(upload: Upload, send: Any, get: Any) -> None:
    fake = FakeMoonshot(processing_seconds=5, clock=lambda: 0.0)
    file = await read(await upload(to=fake))

    assert file["status"] == "created"
    assert "still being processed" in await refusal(await send("GET", f"/v1/files/{file['id']}/content", to=fake))
    assert (await get("/" + file["id"], headers=NEW, to=fake))[1]["extract_status"] == "created"
    fake.advance(5)
    assert (await get("/" + file["id"], to=fake))[1]["status"] == "ok"
    assert (await read(await send("GET", f"/v1/files/{file['id']}/content", to=fake)))["content"] == "It rains."


async def test_in_the_new_version_files_have_another_shape(upload: Upload, send: Any, get: Any) -> None:
    file = await read(await upload(purpose=None, headers=NEW), 201)

    assert file == {
        "id": "file-000000000001",
        "filename": "rain.txt",
        "mime_type": "text/plain",
        "size_bytes": 9,
        "created_at": "2026-11-09T04:53:20.900Z",
        "purpose": "file-extract",
        "extract_status": "ready",
    }
    assert await get("/" + file["id"], headers=NEW) == (200, file)
    content = await send("GET", f"/v1/files/{file['id']}/content", headers=KEY | NEW)
    assert content.headers["Content-Type"] == "application/json"
    assert (await read(content))["content"] == "It rains."
    assert await get("/" + file["id"], "DELETE", headers=NEW) == (204, None)
    assert "Invalid purpose: assistants" in await refusal(await upload(purpose="assistants", headers=NEW))


async def test_in_the_new_version_the_list_has_pages(upload: Upload, get: Any) -> None:
    for number in range(5):
        await read(await upload(filename=f"{number}.txt"))

    names, token = [], ""
    while token is not None:
        _, page = await get(f"?page_size=2{token and '&page_token=' + token}", headers=NEW)
        names.append([file["filename"] for file in page["items"]])
        token = page.get("next_page_token")

    assert names == [["4.txt", "3.txt"], ["2.txt", "1.txt"], ["0.txt"]]
    assert len((await get("", headers=NEW))[1]["items"]) == 5
    for query in ("page_size=0", "page_size=1001", "page_size=many", "page_token=odd"):
        status, answer = await get("?" + query, headers=NEW)
        assert (status, answer["error"]["type"]) == (400, "invalid_parameter_error")


async def test_the_type_is_what_the_client_says_or_the_name_tells(send: Any, get: Any) -> None:
    async def kind(filename: str, given: str | None) -> Any:
        head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        head += f"Content-Type: {given}\r\n" if given else ""
        body = f"--XX\r\n{head}\r\nx\r\n--XX--".encode()
        headers = KEY | NEW | {"Content-Type": "multipart/form-data; boundary=XX"}
        return (await read(await send("POST", "/v1/files", headers=headers, body=body), 201))["mime_type"]

    assert await kind("a.txt", "text/odd") == "text/odd"
    assert await kind("a.html", "application/octet-stream") == "text/html"
    assert await kind("a.html", None) == "text/html"
    assert await kind("a.tsx", None) == "application/octet-stream"


async def test_reset_deletes_all_files(fake: FakeMoonshot, upload: Upload, get: Any) -> None:
    await read(await upload())

    fake.reset()

    assert (await get(""))[1]["data"] == []


async def test_what_was_large_leaves_memory_and_disk_with_its_file(fake: FakeMoonshot, upload: Upload) -> None:
    file = await read(await upload(b"x" * 3_000_000))

    assert file["bytes"] == 3_000_000
    record = fake.last_request
    assert (len(record.body), record.body[:4]) == (65536, b"--XX")  # type: ignore[arg-type,index]  # bytes in records
    assert int(record.headers["Content-Length"]) > 3_000_000
