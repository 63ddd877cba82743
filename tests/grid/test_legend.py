from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import LegendError
from geoseg.grid.legend import BACKGROUND, Legend, LegendClass, binary_legend, trimmed
from geoseg.grid.qml import polygon_qml, raster_qml


def test_parse_numbers_the_classes_and_makes_up_colours() -> None:
    legend = Legend.parse("water, forest=#228B22,bare soil")
    assert legend.codes == (1, 2, 3)
    assert legend.names == ("water", "forest", "bare soil")
    assert legend[2].color == "#228b22"
    assert legend[2].rgb == (0x22, 0x8B, 0x22)
    assert len({c.color for c in legend.classes}) == 3


def test_a_binary_task_has_one_class_and_the_rest() -> None:
    given = Legend.made_up([0, 1])
    assert binary_legend(given) == given
    one = Legend(classes=(LegendClass(code=7, name="roof", color="#ff0000"),))
    rest = LegendClass(code=0, name=BACKGROUND, color="#f0f0f0")
    assert binary_legend(one).classes == (rest, LegendClass(code=1, name="roof", color="#ff0000"))
    for codes in ([1, 2], [0], [0, 1, 2]):
        with pytest.raises(LegendError, match="binary task has one class, or codes 0 and 1, found codes"):
            binary_legend(Legend.made_up(codes))


def test_a_list_on_two_lines_is_refused_in_words_of_ours() -> None:
    with pytest.raises(
        LegendError, match=r"is not a list of classes, expected names separated by commas, on one line$"
    ):
        Legend.parse("a\nb,c")


def test_classes_are_ordered_by_code() -> None:
    legend = Legend(
        classes=(
            LegendClass(code=9, name="b", color="#000000"),
            LegendClass(code=2, name="a", color="#ffffff"),
        )
    )
    assert legend.codes == (2, 9)


@pytest.mark.parametrize("text", ["", "water,", "water,water", "water=green", "water=#12345"])
def test_wrong_legends_are_refused(text: str) -> None:
    with pytest.raises(LegendError):
        Legend.parse(text)


def test_repeated_codes_are_refused() -> None:
    with pytest.raises(LegendError, match="repeats a code: 1, 1"):
        Legend(classes=tuple(LegendClass(code=1, name=n, color="#000000") for n in "ab"))


def test_codes_beyond_a_byte_are_for_foreign_maps_only() -> None:
    Legend.made_up([1, 254]).require_bytes()
    with pytest.raises(LegendError, match="255, 1200"):
        Legend.made_up([1, 255, 1200]).require_bytes()


@pytest.mark.parametrize(
    "classes", [{"forest": "#228b22"}, {1: "forest", 2: "water"}, [1, 2], [("forest", "#228b22")]]
)
def test_what_names_no_classes_is_refused_and_no_key_is_taken_for_a_name(classes: Any) -> None:
    with pytest.raises(
        LegendError, match=r"^classes are a (dict|list of (int|tuple)|dict of int), expected "
    ):
        Legend.given(classes)


def test_what_a_legend_does_not_name_stays_and_names_stay_apart() -> None:
    own = Legend.parse("water=#0000ff,forest=#228b22,town=#ff0000")
    given = Legend.of([(2, "town", "#010203"), (9, "ice", "#ffffff")])
    assert [(c.code, c.name, c.color) for c in given.over(own).classes] == [
        (1, "water", "#0000ff"), (2, "town", "#010203"), (3, "town (3)", "#ff0000"), (9, "ice", "#ffffff"),
    ]  # fmt: skip
    assert own.relabelled(given).names == ("water", "town", "town (3)")
    assert given.over(None) == given
    with pytest.raises(LegendError, match="names codes 9, expected some of 1, 2, 3"):
        own.relabelled(Legend.of([(9, "ice", None)]))


@pytest.mark.parametrize(
    "around", ["\n", "\r\n", "\x00", " \t", "\x7f", "\u3000", "\u200b", "\ufeff", "\x1b"]
)
def test_what_is_no_part_of_a_name_is_taken_off_its_ends(around: str) -> None:
    assert trimmed(f"{around}bare soil, \tgrey{around}{around}") == "bare soil, \tgrey"
    assert trimmed(around) == ""
    assert Legend.parse(f'"water{around}",forest').names == ("water", "forest")


def test_a_name_may_hold_a_comma_and_an_equals_sign() -> None:
    legend = Legend.parse('"Cropland, rainfed",water=#0000ff, "a, b"=#010203,c=d=#040506')
    assert legend.names == ("Cropland, rainfed", "water", "a, b", "c=d")
    assert [c.color for c in legend.classes[1:]] == ["#0000ff", "#010203", "#040506"]


HOSTILE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
).filter(lambda name: bool(name.strip()))


@given(st.lists(HOSTILE, min_size=1, max_size=5, unique=True))
def test_styles_carry_any_name_whole(names: list[str]) -> None:
    legend = Legend.made_up(range(len(names)), dict(enumerate(names)))
    polygons = ET.fromstring(polygon_qml(legend)).iter("category")
    assert [(c.get("value"), c.get("label")) for c in polygons] == [(str(i), n) for i, n in enumerate(names)]
    entries = ET.fromstring(raster_qml(legend)).iter("paletteEntry")
    assert [(c.get("label"), c.get("color")) for c in entries] == [(c.name, c.color) for c in legend.classes]
