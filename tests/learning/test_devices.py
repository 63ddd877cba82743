"""Several devices that train together, here processes of the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import load_file

from geoseg.models.card_file import read_card


def train(config: Path, output: Path, *changes: str) -> None:
    """Run the command: Lightning starts the other process by calling it again."""
    changed = [word for change in changes for word in ("--set", change)]
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    subprocess.run(
        [sys.executable, "-m", "cli", "-q", "train", str(config), "-o", str(output), *changed],
        check=True,
        env=environment | {"CUDA_VISIBLE_DEVICES": ""},
        timeout=500,
    )


@pytest.mark.long
def test_two_devices_learn_what_one_learns_with_twice_the_batch(toy: Path, tmp_path: Path) -> None:
    # Means of two halves are the mean of the whole only where each pixel counts.
    for first, path in enumerate(sorted((tmp_path / "labels").iterdir())):
        with rasterio.open(path, "r+") as file:
            codes = file.read(1)
            codes[codes == 0] = 10
            codes[: first + 1, -1] = 10  # one mask under two images would be refused
            file.write(codes, 1)
    same = (
        "train.loss=ce", "train.optimizer=sgd", "train.learning_rate=0.05", "train.schedule=constant",
        "train.batch_statistics=false", "train.augment=none", "train.clip_gradient=null", "train.epochs=2",
        "train.chips_per_epoch=16", "train.device=cpu", "train.precision=fp32", "train.weight_decay=0",
    )  # fmt: skip
    train(toy, tmp_path / "two", *same, "train.devices=2", "train.batch_size=2")
    train(toy, tmp_path / "one", *same, "train.devices=1", "train.batch_size=4")
    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert two.keys() == one.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=5e-4, msg=name)
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("two", "one")
    ]
    assert [line["epoch"] for line in lines[0]] == [1, 2]
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(*([line[key] for line in each] for each in lines), rtol=1e-3)
    training = [read_card(tmp_path / name / "model.safetensors").training or {} for name in ("two", "one")]
    assert training[0]["images"] == training[1]["images"]
    assert sorted(p.name for p in (tmp_path / "two").glob("*.ckpt")) == []
