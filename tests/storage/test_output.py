"""Law 9 for one output, its lock and its sidecars."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from geoseg.errors import OutputBusyError, OutputError, OutputExistsError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import polygon_qml
from geoseg.raster.classmap import class_map_sidecars
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.output import claim, clear_leftovers
from geoseg.storage.sidecars import sidecar_path


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def put(scratch: Path, text: str) -> Path:
    file = scratch / "finished"
    file.write_text(text)
    return file


def test_a_commit_leaves_the_output_alone_in_its_folder(tmp_path: Path) -> None:
    with claim(tmp_path / "a.gpkg", overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert (tmp_path / "a.gpkg").read_text() == "new"
    assert names(tmp_path) == ["a.gpkg"]


def test_an_existing_output_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("old")
    with (
        pytest.raises(OutputExistsError, match="overwrite=True") as caught,
        claim(tmp_path / "a.gpkg", overwrite=False),
    ):
        pass
    assert caught.value.exit_code == 4
    assert (tmp_path / "a.gpkg").read_text() == "old"
    assert names(tmp_path) == ["a.gpkg"]


def test_a_failure_keeps_the_old_output_and_no_scratch(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("old")
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "a.gpkg", overwrite=True) as claimed:
        put(claimed.scratch, "half")
        raise ZeroDivisionError
    assert (tmp_path / "a.gpkg").read_text() == "old"
    assert names(tmp_path) == ["a.gpkg"]


def test_unfinished_resumable_work_is_found_again_and_cleaned_up(tmp_path: Path) -> None:
    output = tmp_path / "a.gpkg"
    with pytest.raises(ZeroDivisionError), claim(output, overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {"model": "m"})
        put(claimed.scratch, "strip")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.gpkg.geoseg-part"]
    with claim(output, overwrite=False, resumable=True) as claimed:
        assert names(claimed.scratch) == ["finished", JOURNAL]
        claimed.commit(claimed.scratch / "finished")
    assert names(tmp_path) == ["a.gpkg"]


def test_work_refused_before_it_began_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "a", overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {"model": "m"})
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_fresh_throws_unfinished_work_away(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "a", overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {"model": "m"})
        put(claimed.scratch, "strip")
        raise ZeroDivisionError
    with claim(tmp_path / "a", overwrite=False, resumable=True, fresh=True) as claimed:
        assert names(claimed.scratch) == []


def test_an_output_renamed_before_a_kill_may_be_finished_without_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    with pytest.raises(ZeroDivisionError), claim(output, overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {"model": "m"})
        claimed.commit(put(claimed.scratch, "new"))
        put(claimed.scratch, "strip")
        raise ZeroDivisionError
    with claim(output, overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {"model": "m"})
        claimed.commit(put(claimed.scratch, "new"))
    assert names(tmp_path) == ["a.tif"]


def test_sidecars_change_with_their_raster(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.qml", "b.qml"):
        (tmp_path / name).write_text("old")
    with claim(tmp_path / "a.tif", overwrite=True) as claimed:
        claimed.commit(put(claimed.scratch, "new"), sidecars={".qml": "style"})
    assert names(tmp_path) == ["a.qml", "a.tif", "b.qml"]
    assert (tmp_path / "a.qml").read_text() == "style"


def test_sidecars_that_a_kill_left_unwritten_come_with_the_next_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, data: bytes) -> None:
        if path.suffix == ".qml":
            raise KeyboardInterrupt
        write_bytes(path, data)

    output = tmp_path / "a.tif"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("geoseg.storage.output.write_bytes", killed)
        patch.setattr("geoseg.storage.output._discard", lambda _: None)  # who is killed cleans nothing up
        with claim(output, overwrite=False) as claimed:
            claimed.commit(put(claimed.scratch, "new"), sidecars={".aux.xml": "names", ".qml": "style"})
    assert names(tmp_path) == ["a.tif", "a.tif.aux.xml", "a.tif.geoseg-part"]
    with pytest.raises(OutputExistsError), claim(output, overwrite=False):
        pass
    assert names(tmp_path) == ["a.qml", "a.tif", "a.tif.aux.xml"]
    assert (tmp_path / "a.qml").read_text() == "style"


def test_sidecars_of_a_file_that_never_got_its_name_are_not_put_beside_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "a.tif"
    output.write_text("old")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("geoseg.storage.output.replace", killed)
        patch.setattr("geoseg.storage.output._discard", lambda _: None)
        with claim(output, overwrite=True) as claimed:
            claimed.commit(put(claimed.scratch, "new"), sidecars={".qml": "style"})
    clear_leftovers(output)
    assert (names(tmp_path), output.read_text()) == (["a.tif"], "old")


LEGEND = Legend.parse('water,"a, <b> & ""c""",\u6c34')
OURS = {layered: class_map_sidecars(LEGEND, layered=layered) for layered in (False, True)}


