"""The card: what it refuses, what it keeps, and that reading it needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.grid.legend import Legend
from geoseg.models.card import CARD_KEY, FORMAT, Card
from geoseg.models.card_file import read_card

FIELDS: dict[str, Any] = {
    "name": "test",
    "created_by": "geoseg 0",
    "architecture": "Unet",
    "encoder": "resnet18",
    "bands": [{"name": "blue", "wavelength_nm": 490}, {"name": "green"}],
    "dtype": "uint16",
    "value_range": [0, 10000],
    "scale": [0.0001, 0.0001],
    "offset": [0, 0],
    "mean": [0.1, 0.2],
    "std": [0.05, 0.06],
    "gsd_m": 10,
    "tile": {"size": 256, "overlap": 64},
    "legend": [{"code": 10, "name": "a", "color": "#000000"}, {"code": 30, "name": "b", "color": "#ffffff"}],
    "channels": [30, 10],
}


def header(text: str, *, key: str = CARD_KEY) -> bytes:
    """A safetensors file without tensors whose metadata holds `text`."""
    head = json.dumps({"__metadata__": {key: text}}).encode()
    return len(head).to_bytes(8, "little") + head


def test_a_card_survives_json_with_its_unknown_keys() -> None:
    card = Card(**FIELDS, license="MIT")
    again = Card.from_json(card.to_json())
    assert again == card
    assert again.model_extra == {"license": "MIT"}
    assert card.changed(name="other").model_extra == {"license": "MIT"}
    assert card.classes == Legend(classes=card.legend)
    assert card.band_names == ("blue", "green")


def test_a_card_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Card(**FIELDS).name = "x"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"std": [0.05, 0]}, "std.1: input should be greater than 0, found 0"),
        ({"mean": [0.1]}, "mean has 1 number, expected one for each of 2 bands"),
        ({"mean": [0.1, float("nan")]}, "mean.1"),
        ({"scale": [0, 1]}, "scale is 0"),
        ({"value_range": [5, 5]}, "value_range"),
        ({"tile": {"size": 256, "overlap": 129}}, "overlap is 129 px, expected 0 to 128"),
        ({"channels": [10, 20]}, r"channels \[10, 20\] do not match the legend codes \[10, 30\]"),
        ({"channels": [10, 255]}, "channels.1"),
        ({"legend": [{"code": 255, "name": "a", "color": "#000000"}]}, "255"),
        ({"legend": [{"code": 1, "name": "a", "color": "red"}]}, "#rrggbb"),
        ({"bands": [{"name": "a"}, {"name": "a"}]}, "repeat a name"),
        ({"encoder": "tu-hf-hub:someone/something"}, "encoder"),
        ({"dtype": "complex64"}, "dtype"),
        ({"task": "binary"}, "task binary"),
        ({"task": "multilabel", "thresholds": [0.5]}, "thresholds has 1 number, expected 2"),
        ({"task": "multilabel", "thresholds": [0.5, 1.5]}, "thresholds.1"),
        ({"thresholds": [0.5, 0.5]}, "thresholds belong to binary and multilabel tasks"),
        ({"task": "multilabel", "min_regions": [5]}, "min_regions has 1 number, expected 2"),
        ({"task": "multilabel", "min_regions": [5, -1]}, "min_regions.1"),
        ({"task": "multilabel", "min_regions": [5, 1.5]}, "min_regions.1"),
        ({"min_regions": [5, 5]}, "min_regions belong to binary and multilabel tasks"),
        ({"image_size": [320, 0]}, "image_size.1"),
        ({"image_size": [10**5, 10**5]}, "image_size.0: .* 32768, found 100000"),
        ({"tile": {"size": 0, "overlap": 0}}, "tile.size"),
        ({"tile": {"size": True, "overlap": 0}}, "tile.size: .*valid integer, found True"),
        ({"tile": {"size": 2**62, "overlap": 0}}, "tile.size: .* 32768"),
        ({"tile": {"size": 256, "overlap": True}}, "tile.overlap"),
        (
            {"decoder_options": {"decoder_interpolation": "evil"}},
            "decoder_interpolation is 'evil', expected one of",
        ),
        ({"decoder_options": {"decoder_interpolation": ["nearest"]}}, "decoder_interpolation is"),
        ({"decoder_options": {"decoder_channels": [10**9]}}, "expected a number up to 65536"),
        ({"decoder_options": {"upsampling": 1e9}}, "upsampling is '1000000000.0', expected 1 to 64"),
        ({"decoder_options": {"decoder_channels": [[[1]]]}}, "a list in a list"),
        ({"temperature": 1e-300}, "temperature"),
        ({"temperature": [2.0, 1.0]}, "temperature is a list, expected one number for task multiclass"),
        ({"task": "multilabel", "temperature": [2.0]}, "temperature has 1 number, expected 2"),
        ({"std": [1e-300, 1]}, "too large for float32"),
        ({"ignore_code": 2**40}, "ignore_code"),
        ({"format": True}, "format"),
        ({"weights_sha256": "\x1b[2J"}, r"weights_sha256: .* found '\\x1b\[2J'"),
        ({"name": "x" * 5000}, "name: .* at most 1000 characters, found 'x{77}...'"),
        ({"legend": [{"code": 1, "name": "\x1b[31m", "color": "#000000"}]}, r"control character '\\x1b'"),
        ({"bands": [{"name": str(n)} for n in range(65_536)]}, "bands: .* at most 65535"),
    ],
)
def test_a_card_that_does_not_fit_together_is_refused_in_one_line(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as refusal:
        Card(**{**FIELDS, **changed})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["self", "fields", "classes", "__init__", "model_config"])
def test_any_key_may_be_unknown(key: str) -> None:
    card = Card.from_json(json.dumps({"format": 1, **FIELDS, key: 1}))
    assert card.model_extra == {key: 1}
    assert Card.from_json(card.to_json()).fields()[key] == 1


def test_binary_and_multilabel_are_tasks() -> None:
    legend = Legend.made_up([0, 1])
    binary = {"task": "binary", "legend": legend.classes, "channels": [1], "thresholds": [0.4]}
    assert Card(**{**FIELDS, **binary}).channels == (1,)
    multilabel = Card(**{**FIELDS, "task": "multilabel", "thresholds": [0.4, 0.6], "min_regions": [0, 900]})
    assert Card.from_json(multilabel.to_json()).min_regions == (0, 900)
    assert "min_regions" not in Card(**{**FIELDS, "task": "multilabel"}).fields()


def test_normalisation_is_the_definition_and_tagged_scales_replace_the_cards() -> None:
    card = Card(**FIELDS)
    gain, bias = card.normalisation()
    assert [1234 * g + b for g, b in zip(gain, bias, strict=True)] == pytest.approx(
        [(1234 * 0.0001 + 0 - m) / s for m, s in zip(card.mean, card.std, strict=True)]
    )
    gain, bias = card.normalisation((2.0, 2.0), (1.0, 1.0))
    assert gain[0] == 2 / 0.05
    assert bias[0] == (1 - 0.1) / 0.05


def test_read_card_reads_the_header_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(header(Card(**FIELDS).to_json()))
    assert read_card(path) == Card(**FIELDS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a geoseg model file"),
        (b"GIF89a" + bytes(100), "not a geoseg model file"),
        ((2**62).to_bytes(8, "little") + b"{}", "not a geoseg model file"),
        ((50).to_bytes(8, "little") + b"{" * 50, "not JSON"),
        ((50_000).to_bytes(8, "little") + b"[" * 50_000, "not JSON"),
        (b"\x80\x04" + bytes(100), "torch checkpoint; .*geoseg model import"),
        (b"PK\x03\x04" + bytes(100), "torch checkpoint; .*geoseg model import"),
        (header("{}", key="other"), "geoseg model import"),
        (header("{"), "not readable JSON"),
        (header('{"format":1,"name":NaN}'), "NaN is not a JSON number"),
        (header("[]"), "expected a JSON object"),
        (header(json.dumps({**FIELDS, "format": FORMAT + 1, "added": 1})), "newer than 1.*update geoseg"),
        (header(json.dumps(FIELDS)), "no format number"),
        (header(json.dumps({"format": 1, **FIELDS, "training": {"name": "a\ud800"}})), "lone surrogate"),
        (header(json.dumps({"format": 1, **FIELDS, "training": 10**30})), "not readable JSON"),
        (header(json.dumps({"format": 1})), r"card: name: is missing \(and 13 more\)"),
    ],
)
def test_other_files_are_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as refusal:
        read_card(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "12", "data_offsets": [0, 4]},
        {"dtype": 4, "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_what_a_header_says_of_weights_is_checked(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "m.safetensors"
    head = json.dumps({"__metadata__": {CARD_KEY: Card(**FIELDS).to_json()}, "\x1bw": entry}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(ModelError, match=r"of the weights '\\x1bw' is damaged, expected dtype, shape and"):
        read_card(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            read_card(path)


@given(st.binary(max_size=300))
def test_no_bytes_make_read_card_fail_in_another_way(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        read_card(path)


def test_reading_a_card_imports_no_torch() -> None:
    code = "import sys, geoseg.models.card; sys.exit('torch' in sys.modules or 'safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_content_of_an_older_card_is_found_in_its_training() -> None:
    def card(**labels: object) -> Card:
        training = {"config": {"data": {"labels": labels}}}
        return Card.from_json(json.dumps({**FIELDS, "format": FORMAT, "training": training}))

    assert card(content=[107, 0, 426, 640]).content == (107, 0, 426, 640)
    again = Card.from_json(card(content=[107, 0, 426, 640]).to_json())
    assert again.content == (107, 0, 426, 640)
    assert again.changed(training=None).content == (107, 0, 426, 640), "the training is no contract"
    for broken in ([1, 2, 3], [1, 2, 3, "4"], [0, 0, 0, 5], "all", None):
        assert card(content=broken).content is None
    with pytest.raises(ModelError, match="content"):
        Card(**{**FIELDS, "content": [0, 0, 0, 5]})
