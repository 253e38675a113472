"""Parts of messages that choose by themselves between the request and an upload, and what they cost."""

import asyncio
import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from moonshot_async.errors import APITimeoutError, BadRequestError, ConfigurationError, DocumentError, UploadError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit import media
from moonshot_async.wire import Request
from tests.toolkit.file_world import MP4, PNG, Hold, World, turn, what

pytestmark = pytest.mark.usefixtures("no_leaks")

GIF = b"GIF89a" + bytes(100)


@pytest.fixture
def world() -> World:
    return World()


def inline_of(part: Any) -> tuple[str, bytes]:
    kind = part["type"]
    head, _, data = part[kind]["url"].partition(",")
    assert head.startswith("data:")
    return kind, base64.b64decode(data)


def sources(directory: Path, data: bytes, name: str) -> list[Any]:
    path = directory / name
    path.write_bytes(data)
    stream = io.BytesIO(b"skip" + data)
    stream.seek(4)
    return [path, data, bytearray(data), memoryview(b"".join(bytes([b, 0]) for b in data))[::2], (name, data), stream]


@pytest.mark.parametrize(("data", "kind"), [(PNG, "image_url"), (MP4, "video_url"), (GIF, "image_url")])
@pytest.mark.parametrize("with_client", [False, True])
async def test_what_is_small_goes_into_the_request(
    data: bytes, kind: str, with_client: bool, world: World, tmp_path: Path
) -> None:
    async with world.client() as client:
        for source in sources(tmp_path, data, "file.bin"):
            part = await media.part(source, client=client if with_client else None)
            assert inline_of(part) == (kind, data)
            assert media.file_id(part) is None
    assert not world.asked


@pytest.mark.parametrize(("data", "kind", "name"), [(PNG, "image", "file.png"), (MP4, "video", "file.mp4")])
async def test_what_is_large_is_uploaded_once_and_deleted(
    data: bytes, kind: str, name: str, world: World, tmp_path: Path
) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=100) as uploads:
        parts = [await uploads.part(source) for source in sources(tmp_path, data, "file.bin")]
        ids = {media.file_id(part) for part in parts}
        assert ids == set(uploads.file_ids)
        assert len(ids) == 1
        assert {part["type"] for part in parts} == {f"{kind}_url"}
        # The service goes by the end of the name.
        assert await world.files() == [name]
        completion = await client.chat.completions.create(
            model="kimi-k2.6", messages=[{"role": "user", "content": [*parts, media.text("What?")]}]
        )
        assert completion.choices[0].message.content
        assert repr(uploads) == "<Uploads of AsyncMoonshot(base_url='http://world.test/v1'): 1 files>"
    assert await world.files() == []
    assert (world.uploads, uploads.leftovers) == (1, ())


async def test_parts_made_at_the_same_time_share_an_upload(world: World) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=0) as uploads:
        hold = world.before = Hold("upload")
        making = [asyncio.create_task(uploads.part(PNG)) for _ in range(4)]
        await hold.reached.wait()
        making[0].cancel()
        hold.go.set()
        made = await asyncio.gather(*making, return_exceptions=True)
        assert isinstance(made[0], asyncio.CancelledError)
        assert len({media.file_id(part) for part in made[1:]}) == 1  # type: ignore[arg-type]
    assert world.uploads == 1


async def test_a_part_of_its_own_stays_until_it_is_deleted(world: World) -> None:
    async with world.client() as client:
        part = await media.part(("roof.PNG", PNG), client=client, inline_up_to=1)
        assert await world.files() == ["roof.PNG"]
        id = media.file_id(part)
        assert id is not None
        await client.files.delete(id)
    assert await world.files() == []


async def test_a_part_can_be_deleted_before_the_end(world: World) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=1) as uploads:
        first, second = await uploads.part(PNG), await uploads.part(GIF)
        await uploads.delete(first)
        assert uploads.file_ids == (media.file_id(second),)
        await uploads.delete(await media.part(PNG))
        assert len(await world.files()) == 1
        assert media.file_id(await uploads.part(PNG)) != media.file_id(first)


async def test_uploads_may_be_kept(world: World) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=1, keep=True) as uploads:
        await uploads.part(PNG)
    assert len(await world.files()) == 1


