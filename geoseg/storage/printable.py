"""Text that strangers wrote (names of files, tags, layers, classes), shown without what a terminal would obey."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_SHOWN: Final = 40

# Control characters (a terminal obeys them, ESC and the one-byte CSI first of all), marks that reorder the text
# around them, line ends of Unicode, and halves of characters, which cannot be written at all.
_NOT_PRINTABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str) -> str:
    r"""Return a text with everything that is not for the eye spelled out: ESC becomes ``\x1b``.

    Line ends and tabs stay as they are, and so does every letter of every script.
    """
    return _NOT_PRINTABLE.sub(_spelled, text)


def json_text(value: Any) -> str:
    """Return a value as indented JSON, letters as they are, all else that a terminal would obey as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # What is not printable stands inside texts only, where JSON has this escape for it.
    return _NOT_PRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shown(text: str, longest: int = _SHOWN) -> str:
    """Quote a text that somebody else wrote, cut short where it is long."""
    quoted = repr(text if len(text) <= longest else f"{text[: longest - 3]}...")
    return printable(quoted)
