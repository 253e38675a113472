"""Images and videos behind URLs: refused for Moonshot's own hosts, before anything is sent."""

from typing import Any

import pytest

from moonshot_async import ConfigurationError
from moonshot_async.resources.media_urls import check_media_urls

HERE = "https://api.moonshot.ai/v1"
URL = "https://a.example/roof.png"


def check(messages: Any, base_url: str = HERE) -> None:
    check_media_urls(messages, base_url)


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


@pytest.mark.parametrize(
    "base_url", [HERE, "https://api.moonshot.cn/v1", "https://moonshot.ai", "https://x.moonshot.cn."]
)
@pytest.mark.parametrize(
    ("part", "said"),
    [
        (image({"url": URL}), 'https URLs in image_url.*media.image.*purpose="image"'),
        (image(" HTTP://a.example/roof.png"), "http URLs in image_url"),
        (image("file:///tmp/roof.png"), "file URLs in image_url"),
        ({"type": "video_url", "video_url": {"url": URL}}, 'https URLs in video_url.*media.video.*purpose="video"'),
    ],
)
def test_a_url_is_refused_with_its_place_and_advice(base_url: str, part: Any, said: str) -> None:
    messages = [{"role": "system", "content": "S"}, user({"type": "text", "text": "Look:"}, part)]

    with pytest.raises(ConfigurationError, match=rf"^messages\[1\]\.content\[1\]: the API fetches no {said}") as caught:
        check(messages, base_url)

    assert "a.example" not in str(caught.value)
    assert "/tmp" not in str(caught.value)


@pytest.mark.parametrize("kind", [tuple, list])
def test_parts_may_be_a_tuple(kind: Any) -> None:
    with pytest.raises(ConfigurationError):
        check(kind([{"role": "tool", "content": kind([image({"url": URL})])}]))


@pytest.mark.parametrize(
    "messages",
    [
        [user(image({"url": "data:image/png;base64,iVBO"}), image({"url": "ms://file-1"}), image("ms://file-1"))],
        [{"role": "user", "content": f'{{"type": "image_url", "image_url": "{URL}"}}'}],
        [user({"type": "text", "text": URL, "image_url": {"url": URL}})],
        [user(image({"url": 5}), image(None), image({}), "text", {"image_url": URL}), {"role": "user"}, "no message"],
        [user(image({"url": "  "}), image({"url": "//a.example/x"}), {"type": ["image_url"]})],
        [],
    ],
)
def test_everything_else_is_left_to_the_service(messages: Any) -> None:
    check(messages)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://openrouter.ai/api/v1",
        "http://127.0.0.1:8000/v1",
        "https://notmoonshot.ai/v1",
        "https://moonshot.ai.example",
        "",
    ],
)
def test_other_hosts_may_fetch_urls(base_url: str) -> None:
    check([user(image({"url": URL}))], base_url)