def beside(folder: Path, texts: Mapping[str, str], name: str = "a.tif") -> dict[str, str]:
    """Write sidecars of a raster, and return the content of all files of the folder."""
    for suffix, text in texts.items():
        sidecar_path(folder / name, suffix).write_text(text)
    return contents(folder)


def contents(folder: Path) -> dict[str, str]:
    return {item.name: item.read_text() for item in folder.iterdir()}


def edited(text: str) -> str:
    return text.replace("water", "lake")


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        ({".qml": "style of parcels.shp"}, "a.qml"),
        ({".aux.xml": "statistics"}, "a.tif.aux.xml"),
        ({".ovr": "overviews"}, "a.tif.ovr"),
        ({".msk": "mask"}, "a.tif.msk"),
        ({".aux.xml": OURS[False][".aux.xml"]}, "a.tif.aux.xml"),  # GDAL lays its names out alike
        ({**OURS[False], ".qml": edited(OURS[False][".qml"])}, "a.tif.aux.xml and a.qml"),
        ({**OURS[False], ".aux.xml": "with statistics"}, "a.tif.aux.xml and a.qml"),
        ({".qml": OURS[False][".qml"].replace("<pipe>", "<pipe >")}, "a.qml"),
        ({".qml": polygon_qml(LEGEND)}, "a.qml"),
        ({**OURS[False], ".ovr": "overviews"}, "a.tif.ovr"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"resumable": True}, {"resumable": True, "fresh": True}])
def test_what_lies_beside_an_output_that_is_not_there_is_not_replaced(
    tmp_path: Path, texts: dict[str, str], named: str, how: dict[str, bool]
) -> None:
    """Refused before the work; with overwrite it goes, as it does elsewhere under another name."""
    before = beside(tmp_path, texts)
    with pytest.raises(OutputExistsError, match=rf"would replace {named}, too") as caught:
        claim(tmp_path / "a.tif", overwrite=False, **how).__enter__()
    assert caught.value.exit_code == 4
    assert contents(tmp_path) == before
    with claim(tmp_path / "b.tif", overwrite=False, **how) as claimed:
        claimed.commit(put(claimed.scratch, "new"), sidecars={".qml": "new"})
    assert contents(tmp_path) == before | {"b.tif": "new", "b.qml": "new"}
    with claim(tmp_path / "a.tif", overwrite=True, **how) as claimed:
        claimed.commit(put(claimed.scratch, "new"), sidecars={".qml": "new"})
    assert contents(tmp_path) == {"a.tif": "new", "a.qml": "new", "b.tif": "new", "b.qml": "new"}


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("missing", ["", ".aux.xml"])
def test_what_geoseg_left_of_an_output_that_is_gone_is_replaced(
    tmp_path: Path, layered: bool, missing: str
) -> None:
    beside(tmp_path, {suffix: text for suffix, text in OURS[layered].items() if suffix != missing})
    with claim(tmp_path / "a.tif", overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert names(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("other", ["a.tiff", "a.vrt"])
def test_a_style_that_is_of_another_raster_is_not_left_over(tmp_path: Path, other: str) -> None:
    (tmp_path / other).touch()
    before = beside(tmp_path, {".qml": OURS[False][".qml"]})
    with (
        pytest.raises(OutputExistsError, match=r"would replace a\.qml, too"),
        claim(tmp_path / "a.tif", overwrite=False),
    ):
        pass
    assert contents(tmp_path) == before


def test_polygons_leave_the_style_of_a_raster_of_the_same_name_alone(tmp_path: Path) -> None:
    (tmp_path / "a.qml").write_text("raster style")
    with claim(tmp_path / "a.gpkg", overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert (tmp_path / "a.qml").read_text() == "raster style"


def test_the_second_writer_is_told_who_is_first(tmp_path: Path) -> None:
    with (
        claim(tmp_path / "a.gpkg", overwrite=False),
        pytest.raises(OutputBusyError, match=f"process {os.getpid()} on") as caught,
        claim(tmp_path / "a.gpkg", overwrite=True),
    ):
        pass
    assert caught.value.exit_code == 4


def test_a_killed_writer_leaves_no_lock_that_holds(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from geoseg.storage.output import claim\n"
        "with claim(pathlib.Path(sys.argv[1]), overwrite=False):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.gpkg")], check=False)
    assert names(tmp_path) == ["a.gpkg.geoseg-lock", "a.gpkg.geoseg-part"]
    with claim(tmp_path / "a.gpkg", overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert names(tmp_path) == ["a.gpkg"]


def test_a_geopackage_open_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("old")
    (tmp_path / "a.gpkg-wal").write_text("pages")
    with pytest.raises(OutputBusyError, match="another program"), claim(tmp_path / "a.gpkg", overwrite=True):
        pass
    assert (tmp_path / "a.gpkg").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "is a folder"), ("missing/a.tif", "does not exist"), ("s3://bucket/a.tif", "local file system")],
)
def test_names_that_cannot_be_outputs_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    path = Path(name) if "://" in name else tmp_path / name
    with pytest.raises(OutputError, match=reason), claim(path, overwrite=True):
        pass


