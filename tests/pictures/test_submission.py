"""What a model finds as a competition's table: by hand, decoded again, resumed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import geoseg
from geoseg.errors import DataError, OptionError, OutputExistsError, ResumeError
from geoseg.grid.legend import Legend
from geoseg.labels.rle import decode
from geoseg.models.model import Model
from geoseg.pictures import submission
from geoseg.pictures.masks import large_regions
from geoseg.pictures.predict_pictures import PicturesReport
from geoseg.pictures.sheet import plan_sheet
from tests.oracle import Pointwise, pointwise_card, pointwise_model, right_answer
from tests.pictures.test_predict_pictures import Dying

FP32 = {"precision": "fp32", "device": "cpu", "batch_size": 4}
CLOUDS = ("Sugar", "Flower", "Fish")
Mask = npt.NDArray[np.uint8]


def painted(**changes: Any) -> Model:
    """A model to which a class is where its band is bright: Sugar red, Flower green, Fish blue."""
    codes = (0, 1) if changes.get("task") == "binary" else (1, 2, 3)
    names = dict(zip(codes, ("none", "roof") if len(codes) == 2 else CLOUDS, strict=True))
    fields = {"task": "multilabel", "legend": Legend.made_up(codes, names).classes} | changes
    card = pointwise_card(3, codes, **fields)
    network = Pointwise(3, len(card.channels), 1)
    network.weight.data = 60 * torch.eye(3)[: len(card.channels), :, None, None]
    network.bias = torch.nn.Parameter(torch.zeros(len(card.channels)))
    return Model(card, network.eval())


def paint(path: Path, layers: Sequence[Mask]) -> None:
    """Write masks as the bands of a picture."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.stack(layers, axis=-1).astype(np.uint8) * 255).save(path)


A = [
    np.array([[1, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]]),
    np.zeros((3, 4)),
    np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]),
]
B = [np.zeros((3, 4)), np.ones((3, 4)), np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])]

