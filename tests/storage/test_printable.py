"""Names of strangers on a terminal."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.storage.printable import json_text, printable, shown

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@given(ANY_TEXT)
def test_what_is_printed_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    out = printable(text)
    assert not [c for c in out if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    out.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_every_letter_of_every_script_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb", r"a\x0db"),
        ("a\u202eb", r"a\u202eb"),
        ("숲 forêt\n\tлес", "숲 forêt\n\tлес"),
        ("\udcff", r"\udcff"),
    ],
)
def test_examples(text: str, out: str) -> None:
    assert printable(text) == out


def test_a_long_text_is_cut() -> None:
    assert shown("9" * 5000) == "'" + "9" * 37 + "...'"
    assert shown("\x1b") == r"'\x1b'"


@given(st.recursive(ANY_TEXT, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner), max_leaves=5))
def test_json_says_the_same_and_is_printable(value: Any) -> None:
    text = json_text(value)
    assert printable(text) == text
    assert json.loads(text) == value
