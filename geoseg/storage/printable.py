"""Safe display of text from untrusted files (names of files, tags, layers, classes) in a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

_SHOWN: Final = 40

# Control characters (terminals execute them, above all ESC and the one-byte CSI), marks that reorder the text around
# them, Unicode line ends, and lone surrogates, which cannot be encoded.
_NOT_PRINTABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str) -> str:
    r"""Escape all control and formatting characters of a text: ESC becomes ``\x1b``.

    Line ends, tabs and the letters of every script are kept.
    """
    return _NOT_PRINTABLE.sub(_spelled, text)


def json_text(value: Any) -> str:
    """Format a value as indented JSON, with control and formatting characters escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Unprintable characters occur inside strings only, where JSON has this escape for them.
    return _NOT_PRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shown(text: str, longest: int = _SHOWN) -> str:
    """Quote a text from an untrusted source, shortened if it is long."""
    return printable(repr(shortened(text, longest)))


def shortened(text: str, longest: int = _SHOWN) -> str:
    """Cut a text that is long, marking the end with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def listed(values: Iterable[object]) -> str:
    """Join values for a message: the first eight, with an ellipsis if there are more."""
    words = [str(value) for value in values]
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
