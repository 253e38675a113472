"""Text of others for a terminal: what would steer the terminal is made visible instead.

An escape sequence in an answer could move the cursor, rename the window or write to the clipboard.
"""

import re
from typing import Final

# C0 but tab and newline, DEL and C1; what reorders text; halves of characters, which no output takes.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters made visible: ESC becomes "␛", U+009B becomes "\\x9b".

    Tabs and newlines stay, and CRLF is a newline.
    """
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(_shown, text.replace("\r\n", "\n"))


class Visible:
    """The same for a text that comes in pieces, where CR and LF may be in two of them."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now; a CR at the end is held back."""
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text[:-1] if self._held else text)

    def finish(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return visible(held)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
