from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ResumeError
from geoseg.storage.journal import JOURNAL, Journal

PRINT = {"model": "abc", "tile": (256, 64), "options": {"device": "cpu"}}


def filled(folder: Path, count: int) -> Path:
    journal = Journal(folder, PRINT)
    for i in range(count):
        journal.append({"strip": i})
    return folder / JOURNAL


def test_entries_come_back(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    again = Journal(tmp_path, PRINT)
    assert again.entries == [{"strip": 0}, {"strip": 1}, {"strip": 2}]
    assert again.last("strip") == {"strip": 2}
    assert again.last("settings") is None


@given(st.integers(0, 200))
def test_a_journal_torn_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    file = filled(folder, 5)
    whole = file.read_bytes()
    cut = min(cut, len(whole))
    file.write_bytes(whole[:cut])
    lines = max(0, whole[:cut].count(b"\n") - 1)
    again = Journal(folder, PRINT)
    assert again.entries == [{"strip": i} for i in range(lines)]
    for i in range(lines, 5):
        again.append({"strip": i})
    assert file.read_bytes() == whole


def test_other_work_is_refused_with_the_difference(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with pytest.raises(ResumeError, match="model 'abc', this command has model 'xyz'.*resume=False"):
        Journal(tmp_path, PRINT | {"model": "xyz"})


def test_only_what_differs_is_named_in_the_words_of_who_asked(tmp_path: Path) -> None:
    options = {
        "device": "cpu",
        "nodata": [[-9999.0], [0, 255], []],
        "tile": None,
        "rule": "all",
        "bands": [3, 2],
    }
    Journal(tmp_path, {"options": options, "scene": {"name": "a.tif", "bytes": 1}, "threads": 1})
    for other, said in (
        ({"nodata": [[]]}, "nodata -9999,0/255,none, this command has nodata none; run"),
        ({"nodata": None}, "nodata -9999,0/255,none, this command has nodata not given; run"),
        (
            {"tile": 0.5, "bands": [3, 1]},
            "bands 3,2, tile not given, this command has bands 3,1, tile 0.5; run",
        ),
        ({"legend": {"a": "x" * 200}}, f"legend.a not given, this command has legend.a '{'x' * 79}…; run"),
    ):
        with pytest.raises(ResumeError) as caught:
            Journal(
                tmp_path, {"options": options | other, "scene": {"name": "a.tif", "bytes": 1}, "threads": 1}
            )
        assert f"holds unfinished work with {said}" in str(caught.value)
    many = {"options": dict.fromkeys(options, "x"), "scene": {"name": "b.tif", "bytes": 1}, "threads": 1}
    with pytest.raises(
        ResumeError, match=r"device 'cpu', nodata \S+ \(and 3 more differences\), this"
    ) as caught:
        Journal(tmp_path, many)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("line", [b"\x00\x00\xff\n", b"[1, 2]\n", b"{]\n"])
def test_a_damaged_journal_is_one_line(tmp_path: Path, line: bytes) -> None:
    file = filled(tmp_path, 2)
    first, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([first, line, *rest]))
    with pytest.raises(ResumeError, match=r"is damaged.*resume=False") as caught:
        Journal(tmp_path, PRINT)
    assert "\n" not in str(caught.value)


def test_a_key_that_only_one_of_two_commands_has_is_a_difference(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    for other in (PRINT | {"clip": "x"}, {"model": "abc", "tile": (256, 64)}):
        with pytest.raises(ResumeError, match="clip|device"):
            Journal(tmp_path, other)
