"""YAML and JSON of strangers: bounded, plain, and refused in one line."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.storage.foreign_text import read_json
from geoseg.storage.foreign_yaml import read_yaml

LETTERS = "abcdefghi"
BOMB = f"a: &a [{','.join('x' * 9)}]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in itertools.pairwise(LETTERS)
)
MERGED = "m0: &m0 {x: 1}\n" + "".join(
    f"m{n + 1}: &m{n + 1} {{<<: [{','.join([f'*m{n}'] * 9)}]}}\n" for n in range(8)
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    assert read_json(json.dumps(value)) == value


@given(PLAIN)
def test_yaml_is_what_pyyaml_reads(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert read_yaml(text) == yaml.safe_load(text)


def test_aliases_that_stand_for_little_work() -> None:
    assert read_yaml("a: &x {one: 1}\nb: *x\nc: {<<: *x, two: 2}") == {
        "a": {"one": 1}, "b": {"one": 1}, "c": {"one": 1, "two": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(BOMB, "aliases .* expand to more than 100,000 values in line", id="bomb"),
        pytest.param(MERGED, "aliases .* expand to more than 100,000 values in line", id="merged"),
        pytest.param("a: &a [*a]", "contains itself .* in line 1, column 4", id="itself"),
        pytest.param("a: &a\n  b: *a", "contains itself", id="mapping of itself"),
        pytest.param("a: &a {? *a : 1}", "contains itself", id="key of itself"),
        pytest.param("[" * 5000, "nested more than 100 deep", id="brackets"),
        pytest.param("{a: " * 5000, "nested more than 100 deep", id="braces"),
        pytest.param(
            "a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(300)),
            "nested more than 100 deep",
            id="chain",
        ),
        ('x: !!int "abc"', "'abc' is not a valid int in line 1, column 4"),
        ('x: !!float "abc"', "'abc' is not a valid float"),
        ('x: !!bool "x"', "'x' is not a valid bool"),
        ('x: !!timestamp "x"', "'x' is not a valid timestamp"),
        ("x: 2024-13-45", "'2024-13-45' is not a valid timestamp"),
        pytest.param("x: " + "9" * 5000, "a number of 5,000 characters", id="digits"),
        pytest.param("x: 0x" + "f" * 5000, "a number of 5,002 characters", id="hexadecimal"),
        pytest.param("x: " + "1:" * 3000 + "1", "a number of 6,001 characters", id="sexagesimal"),
        ("x: 99999999999999999999", "expected one below 2"),
        ("? [a]\n: b", "unhashable key"),
        ('x: "\\ud800"', "lone surrogate"),
        ("x: \x1b", "special characters"),
        ("x: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: *b", "undefined alias"),
    ],
)
def test_bad_yaml_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_bomb_takes_no_memory() -> None:
    """Written out, these 400 bytes are 387 million values."""
    assert len(BOMB) < 500
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="aliases"):
            read_yaml(BOMB)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("[" * 5000, "nested more than 100 deep|Expecting value", id="open"),
        pytest.param("[" * 5000 + "]" * 5000, "nested more than 100 deep", id="brackets"),
        pytest.param("[" * 101 + "]" * 101, "nested more than 100 deep", id="one too deep"),
        pytest.param("9" * 5000, "a number of 5,000 digits", id="digits"),
        ("9" * 40, "expected one below 2"),
        ("1e999", "too large for a number"),
        ("NaN", "not a JSON number"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udfff": 1}', "lone surrogate"),
        ("{", "Expecting property name"),
    ],
)
def test_bad_json_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_json(text)
    assert "\n" not in str(caught.value)
