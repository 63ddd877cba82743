"""Splits: every image in one at most, groups undivided, the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st

from geoseg.datasets.description import DataConfig
from geoseg.datasets.files import Entry
from geoseg.datasets.splits import Keys, split_keys
from geoseg.errors import ConfigError, DataError, GeosegError
from geoseg.grid.grid import Grid
from tests.datasets.sets import description

NOWHERE = Path("/nowhere")


def entries(groups: Mapping[str, str | None], splits: Mapping[str, str] | None = None) -> list[Entry]:
    return [
        Entry(key=key, image=Path(key), labels=Path(key), group=group, split=(splits or {}).get(key))
        for key, group in groups.items()
    ]


def divide(
    images: Sequence[Entry], grids: Mapping[str, Grid] | None = None, root: Path = NOWHERE, **changes: Any
) -> Keys:
    table = {"table": "t.csv", "images": None, "labels": {"form": "codes"}}
    return split_keys(DataConfig.model_validate(description(**table | changes)), root, images, grids or {})


def divisible(*args: Any, **changes: Any) -> bool:
    """Whether there are groups enough."""
    try:
        divide(*args, **changes)
    except DataError as error:
        if "cannot be divided" in str(error):
            return False
        raise
    return True


def at(col: int) -> Grid:
    """A grid of 4 px at a column of the world."""
    return Grid(
        height=4, width=4, transform=Affine.translation(col, 0), crs='LOCAL_CS["plan",UNIT["metre",1]]'
    )


GROUPS = st.dictionaries(
    st.integers(0, 300).map(str),
    st.none() | st.sampled_from(["a", "b", "c", "10", "9"]),
    min_size=1,
    max_size=20,
)
DRAWN = st.one_of(
    st.builds(lambda n, first: {"method": "every", "n": n, "first": first}, st.integers(2, 6), st.integers(0, 3)),
    st.builds(
        lambda val, test, seed: {"method": "fraction", "val": val, "test": test, "seed": seed},
        st.sampled_from([0.01, 0.2, 0.5]), st.sampled_from([0, 0.01, 0.3]), st.integers(0, 99),
    ),
    st.integers(2, 5).flatmap(
        lambda k: st.builds(
            lambda fold, test: {"method": "folds", "k": k, "fold": fold, "test": test and k > 2},
            st.integers(0, k - 1), st.booleans(),
        )
    ),
)  # fmt: skip


@given(GROUPS, DRAWN, st.randoms())
def test_no_image_is_in_two_splits_and_no_group_is_divided(
    groups: dict[str, str | None], split: dict[str, Any], random: Any
) -> None:
    images = entries(groups)
    distinct = {group or f"key {key}" for key, group in groups.items()}
    if len(distinct) <= max(3, split.get("n", 0), split.get("k", 0), split.get("first", 0)):
        assume(divisible(images, split=split))
    keys = divide(images, split=split)
    assert sorted(key for members in keys.values() for key in members) == sorted(groups)
    assert keys["train"]
    assert keys["val"]
    split_of = {key: name for name, members in keys.items() for key in members}
    for group in filter(None, groups.values()):
        assert len({split_of[key] for key in groups if groups[key] == group}) == 1
    random.shuffle(images)
    assert divide(images, split=split) == keys, "the order of the files does not matter"


def test_every_nth_group_in_natural_order_validates() -> None:
    keys = divide(
        entries(dict.fromkeys(map(str, (1, 10, 2, 20, 3, 30)))), split={"method": "every", "n": 3, "first": 1}
    )
    assert keys == {"train": ("1", "3", "10", "30"), "val": ("2", "20"), "test": ()}


@pytest.mark.parametrize(
    ("val", "test", "counts"), [(0.2, 0, (8, 2, 0)), (0.25, 0.3, (5, 2, 3)), (0.01, 0.01, (8, 1, 1))]
)
def test_shares_are_of_groups_and_at_least_one(val: float, test: float, counts: tuple[int, ...]) -> None:
    images = entries({f"{group}{i}": group for group in "abcdefghij" for i in range(3)})
    keys = divide(images, split={"method": "fraction", "val": val, "test": test})
    assert tuple(len(members) // 3 for members in keys.values()) == counts


def test_a_drawn_split_is_the_same_on_every_machine() -> None:
    images = entries(dict.fromkeys("abcdefgh"))
    split = {"method": "fraction", "val": 0.25, "test": 0.25}
    assert divide(images, split=split) == {
        "train": ("b", "c", "d", "h"),
        "val": ("f", "g"),
        "test": ("a", "e"),
    }
    assert divide(images, split=split | {"seed": 1}) != divide(images, split=split)


def test_every_group_validates_in_one_fold() -> None:
    images = entries({f"{n}": f"g{n % 7}" for n in range(20)})
    folds = [divide(images, split={"method": "folds", "k": 3, "fold": fold})["val"] for fold in range(3)]
    assert sorted(key for fold in folds for key in fold) == sorted(entry.key for entry in images)


@given(GROUPS, st.integers(3, 5), st.integers(0, 9))
def test_every_group_is_scored_in_one_fold_and_validates_in_the_one_before(
    groups: dict[str, str | None], k: int, seed: int
) -> None:
    images = entries(groups)
    fold = {"method": "folds", "k": k, "seed": seed, "test": True}
    assume(
        divisible(images, split=fold | {"fold": k - 1}) and divisible(images, split=fold | {"fold": k - 2})
    )
    folds = [divide(images, split=fold | {"fold": number}) for number in range(k)]
    assert sorted(key for each in folds for key in each["test"]) == sorted(groups)
    for number, each in enumerate(folds):
        assert each["val"] == folds[(number + 1) % k]["test"]
        assert set(each["train"]) == set(groups) - {*each["val"], *each["test"]}


def test_images_that_overlap_are_a_group_and_so_is_what_hangs_together() -> None:
    grids = {"1": at(0), "2": at(3), "3": at(6), "4": at(20), "5": at(10), "6": at(30)}
    images = entries(dict.fromkeys(grids))
    vals = [
        divide(images, grids, split={"method": "folds", "k": 4, "fold": fold})["val"] for fold in range(4)
    ]
    assert sorted(vals) == [("1", "2", "3"), ("4",), ("5",), ("6",)]


@given(st.lists(st.integers(0, 60), min_size=2, max_size=14))
def test_drawn_splits_never_share_ground(cols: list[int]) -> None:
    grids = {str(i): at(col) for i, col in enumerate(cols)}
    split = {"method": "fraction", "val": 0.3}
    assume(divisible(entries(dict.fromkeys(grids)), grids, split=split))
    keys = divide(entries(dict.fromkeys(grids)), grids, split=split)
    split_of = {key: name for name, members in keys.items() for key in members}
    for a, first in enumerate(cols):
        for b, second in enumerate(cols):
            assert abs(first - second) >= 4 or split_of[str(a)] == split_of[str(b)]


def test_the_column_says_the_split_in_any_of_its_words() -> None:
    said = {"a": "train", "b": "Val", "c": "validation", "d": "TEST", "e": "valid", "f": "training"}
    keys = divide(entries(dict.fromkeys("abcdefg"), said), split={"method": "column"})
    assert keys == {"train": ("a", "f"), "val": ("b", "c", "e"), "test": ("d",)}


def test_a_given_split_names_groups_lists_or_keys(tmp_path: Path) -> None:
    in_table = divide(
        entries({"a": "3", "b": "3", "c": "4", "d": None}), split={"train": [3], "val": [4], "test": ["d"]}
    )
    assert in_table == {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
    (tmp_path / "groups.json").write_text(json.dumps([["c"], ["a", "b"]]))
    for groups in ("groups.json", [["c"], ["a", "b"]]):
        listed = divide(
            entries(dict.fromkeys("abcd")),
            root=tmp_path,
            groups=groups,
            split={"train": [1], "val": [0], "test": ["d"]},
        )
        assert listed == in_table
    # An image called as a list's number is not taken for it.
    mixed = divide(
        entries(dict.fromkeys(["0", "1", "2"])),
        groups=[["1"], ["2"]],
        split={"train": [0], "val": [1, "image 0"]},
    )
    assert mixed == {"train": ("1",), "val": ("0", "2"), "test": ()}


def test_excluded_images_may_stay_in_lists_of_groups() -> None:
    split = {"train": [0], "val": [1]}
    keys = divide(entries(dict.fromkeys("ab")), groups=[["a", "x"], ["b"]], exclude=["x"], split=split)
    assert keys == {"train": ("a",), "val": ("b",), "test": ()}


A_B = {"train": ["a"], "val": ["b"]}


@pytest.mark.parametrize(
    ("images", "changes", "error", "said"),
    [
        ({"a": None, "b": None}, {"split": {"train": ["a"], "val": ["x"]}}, ConfigError, "no group x, expected a, b"),
        ({"a": "g", "b": None}, {"split": A_B}, ConfigError, "no group a, expected g, b"),
        ({"a": "g", "b": None}, {"split": A_B, "groups": [["a"]]}, ConfigError, "two groupings"),
        ({"a": None, "b": None}, {"split": A_B, "groups": [["x"]]}, DataError, "names 'x', which is not an image"),
        ({"a": None, "b": None}, {"split": A_B, "groups": [["a"], ["a"]]}, DataError, "'a' is in groups 0 and 1"),
        ({"a": None, "b": None}, {"split": A_B, "groups": "none.json"}, ConfigError, "cannot be read"),
        ({"a": None, "b": None}, {"split": {"method": "column"}}, DataError, "puts no image into train"),
        ({"a": None}, {"split": {"method": "every", "n": 2}}, DataError, "cannot be divided"),
        ({"a": None, "b": None}, {"split": {"method": "every", "n": 2, "first": 5}}, DataError, "cannot be divided"),
        ({"a": None, "b": None}, {"split": {"method": "folds", "k": 3, "fold": 2}}, DataError, "cannot be divided"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(
    images: dict[str, str | None], changes: dict[str, Any], error: type[GeosegError], said: str
) -> None:
    with pytest.raises(error, match=said) as refusal:
        divide(entries(images), **changes)
    assert "\n" not in str(refusal.value)


def test_words_that_are_no_split_and_divided_groups_are_refused() -> None:
    with pytest.raises(DataError, match="a is in split 'trian', expected train, val, test or nothing"):
        divide(entries({"a": None}, {"a": "trian"}), split={"method": "column"})
    with pytest.raises(DataError, match=r"group g is in train \(a\) and in val \(b\)"):
        divide(entries({"a": "g", "b": "g"}, {"a": "train", "b": "val"}), split={"method": "column"})


def test_given_splits_that_share_ground_are_refused() -> None:
    grids = {"a": at(0), "b": at(3), "c": at(2)}
    with pytest.raises(
        DataError, match=r"a \(train\) and b \(val\) overlap on the ground \(and 1 more such pairs\)"
    ):
        divide(entries(dict.fromkeys("abc")), grids, split={"train": ["a"], "val": ["b", "c"]})
    assert divide(
        entries(dict.fromkeys("abc")), grids | {"a": at(10)}, split={"train": ["a"], "val": ["b", "c"]}
    )
    with pytest.raises(DataError, match="a and b overlap on the ground, so blocks"):
        divide(entries(dict.fromkeys("abc")), grids, split={"method": "blocks"})


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '["a"]'])
def test_a_file_that_lists_no_groups_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "groups.json").write_text(text)
    with pytest.raises(ConfigError, match="data.groups: .*groups.json is not"):
        divide(entries(dict.fromkeys("ab")), root=tmp_path, groups="groups.json", split=A_B)