BY_HAND = """\
Image_Label,EncodedPixels
a.png_Fish,5 1 8 1
a.png_Flower,
a.png_Sugar,1 2 8 1 10 3
b.png_Fish,12 1
b.png_Flower,1 12
b.png_Sugar,
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    paint(folder / "b.png", B)
    paint(folder / "a.png", A)
    return folder


def test_the_table_is_the_one_written_by_hand(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "sub.csv"
    report = geoseg.predict_pictures(images, painted(), submission=table, **FP32)
    assert table.read_text() == BY_HAND
    assert (report.done, report.exit_code) == (("a.png", "b.png"), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "sub.csv", "sub.csv.run.json"]
    stamp = table.stat().st_mtime_ns
    again = geoseg.predict_pictures(images, painted(), submission=table, **FP32)
    assert (again.done, again.skipped, again.exit_code) == ((), 2, 0)
    assert table.stat().st_mtime_ns == stamp
    other = {"size": (6, 8)}
    with pytest.raises(OutputExistsError, match="already exists; pass overwrite=True"):
        geoseg.predict_pictures(images, painted(), submission=table, **other, **FP32)
    one = {"size": (3, 4), "content": (0, 0, 3, 4)}
    geoseg.predict_pictures(images, painted(), submission=table, **one, **FP32, overwrite=True)
    assert table.read_text() == BY_HAND


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (
            "Image_Label,EncodedPixels\nb.png_Fish,1 1\nb.png_Sugar,1 1\na.png_Sugar,\na.png_Fish,\n",
            "Image_Label,EncodedPixels\nb.png_Fish,12 1\nb.png_Sugar,\na.png_Sugar,1 2 8 1 10 3\na.png_Fish,5 1 8 1\n",
        ),
        (
            "ImageId,ClassId,EncodedPixels\r\na.jpg,Flower,1 1\r\na.jpg,Sugar,1 1\r\n",
            "ImageId,ClassId,EncodedPixels\na.jpg,Flower,\na.jpg,Sugar,1 2 8 1 10 3\n",
        ),
    ],
)
def test_a_sample_says_columns_rows_and_order(
    images: Path, tmp_path: Path, sample: str, expected: str
) -> None:
    (tmp_path / "sample.csv").write_text(sample)
    form = {"sample": tmp_path / "sample.csv"}
    geoseg.predict_pictures(images, painted(), submission=tmp_path / "sub.csv", **form, **FP32)
    assert (tmp_path / "sub.csv").read_text() == expected


def test_one_class_needs_no_name(images: Path, tmp_path: Path) -> None:
    model = painted(task="binary")
    table = tmp_path / "sub.csv"
    geoseg.predict_pictures(images, model, submission=table, **FP32)
    assert table.read_text() == "ImageId,EncodedPixels\na.png,1 2 8 1 10 3\nb.png,\n"
    (tmp_path / "sample.csv").write_text("ImageId,EncodedPixels\nb,1 1\na,1 1\n")
    form = {"sample": tmp_path / "sample.csv"}
    geoseg.predict_pictures(images, model, submission=tmp_path / "s.csv", **form, **FP32)
    assert (tmp_path / "s.csv").read_text() == "ImageId,EncodedPixels\nb,\na,1 2 8 1 10 3\n"


def test_classes_that_exclude_each_other_share_the_pixels(images: Path, tmp_path: Path) -> None:
    paint(images / "a.png", [A[0], np.zeros((3, 4)), 1 - A[0]])
    model = painted(task="multiclass")
    table = tmp_path / "sub.csv"
    geoseg.predict_pictures(images / "a.png", model, submission=table, **FP32)
    assert table.read_text().splitlines()[1:] == [
        "a.png_Fish,3 5 9 1",
        "a.png_Flower,",
        "a.png_Sugar,1 2 8 1 10 3",
    ]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            "Image_Label,EncodedPixels\nc.png_Fish,\n",
            "names c.png, expected one picture of this name, found none",
        ),
        (
            "Image_Label,EncodedPixels\na.png_Fog,\n",
            "names Fog, expected classes of the model: Fish, Flower, Sugar",
        ),
        ("ImageId,EncodedPixels\na.png,\n", "names no classes, and the model has Fish, Flower, Sugar"),
        (
            "Image_Label,EncodedPixels\na.png_Fish,\nb.png_Fish,\na.png_Sugar,\nb.png_Sugar,\n",
            "the rows of a.png are not together",
        ),
        ("Image_Label,Usage,EncodedPixels,Score\na.png_Fish,x,,1\n", "has the columns Image_Label, Usage"),
    ],
)
def test_a_sample_that_cannot_be_followed_is_refused(
    images: Path, tmp_path: Path, sample: str, message: str
) -> None:
    (tmp_path / "sample.csv").write_text(sample)
    form = {"sample": tmp_path / "sample.csv"}
    with pytest.raises(DataError, match=message):
        geoseg.predict_pictures(images, painted(), submission=tmp_path / "sub.csv", **form, **FP32)
    assert not (tmp_path / "sub.csv").exists()


def smooth(shape: tuple[int, int], seed: int) -> Mask:
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))


def rows_of(table: Path) -> dict[str, str]:
    with table.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["Image_Label", "EncodedPixels"]
    return dict(rows)


@pytest.mark.parametrize("size", [(20, 31), (60, 90)])
def test_content_is_cut_out_and_probabilities_are_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    """Against Pillow's resizing of the probabilities in float64; decoded again."""
    model = pointwise_model(codes=(1, 2, 3), task="multilabel", thresholds=[0.3, 0.5, 0.6])
    (tmp_path / "images").mkdir()
    pictures = {}
    for seed, name in enumerate(("a.png", "b.png")):
        pictures[name] = smooth((44, 50), seed)
        Image.fromarray(pictures[name]).save(tmp_path / "images" / name)
    row, col, height, width = content = (5, 2, 30, 45)
    form = {"size": size, "content": content}
    geoseg.predict_pictures(tmp_path / "images", model, submission=tmp_path / "s.csv", **form, **FP32)
    found = rows_of(tmp_path / "s.csv")
    classes = sorted(model.card.classes.names)
    assert list(found) == [f"{name}_{each}" for name in pictures for each in classes]
    for name, pixels in pictures.items():
        probabilities = right_answer(model, np.moveaxis(pixels, -1, 0))[1]
        for i, each in enumerate(model.card.classes.names):
            part = probabilities[i, row : row + height, col : col + width].astype(np.float32)
            expected = np.asarray(Image.fromarray(part).resize(size[::-1], Image.Resampling.BILINEAR))
            threshold = (model.card.thresholds or ())[i]
            sure = np.abs(expected - threshold) > 1e-4
            assert sure.mean() > 0.9
            mask = decode(found[f"{name}_{each}"], size)
            np.testing.assert_array_equal(mask[sure], (expected > threshold)[sure])


