"""Descriptions become pairs: every form of labels, every method of splits, bad images left out."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from PIL import Image

from geoseg.datasets.dataset import IGNORED, Pair
from geoseg.datasets.opening import first_image
from geoseg.errors import DataError
from geoseg.grid.window import Window
from tests.datasets.sets import config_of, description, names, open_set, write_set, write_tif

WHOLE = Window(row=0, col=0, height=12, width=16)


def whole(pair: Pair) -> Any:
    height, width = pair.grid.shape
    return pair.mask(Window(row=0, col=0, height=height, width=width))


def test_a_data_set_is_split_and_its_files_are_listed(tmp_path: Path) -> None:
    opened = open_set(write_set(tmp_path))
    assert names(opened) == {"train": ["1", "2", "4", "5"], "val": ["0", "3"], "test": []}
    assert opened.left_out == ()
    assert opened.files == tuple(sorted(tmp_path.glob("*/*.tif")))
    assert pickle.loads(pickle.dumps(opened.splits["train"][0])).read(WHOLE)[0].shape == (2, 12, 16)


def test_every_form_of_labels_says_the_same(tmp_path: Path) -> None:
    """A left and a right half, as codes, colours, polygons, and (of the right half) grey and run lengths."""
    halves = np.repeat(np.uint8([[1, 2]]), [6, 10], axis=1).repeat(12, axis=0)
    write_tif(tmp_path / "a.tif", np.arange(2 * 12 * 16, dtype=np.uint8).reshape(2, 12, 16), at=0)
    write_tif(tmp_path / "codes.tif", halves, at=0)
    colors = np.uint8([[0, 0, 0], [255, 0, 0], [0, 0, 255]])[halves]
    Image.fromarray(colors).save(tmp_path / "colors.png")
    Image.fromarray(np.uint8([0, 0, 200])[halves]).save(tmp_path / "grey.png")
    boxes = [
        shapely.box(500_000, 3_999_880, 500_060, 4_000_000),
        shapely.box(500_060, 3_999_880, 500_160, 4_000_000),
    ]
    frame = geopandas.GeoDataFrame({"kind": ["left", "right"]}, geometry=boxes, crs=32652)
    frame.to_crs(4326).to_file(tmp_path / "boxes.gpkg")
    (tmp_path / "runs.csv").write_text(
        f"Image_Label,EncodedPixels\na.tif_left,1 {6 * 12}\na.tif_right,{6 * 12 + 1} 120\n"
    )
    blocks = {"method": "blocks", "size": 4}
    colored = {1: {"name": "left", "color": "#ff0000"}, 2: {"name": "right", "color": "#0000ff"}}
    forms: list[dict[str, Any]] = [
        {"labels": "codes.tif"},
        {"labels": {"files": "colors.png", "form": "colors"}, "classes": colored},
        {"labels": {"files": "boxes.gpkg", "class_field": "kind"}},
        {"labels": "runs.csv"},
    ]
    for form in forms:
        opened = open_set(tmp_path, **{"images": "a.tif", "split": blocks, "ignore": []} | form)
        found = np.maximum(whole(opened.splits["train"][0]), whole(opened.splits["val"][0]))
        assert np.array_equal(found, halves - 1), form
    right: dict[str, Any] = {"images": "a.tif", "split": blocks, "ignore": [], "task": "binary"}
    for form in (
        {"labels": {"files": "grey.png", "form": "grey"}, "classes": {1: "right"}},
        {"labels": {"files": "boxes.gpkg", "class_field": "kind"}, "classes": {0: "left", 1: "right"}},
    ):
        opened = open_set(tmp_path, **right | form)
        found = np.maximum(whole(opened.splits["train"][0]), whole(opened.splits["val"][0]))
        assert np.array_equal(found, halves - 1), form
    layered = open_set(
        tmp_path, images="a.tif", labels="runs.csv", task="multilabel", ignore=[], split=blocks
    )
    found = np.maximum(whole(layered.splits["train"][0]), whole(layered.splits["val"][0]))
    assert np.array_equal(found, np.stack([halves == 1, halves == 2]))


def test_blocks_share_out_every_image_and_no_pixel_twice(tmp_path: Path) -> None:
    write_set(tmp_path, 3, (30, 36))
    opened = open_set(tmp_path, split={"method": "blocks", "size": 6, "test": 0.2, "buffer": 1})
    assert names(opened) == {split: ["0", "1", "2"] for split in ("train", "val", "test")}
    for parts in zip(*opened.splits.values(), strict=True):
        masks = np.stack([whole(part) for part in parts])
        alone = Pair(name="a", image=parts[0].image, labels=parts[0].labels, channels=parts[0].channels)
        counted = masks != IGNORED
        assert counted.sum(axis=0).max() == 1
        assert np.array_equal(masks.max(axis=0)[counted.any(axis=0)], whole(alone)[counted.any(axis=0)])
        assert (counted.sum(axis=(1, 2)) > 0).all()
    assert len(opened.files) == 6, "a file that several splits share is listed once"


def test_folds_of_blocks_hold_back_every_label_once(tmp_path: Path) -> None:
    write_set(tmp_path, 2, (30, 36))
    fold = {"method": "block_folds", "k": 3, "size": 6, "buffer": 0, "test": True}
    folds = [open_set(tmp_path, split=fold | {"fold": number}).splits for number in range(3)]
    for image in range(2):
        parts = [splits["test"][image] for splits in folds]
        alone = Pair(name="a", image=parts[0].image, labels=parts[0].labels, channels=parts[0].channels)
        held = np.stack([whole(part) for part in parts])
        assert np.array_equal((held != IGNORED).sum(axis=0), whole(alone) != IGNORED)
        assert np.array_equal(held.max(axis=0), whole(alone))


def test_blocks_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, 1, (30, 30))
    with pytest.raises(
        DataError, match="the labels are in 4 blocks, which make 4 folds, expected 5; choose fewer"
    ):
        open_set(tmp_path, split={"method": "block_folds", "k": 5, "size": 15})
    with pytest.raises(DataError, match=r"left in val; choose smaller blocks with data.split.size, or"):
        open_set(tmp_path, split={"method": "blocks", "size": 40})
    with pytest.raises(DataError, match="a smaller data.split.buffer than 10 px"):
        open_set(tmp_path, split={"method": "blocks", "size": 5, "buffer": 10})


def test_bands_are_chosen_by_name_by_number_or_by_count(tmp_path: Path) -> None:
    write_set(tmp_path, 3)
    (first, *_) = open_set(tmp_path, bands=["x", "y"]).splits["train"]
    assert first.image.bands == (1, 2)
    (first, *_) = open_set(tmp_path, bands=["x"], band_numbers=[2]).splits["train"]
    assert first.image.bands == (2,)
    with pytest.raises(
        DataError,
        match=r"has 2 bands, the model expects 1 \(x\); name in data.bands .*data.band_numbers .*same order$",
    ):
        open_set(tmp_path, bands=["x"])


def test_bands_with_other_names_are_not_guessed(tmp_path: Path) -> None:
    import rasterio

    write_set(tmp_path, 3)
    for path in tmp_path.glob("images/*.tif"):
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("green", "blue")
    (first, *_) = open_set(tmp_path).splits["train"]
    assert first.image.bands == (2, 1), "blue and green, as the description says"
    with pytest.raises(DataError, match=r"its bands are green, blue, .*in data.band_numbers which they are"):
        open_set(tmp_path, bands=["red", "nir"])


def break_some(folder: Path) -> None:
    """Image 1 cut short, image 2 with the mask of 4, image 7 without labels."""
    image = folder / "images" / "1.tif"
    image.write_bytes(image.read_bytes()[:-100])
    (folder / "labels" / "2.tif").write_bytes((folder / "labels" / "4.tif").read_bytes())
    (folder / "labels" / "7.tif").unlink()


def test_bad_images_are_listed_or_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, 9)
    whole_split = names(open_set(tmp_path))
    break_some(tmp_path)
    with pytest.raises(DataError) as refused:
        open_set(tmp_path)
    said = str(refused.value)
    assert said.startswith("4 of 9 images cannot be used: (1) ")
    for part in (
        "1.tif: damaged",
        "2.tif: gives image 2 the mask that 4 has",
        "4.tif: gives image 4",
        "1 more",
        "skip_bad=True",
    ):
        assert part in said
    with caplog.at_level(logging.WARNING):
        opened = open_set(tmp_path, skip_bad=True)
    assert [problem.key for problem in opened.left_out] == ["1", "2", "4", "7"]
    assert names(opened) == {s: [k for k in keys if k not in "1247"] for s, keys in whole_split.items()}, (
        "leaving images out moves no other"
    )
    assert not any(path.stem in "1247" for path in opened.files)
    assert "4 of 9 images left out" in caplog.text
    assert "7.tif: has no labels" in caplog.text
    assert open_set(tmp_path, exclude=["1", "2", "7"]).left_out == (), (
        "who knows which mask is wrong excludes it"
    )


def test_images_that_no_split_names_are_not_judged(tmp_path: Path) -> None:
    write_set(tmp_path, 9)
    break_some(tmp_path)
    opened = open_set(tmp_path, split={"train": ["0", "4"], "val": ["3"]})
    assert names(opened) == {"train": ["0", "4"], "val": ["3"], "test": []}


def test_a_split_that_loses_all_its_images_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, 9)
    break_some(tmp_path)
    with pytest.raises(DataError, match=r"nothing is left in val; 2 of 5 images cannot be used") as caught:
        open_set(tmp_path, split={"train": ["0", "3", "5"], "val": ["1", "7"]}, skip_bad=True)
    assert "skip_bad" not in str(caught.value), "that was done already"


def test_images_of_other_sizes_are_brought_to_one(tmp_path: Path) -> None:
    write_set(tmp_path, 2)
    write_set(tmp_path / "more", 3, (20, 9))
    for kind in ("images", "labels"):
        (tmp_path / "more" / kind / "2.tif").rename(tmp_path / kind / "2.tif")
    split = {"train": ["0", "2"], "val": ["1"]}
    stored = open_set(tmp_path, split=split)
    assert [pair.grid.shape for pair in stored.splits["train"]] == [(12, 16), (20, 9)]
    resized = open_set(tmp_path, split=split, image_size=[8, 8], fit="resize")
    for pair, before in zip(resized.splits["train"], stored.splits["train"], strict=True):
        assert pair.grid.shape == (8, 8)
        (height, width), mask = before.grid.shape, whole(before)
        expected = [
            [mask[(2 * r + 1) * height // 16, (2 * c + 1) * width // 16] for c in range(8)] for r in range(8)
        ]
        assert np.array_equal(whole(pair), expected)
    with pytest.raises(DataError, match=r"2.tif: is 20 x 9 px, larger than data.image_size 16 x 16"):
        open_set(tmp_path, split=split, image_size=[16, 16], fit="pad")
    assert open_set(tmp_path, split=split, image_size=[16, 16], fit="crop").splits["train"][1].grid.shape == (
        20,
        9,
    )


def test_the_first_image_is_the_first_that_opens(tmp_path: Path) -> None:
    write_set(tmp_path, 3)
    config = config_of(tmp_path, description())
    assert first_image(config.data, config.data_root) == tmp_path / "images" / "0.tif"
    (tmp_path / "images" / "0.tif").write_bytes(b"")
    assert first_image(config.data, config.data_root) == tmp_path / "images" / "1.tif"
    for path in tmp_path.glob("images/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"0.tif \(and 2 others\): is empty"):
        first_image(config.data, config.data_root)


def test_the_wrong_roof_is_found(shared: Path) -> None:
    fields = {
        "task": "binary", "images": "images/*.png", "labels": {"files": "labels/*.png", "form": "grey"},
        "bands": ["red", "green", "blue"], "classes": {1: "roof"}, "ignore": [],
    }  # fmt: skip
    unlabelled = ["535", "537", "539", "551", "553"]
    with pytest.raises(DataError, match=r"2 of 25 images .*270.png: gives image 270 the mask that 278 has"):
        open_set(shared / "roofs", **fields, exclude=unlabelled)
    assert open_set(shared / "roofs", **fields, exclude=["278", *unlabelled]).left_out == ()
    left_out = open_set(shared / "roofs", **fields, skip_bad=True).left_out
    assert [problem.key for problem in left_out] == ["270", "278", *unlabelled]


def test_forty_polygons_on_one_scene_are_split_by_blocks_with_every_class_in_each(shared: Path) -> None:
    kinds = ("forest", "grass", "urban", "water")
    opened = open_set(
        shared / "aberystwyth_sentinel2",
        images="scene.tif",
        labels="samples.gpkg",
        bands=[f"band {n}" for n in range(10)],
        classes={
            code: {"name": kind, "labels": [f"cls_{kind}_smpls"]} for code, kind in enumerate(kinds, start=1)
        },
        split={"method": "blocks", "val": 0.3},
        ignore=[],
        dtype="uint16",
    )
    counts = {
        split: np.bincount(mask[mask >= 0], minlength=4)
        for split in ("train", "val")
        for mask in [whole(opened.splits[split][0])]
    }
    assert sum(map(sum, counts.values())) == 6580
    assert (counts["train"] > 0).all()
    assert counts["val"] / (counts["train"] + counts["val"]) == pytest.approx(0.3, abs=0.12)