async def test_the_type_that_comes_with_a_file_counts_where_its_content_tells_nothing(world: World) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=10) as uploads:
        part: Any = await uploads.part(("scan", b"odd bytes", "image/png"))
        assert part["image_url"]["url"].startswith("data:image/png;base64,")
        assert (await uploads.part(("clip", b"more odd bytes", "video/mp4")))["type"] == "video_url"
        assert await world.files() == ["clip.mp4"]
        part = await uploads.part(("roof", GIF[:8], "image/png"))
        assert part["image_url"]["url"].startswith("data:image/gif;base64,")
        with pytest.raises(ConfigurationError, match="takes no text/plain"):
            await uploads.part(("notes", b"odd bytes", "text/plain"))


def test_the_file_of_a_part_is_told_in_each_form_that_the_api_takes() -> None:
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": "ms://file-1"}},
        {"type": "video_url", "video_url": "ms://file-2"},
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
        media.text("ms://file-3"),
    ]
    assert [media.file_id(part) for part in parts] == ["file-1", "file-2", None, None]


async def test_a_file_that_is_read_by_coroutines_is_read(world: World, tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    path.write_bytes(PNG)
    async with world.client() as client, await anyio.open_file(path, "rb") as file:
        source: Any = file
        part = await media.part(source, client=client, inline_up_to=10)
        assert media.file_id(part)
    assert await world.files() == ["roof.png"]


async def test_references_are_told_apart(world: World) -> None:
    async with world.client() as client, media.Uploads(client) as uploads:
        image = await client.files.create(file=("a.png", PNG), purpose="image")
        video = await client.files.create(file=("b.mp4", MP4), purpose="video")
        text = await client.files.create(file=("c.txt", b"x"), purpose="file-extract")
        for source in (image, image.id, f"ms://{image.id}", SimpleNamespace(id=image.id)):
            assert await uploads.part(source) == {"type": "image_url", "image_url": {"url": f"ms://{image.id}"}}
        for source in (video, video.id):
            assert await uploads.part(source) == {"type": "video_url", "video_url": {"url": f"ms://{video.id}"}}
        looked = world.asked["look"]
        assert (await uploads.part(video.id, kind="video"))["type"] == "video_url"
        assert (await media.part(video))["type"] == "video_url"
        assert (await media.part(video.id, kind="video"))["type"] == "video_url"
        assert world.asked["look"] == looked
        for source in (text, text.id):
            with pytest.raises(ConfigurationError, match="uploaded for 'file-extract'"):
                await uploads.part(source)
        for kind in ("image", "video"):
            url = f"data:{kind}/{'png' if kind == 'image' else 'mp4'};base64,eA=="
            assert (await media.part(url))["type"] == f"{kind}_url"
        url = "https://host.test/roof.png"
        assert await media.part(url, kind="image", pass_url=True) == {"type": "image_url", "image_url": {"url": url}}
        # They were not uploaded here.
        assert uploads.file_ids == ()


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        (b"", {}, "empty"),
        (b"what is this", {}, "neither an image nor a video"),
        (("a.svg", b"<svg/>"), {}, "image/svg"),
        (PNG, {"kind": "video"}, "not of the kind 'video'"),
        (PNG, {"kind": "sound"}, "not of the kind 'sound'"),
        (PNG, {"media_type": "audio/mp3"}, "not an image"),
        (Path("missing.png"), {}, "no such file"),
        ("roof.png", {}, r"Path\(…\)"),
        ("https://host.test/roof.png", {}, "fetches no"),
        ("https://host.test/roof.png", {"pass_url": True}, "say kind='image'"),
        ("file-1", {}, "give client="),
        ("file-1", {"kind": "sound"}, "kind must be"),
        (PNG, {"inline_up_to": -1}, "inline_up_to"),
        (PNG, {"inline_up_to": True}, "inline_up_to"),
    ],
)
async def test_what_is_no_image_and_no_video_is_refused(source: Any, options: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        await media.part(source, **options)


async def test_settings_that_cannot_be_are_refused(world: World) -> None:
    async with world.client() as client:
        for options in ({"inline_up_to": 1.5}, {"poll_interval": 0}):
            with pytest.raises(ConfigurationError, match=next(iter(options))):
                media.Uploads(client, **options)  # type: ignore[arg-type]


async def test_a_type_may_be_named(world: World) -> None:
    async with world.client() as client, media.Uploads(client, inline_up_to=1) as uploads:
        assert (await uploads.part(b"odd", media_type="video/mp4"))["type"] == "video_url"
        assert await world.files() == ["upload.mp4"]
        assert (await uploads.part(b"odd!", media_type="image/x-odd"))["type"] == "image_url"
        assert await world.files() == ["upload.png", "upload.mp4"]


@pytest.mark.parametrize("own", [False, True])
async def test_a_picture_that_is_cancelled_at_any_turn_leaves_nothing(own: bool) -> None:
    for count in range(200):
        world = World()
        async with world.client() as client:
            async with media.Uploads(client, inline_up_to=1) as uploads:
                making = media.part(PNG, client=client, inline_up_to=1) if own else uploads.part(PNG)
                call = asyncio.create_task(making)  # type: ignore[arg-type]
                for _ in range(count):
                    await asyncio.sleep(0)
                if ended := not call.cancel():
                    break
                with pytest.raises(asyncio.CancelledError):
                    await call
                # One that was done is there for the next part, until the end.
                assert len(await world.files()) == len(uploads.file_ids)
            assert await world.files() == []
            assert uploads.leftovers == ()
    assert ended
    assert count > 5


async def test_a_picture_that_the_service_refuses_leaves_nothing(world: World) -> None:
    world.fake.fail(400, path="/files", method="POST")
    body = {"id": "file-1", "status": "error"}
    async with world.client() as client, media.Uploads(client, inline_up_to=1) as uploads:
        with pytest.raises(BadRequestError):
            await uploads.part(PNG)
        world.fake.fail(200, body=body, path="/files", method="POST")
        with pytest.raises(DocumentError, match="does not say why"):
            await uploads.part(PNG)
    assert world.asked["delete"] == 1


async def test_a_video_that_is_processed_is_waited_for() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1
        return now

    world = World(FakeMoonshot(processing_seconds=5, clock=clock))
    async with world.client() as client, media.Uploads(client, inline_up_to=1, poll_interval=0.001) as uploads:
        await uploads.part(MP4)
        assert world.asked["look"] >= 1


async def test_a_picture_that_changes_is_not_taken_for_the_other(world: World, tmp_path: Path) -> None:
    path = tmp_path / "roof.png"
    path.write_bytes(PNG)

    async def change(request: Request) -> None:
        if what(request) == "upload":
            raise AssertionError("the upload ends before it is all out")

    world.before = change

    class Swapped(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.reads += bool(size) and len(data) > 1
            return data if self.reads < 3 else data[:-1] + b"?"

    async with world.client() as client, media.Uploads(client, inline_up_to=1) as uploads:
        with pytest.raises(UploadError):
            await uploads.part(("roof.png", Swapped(PNG)))


async def test_everything_ends_in_time(world: World) -> None:
    world.before = Hold("upload")
    async with world.client() as client, media.Uploads(client, inline_up_to=1) as uploads:
        with pytest.raises(APITimeoutError), client.deadline(0.05):
            await uploads.part(PNG)
        world.before = turn


def test_the_module_has_what_it_says_and_nothing_else() -> None:
    assert set(media.__all__) <= set(dir(media))
    assert all(getattr(media, name) is not None for name in media.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'sound'"):
        _ = media.sound  # type: ignore[attr-defined]


# --- Tokens


async def test_tokens_are_estimated_before_they_are_sent(world: World) -> None:
    async with world.client() as client:
        part = await media.part(PNG)
        message = {"role": "user", "content": [part, media.text("What?")]}
        counts = [
            await media.estimate_tokens(client, content, model="kimi-k2.6")
            for content in ([part, media.text("What?")], message, [message], (item for item in [message]))
        ]
        assert len(set(counts)) == 1
        assert counts[0] > 20
        assert await media.estimate_tokens(client, part, model="kimi-k2.6") < counts[0]
        assert 0 < await media.estimate_tokens(client, "What?", model="kimi-k2.6") < 20
        completion = await client.chat.completions.create(model="kimi-k2.6", messages=[message])
        answer = completion.choices[0].message
        assert await media.estimate_tokens(client, answer, model="kimi-k2.6") > 0
        assert await media.estimate_tokens(client, [answer], model="kimi-k2.6") > 0
        for nothing in ("", [], ()):
            with pytest.raises(ConfigurationError, match="nothing to count"):
                await media.estimate_tokens(client, nothing, model="kimi-k2.6")
    assert json.loads(world.fake.requests[0].content)["messages"] == [message]