def test_where_nothing_is_known_nothing_is(tmp_path: Path) -> None:
    white = np.full((10, 10, 4), 255, dtype=np.uint8)
    white[:, 5:, 3] = 0
    white[:, 5:, :3] = 0
    (tmp_path / "images").mkdir()
    Image.fromarray(white).save(tmp_path / "images" / "a.png")
    form = {"size": (20, 20)}
    geoseg.predict_pictures(tmp_path / "images", painted(), submission=tmp_path / "s.csv", **form, **FP32)
    half = np.arange(20)[None].repeat(20, axis=0) < 10
    for runs in rows_of(tmp_path / "s.csv").values():
        np.testing.assert_array_equal(decode(runs, (20, 20)), half)


def test_the_models_card_says_which_part_is_shown_also_an_older_one_whose_training_does(
    tmp_path: Path,
) -> None:
    training = {"config": {"data": {"labels": {"form": "run_lengths", "content": [1, 0, 3, 4]}}}}
    model = painted(training=training)
    assert model.card.content == painted(content=(1, 0, 3, 4)).card.content == (1, 0, 3, 4)
    assert painted().card.content is None
    bar = np.ones((1, 4))
    paint(tmp_path / "images" / "a.png", [np.concatenate([bar, layer, bar]) for layer in A])
    paint(tmp_path / "images" / "b.png", [np.concatenate([bar, layer, bar]) for layer in B])
    geoseg.predict_pictures(tmp_path / "images", model, submission=tmp_path / "s.csv", **FP32)
    assert (tmp_path / "s.csv").read_text() == BY_HAND
    paint(tmp_path / "images" / "b.png", [layer[:3, :3] for layer in B])
    report = geoseg.predict_pictures(tmp_path / "images", model, submission=tmp_path / "t.csv", **FP32)
    ((name, reason),) = report.failed
    assert name == "b.png"
    assert "the content 1,0,3,4 sticks out of its 3 x 3 px; pass another content=" in reason
    lines = BY_HAND.splitlines()
    expected = [*lines[:4], "b.png_Fish,", "b.png_Flower,", "b.png_Sugar,"]
    assert (tmp_path / "t.csv").read_text().splitlines() == expected


def test_small_regions_are_left_out_by_their_share_of_the_ground(tmp_path: Path) -> None:
    """Of 4 px on the picture; the table shows each of its pixels as 4."""
    red = np.zeros((12, 12))
    red[1:3, 1:3] = 1
    red[6, 6:9] = 1
    paint(tmp_path / "images" / "a.png", [red, red, red])
    model = painted(min_regions=(4, 0, 5))
    form = {"size": (24, 24)}
    geoseg.predict_pictures(tmp_path / "images", model, submission=tmp_path / "s.csv", **form, **FP32)
    found = {name: decode(runs, (24, 24)) for name, runs in rows_of(tmp_path / "s.csv").items()}
    every = red.repeat(2, axis=0).repeat(2, axis=1) > 0
    np.testing.assert_array_equal(found["a.png_Flower"], every)
    assert found["a.png_Sugar"].sum() == 16
    assert not found["a.png_Fish"].any()


@settings(max_examples=40)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 9))
def test_a_region_is_as_small_at_any_size(least: int, above: int, below: int) -> None:
    """A row of n px in the table is n * below / above px of the picture's own grid."""
    card = pointwise_card(codes=(0, 1), task="binary", min_regions=(least,))
    for n in (1, 2, 3, 4, 7, 12, 13, 27, 60):
        codes = np.zeros((1, 64), dtype=np.uint8)
        codes[0, :n] = 1
        kept = large_regions(card, codes, above / below)
        assert kept.any() == (n * below >= least * above)


