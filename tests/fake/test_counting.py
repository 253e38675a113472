from typing import Any

import pytest

from moonshot_async.fake.answers import prompt_tokens
from moonshot_async.fake.counting import search_of

USER = {"role": "user", "content": "Hi"}


def tokens(*messages: Any, **more: Any) -> int:
    return prompt_tokens({"messages": messages, **more})[0]


def test_all_that_is_sent_counts() -> None:
    assert tokens(USER) > 1
    assert tokens(USER, USER) == 2 * tokens(USER)
    assert tokens(USER, tools=[{"type": "function"}]) > tokens(USER)
    assert tokens(USER, response_format={"type": "json_object"}) > tokens(USER)


def test_an_image_counts_the_same_however_large_its_file_is() -> None:
    def looking(url: str) -> Any:
        return {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}],
        }

    small, large = looking("data:image/webp;base64,aaaa"), looking("data:image/webp;base64," + "a" * 1_000_000)

    assert tokens(small) == tokens(large)
    assert 1024 < tokens(small) < 1100


def test_only_long_prefixes_are_cached() -> None:
    answer = {"role": "assistant", "content": "Hi"}

    assert prompt_tokens({"messages": [USER, answer, USER]})[1] == 0
    long = {"role": "user", "content": "word " * 300}
    assert prompt_tokens({"messages": [long, answer, USER]})[1] == tokens(long)
    assert prompt_tokens({"messages": [answer, long]})[1] == 0


def searched(content: Any, id: str = "a", name: str = "$web_search") -> int:
    call = {"id": "a", "type": "builtin_function", "function": {"name": name, "arguments": "{}"}}
    return tokens({"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": id, "content": content})


def test_the_results_of_a_web_search_are_part_of_the_prompt() -> None:
    echo = '{"search_result": {"search_id": "s"}, "usage": {"total_tokens": 5000}}'

    assert searched(echo) - 5000 == searched(echo.replace("5000", "0000").replace("0000", "   0"))
    assert searched(echo) > 5000
    assert searched(echo, id="b") < 100
    assert searched(echo, name="search") < 100


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"search_result": {"search_id": "s"}, "usage": {"total_tokens": 7}}', ("s", 7)),
        ('{"search_result": {"search_id": "s"}, "usage": {"total_tokens": -7}}', ("s", 0)),
        ('{"search_result": {"search_id": "s"}, "usage": {"total_tokens": 10000000000}}', ("s", 1_000_000)),
        ('{"search_result": {"search_id": "s"}, "usage": {"total_tokens": "7"}}', None),
        ('{"search_result": {}, "usage": {"total_tokens": 7}}', None),
        ("[]", None),
        ("3", None),
        ("no JSON", None),
        ("", None),
    ],
)
def test_the_echo_of_a_search_is_recognised(content: str, found: Any) -> None:
    assert search_of({"role": "tool", "content": content}) == found
