"""Orders of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.ordering import natural, shuffled

NAMES = st.lists(st.text("ab10293_ é", max_size=6), unique=True, max_size=12)


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["patch_10", "patch_2", "patch_1_b", "patch_1_a", "2", "10", "a", "01", "1"]
    assert sorted(names, key=natural) == [
        "01",
        "1",
        "2",
        "10",
        "a",
        "patch_1_a",
        "patch_1_b",
        "patch_2",
        "patch_10",
    ]


@given(NAMES)
def test_the_natural_order_is_total(names: list[str]) -> None:
    assert len({natural(name) for name in names}) == len(names)
    assert sorted(names, key=natural) == sorted(set(names), key=natural)


@given(NAMES, st.integers(0, 2**32 - 1), st.text(max_size=3))
def test_a_seeded_order_forgets_the_order_before_and_keeps_when_names_are_added(
    names: list[str], seed: int, more: str
) -> None:
    order = shuffled(names, seed)
    assert sorted(order) == sorted(names)
    assert shuffled(reversed(names), seed) == order
    assert [name for name in shuffled({*names, more}, seed) if name in names] == order


def test_a_seeded_order_is_the_same_on_every_machine() -> None:
    names = list("abcdefgh")
    assert "".join(shuffled(names, 0)) == "aefghdcb"
    assert "".join(shuffled(names, 1)) == "ebacgdfh"
    assert shuffled(names, 0, "salt") != shuffled(names, 0)