def test_the_sizes_of_regions_are_those_of_the_channels_whatever_their_order() -> None:
    card = pointwise_card(codes=(8, 3, 5), task="multilabel", min_regions=(4, 0, 2))
    codes = np.zeros((3, 5, 5), dtype=np.uint8)
    codes[:, 1, 1:4] = 1
    assert large_regions(card, codes).any(axis=(1, 2)).tolist() == [True, True, False], "codes 3, 5 and 8"


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_table_goes_on_after_a_kill(tmp_path: Path, calls: int) -> None:
    # Weights that have a name, as those of a file: wrapped ones would have another.
    model = pointwise_model(codes=(1, 2, 3), task="multilabel", weights_sha256="0" * 64)
    (tmp_path / "images").mkdir()
    for i in range(7):
        Image.fromarray(smooth((12, 11), i)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images" / "1.png").write_bytes(b"no picture")
    form = {"size": (20, 20)}
    options = {"precision": "fp32", "device": "cpu", "batch_size": 2}
    pictures, table = tmp_path / "images", tmp_path / "s.csv"
    whole = geoseg.predict_pictures(pictures, model, submission=tmp_path / "w.csv", **form, **options)
    dying = Model(model.card, Dying(model.network, calls))
    with pytest.raises(KeyboardInterrupt):
        geoseg.predict_pictures(pictures, dying, submission=table, **form, **options)
    assert not table.exists()
    other = form | {"size": (10, 10)}
    if (tmp_path / "s.csv.geoseg-part").exists():
        journal = (tmp_path / "s.csv.geoseg-part" / "journal.jsonl").read_text().splitlines()
        assert sum("part" in json.loads(line) for line in journal) >= max(0, calls - 1)
        with pytest.raises(ResumeError, match="unfinished work with form"):
            geoseg.predict_pictures(pictures, model, submission=table, **other, **options)
    report = geoseg.predict_pictures(pictures, model, submission=table, **form, **options)
    assert table.read_bytes() == (tmp_path / "w.csv").read_bytes()
    assert report.failed == whole.failed
    assert report.skipped + len(report.done) == 6
    assert report.skipped or calls < 2


def test_a_kill_after_the_table_has_its_name_leaves_the_rest_to_the_same_command(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "sub.csv"
    (images / "c.png").write_bytes(b"no picture")

    def run() -> PicturesReport:
        return geoseg.predict_pictures(images, painted(), submission=table, **FP32)

    def killed(_: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(submission, "run_file", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert table.exists()
    content = table.read_bytes()
    for _ in range(2):  # goes on; was finished before
        report = run()
        assert (report.done, report.skipped, report.exit_code) == ((), 2, 3)
        assert [name for name, _ in report.failed] == ["c.png"]
    assert table.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "sub.csv", "sub.csv.run.json"]


@pytest.mark.long
def test_the_table_of_clouds(shared: Path, tmp_path: Path) -> None:
    """Order and columns of the competition; what is written decodes to what the model alone says."""
    model = Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse("Sugar,Flower,Fish,Gravel"),
        task="multilabel",
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
        tile_size=64,
    )
    content, size = (107, 0, 426, 640), (350, 525)
    model.card = model.card.changed(image_size=(64, 96))
    sample = (shared / "clouds" / "train.csv").read_text().splitlines()[: 1 + 3 * 4]
    (tmp_path / "sample.csv").write_text("\n".join(sample))
    form = {"size": size, "content": content, "sample": tmp_path / "sample.csv"}
    folder, table = shared / "clouds" / "images", tmp_path / "s.csv"
    options = {"precision": "fp32", "device": "cpu", "batch_size": 500}
    report = geoseg.predict_pictures(folder, model, submission=table, **form, **options)
    assert (len(report.done), report.settings["batch_size"]) == (3, 3)
    found = rows_of(table)
    assert list(found) == [row.partition(",")[0] for row in sample[1:]]
    assert [name.rpartition("_")[2] for name in found] == ["Fish", "Flower", "Gravel", "Sugar"] * 3
    name = report.done[0]
    one = geoseg.predict(folder / name, model, **options)["landcover"].to_numpy()
    for layer, each in zip(one, model.card.classes.names, strict=True):
        inside = layer[107:533].astype(np.float32)
        near = np.asarray(Image.fromarray(inside).resize(size[::-1], Image.Resampling.BILINEAR))
        sure = np.abs(near - 0.5) > 0.45
        assert (decode(found[f"{name}_{each}"], size) == (near > 0.5))[sure].mean() > 0.99


def test_names_that_a_spreadsheet_would_run_are_written_as_the_sample_has_them(tmp_path: Path) -> None:
    card, line = painted(task="binary").card, "=a.png,1 2\n"
    assert plan_sheet(["=a.png"], card).rows("=a.png", {1: "1 2"}) == f"'{line}"
    for before in ("", "'"):
        sample = tmp_path / f"sample{len(before)}.csv"
        sample.write_text(f"ImageId,EncodedPixels\n{before}=a.png,\n")
        assert plan_sheet(["=a.png"], card, sample).rows("=a.png", {1: "1 2"}) == f"{before}{line}"


def test_a_form_without_a_pixel_is_refused() -> None:
    for values in ((0, 0, 0, 5), (0, 0, 5, 0), (-1, 0, 5, 5)):
        with pytest.raises(OptionError, match="content is .*, expected row, column, height and width in px"):
            geoseg.predict_pictures(".", "m.safetensors", submission="s.csv", content=values)
    with pytest.raises(OptionError, match="size is 0 x 4 px, expected at least 1 x 1"):
        geoseg.predict_pictures(".", "m.safetensors", submission="s.csv", size=(0, 4))
