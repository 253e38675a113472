"""What would steer a terminal is made visible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.cli.chat.visible import Visible, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 你好, é\ttab\nline", "plain, 你好, é\ttab\nline"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\x9b2J", "\\x9b2J"),
        ("a\x7fb", "a␡b"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("safe\u202egpj.exe", "safe\\u202egpj.exe"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.lists(st.text(alphabet="ab\r\n\x1b", max_size=4), max_size=8))
def test_pieces_give_the_same_as_the_whole(pieces: list[str]) -> None:
    stream = Visible()
    joined = "".join([*map(stream.feed, pieces), stream.finish()])
    whole = "".join(pieces)
    # A CR at the end is none of a CRLF.
    assert joined == visible(whole)