@pytest.mark.parametrize("name", ["with space.gpkg", "it's 100 % #1.gpkg", "日本 🌲.gpkg"])
def test_odd_names_work(tmp_path: Path, name: str) -> None:
    with claim(tmp_path / name, overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["b", "strip-000000", "journal", "journal.jsonl", "[a]*?.tif", "x" * 230])
def test_preparing_a_product_spares_the_strips_whatever_its_name(tmp_path: Path, name: str) -> None:
    """A leftover of the product goes, however a killed writer called it; all else stays."""
    with claim(tmp_path / name, overwrite=False) as claimed:
        Journal(claimed.scratch, {})
        put(claimed.scratch, "half").rename(claimed.scratch / "strip-000000")
        path = claimed.prepare()
        path.write_text("half")
        path.with_name(path.name + "-journal").write_text("half")
        assert claimed.prepare() == path
        assert names(claimed.scratch) == [JOURNAL, "strip-000000"]
        path.write_text("new")
        claimed.commit(path)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "new"


def test_a_pipe_or_device_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="device or a pipe"), claim(tmp_path / "pipe", overwrite=True):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_geopackage_opened_since_is_not_replaced(tmp_path: Path, suffix: str) -> None:
    """SQLite would play the transaction of the old file into the new one."""
    (tmp_path / "a.gpkg").write_text("old")
    with pytest.raises(OutputBusyError), claim(tmp_path / "a.gpkg", overwrite=True) as claimed:
        (tmp_path / f"a.gpkg{suffix}").write_text("pages")
        claimed.commit(put(claimed.scratch, "new"))
    assert (tmp_path / "a.gpkg").read_text() == "old"
    with pytest.raises(OutputBusyError, match=suffix), claim(tmp_path / "a.gpkg", overwrite=True):
        pass


def test_the_report_on_the_old_file_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.tif.run.json").write_text("{}")
    with claim(tmp_path / "a.tif", overwrite=False) as claimed:
        claimed.commit(put(claimed.scratch, "new"))
    assert names(tmp_path) == ["a.tif"]


def test_a_clean_up_that_is_killed_leaves_no_work_to_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pulled_plug(path: Path) -> None:
        raise KeyboardInterrupt(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("geoseg.storage.output.shutil.rmtree", pulled_plug)
        with claim(tmp_path / "a.tif", overwrite=False, resumable=True) as claimed:
            Journal(claimed.scratch, {})
            put(claimed.scratch, "strip").rename(claimed.scratch / "strip-000000")
            claimed.commit(put(claimed.scratch, "new"))
    with (
        pytest.raises(OutputExistsError),
        claim(tmp_path / "a.tif", overwrite=False, resumable=True),
    ):
        pass
    assert names(tmp_path) == ["a.tif"]


def test_a_scratch_folder_removed_by_hand_does_not_hide_the_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "a", overwrite=False, resumable=True) as claimed:
        claimed.scratch.rmdir()
        raise ZeroDivisionError
    assert names(tmp_path) == []


@pytest.mark.parametrize("taken", [False, True])
def test_a_lock_file_removed_between_opening_and_locking_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """The first holder leaves just then; a third may have come and locked a file of the same name."""
    lock = tmp_path / "a.tif.geoseg-lock"
    real, others = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not others:
            lock.unlink()
            others.append(lock.open("w") if taken else None)
            if taken:
                real(others[0], fcntl.LOCK_EX)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    if taken:
        with pytest.raises(OutputBusyError), claim(tmp_path / "a.tif", overwrite=False):
            pass
        others[0].close()
        return
    with (
        claim(tmp_path / "a.tif", overwrite=False),
        pytest.raises(OutputBusyError),
        claim(tmp_path / "a.tif", overwrite=False),
    ):
        pass


def test_a_product_of_a_writer_of_private_files_is_as_open_as_others(tmp_path: Path) -> None:
    with claim(tmp_path / "a.tif", overwrite=False) as claimed:
        finished = put(claimed.scratch, "new")
        finished.chmod(0o600)
        claimed.commit(finished)
    (tmp_path / "other").touch()
    assert (tmp_path / "a.tif").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_only_a_resumable_run_may_go_on_with_is_not_taken_by_another(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "a", overwrite=False, resumable=True) as claimed:
        Journal(claimed.scratch, {})
        put(claimed.scratch, "strip")
        raise ZeroDivisionError
    with claim(tmp_path / "a", overwrite=False) as claimed:
        assert names(claimed.scratch) == []


def test_a_full_disk_leaves_the_old_bytes_and_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a.tmp").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"a: 3 bytes could not be written \(No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"
