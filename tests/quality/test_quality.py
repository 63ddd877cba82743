"""The short form of `quality.py`: what a few steps must be worth, and that its parts do what they say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.errors import ConfigError
from geoseg.learning.train import train
from geoseg.models.card_file import read_card

HERE = Path(__file__).parent


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of this folder, which are scripts and no package."""
    monkeypatch.syspath_prepend(str(HERE))
    return {name: importlib.import_module(name) for name in ("protocols", "forests", "pixels", "quality")}


def test_places_are_trained_or_validated_or_tested_on(
    parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    protocol = parts["protocols"].PROTOCOLS["hls"]
    splits = [protocol.config(part).data.split for part in protocol.parts]
    for split in splits:
        together = [*split.train, *split.val, *split.test]
        assert sorted(together) == list(range(30))
    assert sorted(place for split in splits for place in split.test) == list(range(30)), "each is tested once"


def test_every_part_of_every_set_is_a_configuration(
    parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    for protocol in parts["protocols"].PROTOCOLS.values():
        configs = [protocol.config(part) for part in protocol.parts]
        assert all(config.train.threads == 1 for config in configs)
        assert len({json.dumps(config.fields(), default=str) for config in configs}) == len(configs)
    with pytest.raises(ConfigError):
        protocol.config("seed 0", ["train.epochs=none"])


def test_surroundings_are_means_and_deviations(parts: Any) -> None:
    image = np.random.default_rng(0).normal(size=(2, 20, 21)).astype(np.float32)
    features = parts["forests"].surrounded(image)
    assert features.shape == (10, 20, 21)
    around = image[:, 7:10, 4:7]
    np.testing.assert_allclose(features[2:4, 8, 5], around.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features[4:6, 8, 5], around.std(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_the_table_has_means_and_deviations(parts: Any, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    lines = [
        {
            "set": "hls",
            "part": f"fold {i}",
            "method": "forest",
            "cpu_seconds": 10.0,
            "scores": {"mean_iou": iou},
        }
        for i, iou in enumerate((0.5, 0.6))
    ]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert parts["quality"].table(results).splitlines()[2:] == [
        "| hls | mean_iou | 2 of 5 | forest | 0.550 | 0.071 | 10 |"
    ]


@pytest.mark.long
def test_forty_steps_find_roofs(
    parts: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forest of 7 px has 0.51 on the test images; random weights hardly find a roof in forty steps."""
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    changes = ["train.chip_size=128", "train.epochs=4", "data.split.test=[]", "train.precision=fp32"]
    config = parts["protocols"].PROTOCOLS["roofs"].config("seed 0", changes)
    training = read_card(train(config, output=tmp_path / "run")).training or {}
    metrics: Any = training["metrics"]
    assert metrics["val"]["per_image"]["dice"]["roof"] > 0.6


@pytest.mark.long
def test_a_forest_scores_what_it_did(parts: Any, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    found = parts["quality"].cell("roofs", "seed 0", "forest")["scores"]
    assert found["accuracy"] == pytest.approx(0.869, abs=0.005)
