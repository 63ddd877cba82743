"""Checkpoints that other programs wrote in environments of their own, and the logits they got of them.

``make_checkpoint_geoai.py`` and ``make_checkpoint_ftw.py`` beside this file write them; the folder is named by
GEOSEG_PEERS, else it is ``build/peers/checkpoints``. Without one the tests skip.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.grid.legend import Legend
from geoseg.models.importing import import_model
from geoseg.models.model import Model
from tests.conftest import skip_without

pytestmark = pytest.mark.peers

FOLDER = Path(os.environ.get("GEOSEG_PEERS", Path(__file__).parents[2] / "build" / "peers" / "checkpoints"))
NAMES = ("geoai_checkpoint.pth", "geoai_final_model.pth", "geoai_lightning.ckpt", "ftw.ckpt")


@pytest.fixture(params=NAMES)
def peer(request: pytest.FixtureRequest) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """The imported model, what was told about it, and the program's arrays."""
    path = FOLDER / request.param
    skip_without("peers", path.is_file())
    told = json.loads((FOLDER / f"{path.name}.json").read_text())
    with np.load(FOLDER / f"{path.name}.npz") as arrays:
        made = dict(arrays)
    imported = import_model(
        path,
        bands=[f"b{i}" for i in range(told["bands"])],
        classes=Legend.parse(",".join(f"c{i}" for i in range(told["classes"]))),
        architecture=told.get("architecture"),
        encoder=told.get("encoder"),
        scale=told["scale"] if told.get("untold") else None,
        tile_size=64,
    )
    return imported, told, made


def test_the_logits_are_the_ones_of_the_program(
    peer: tuple[Model, dict[str, Any], dict[str, Any]],
) -> None:
    imported, told, made = peer
    with torch.inference_mode():
        ours = imported.network(torch.from_numpy(made["input"]))
    theirs = torch.from_numpy(made["logits"])
    difference = float((ours - theirs).abs().max())
    print(
        f"{told['program']}, torch {told['torch']}: largest difference {difference:g} of {float(theirs.std()):g}"
    )
    assert torch.equal(ours, theirs) if told["torch"] == torch.__version__ else difference <= 1e-5


def test_the_card_feeds_the_network_as_the_program_does(
    peer: tuple[Model, dict[str, Any], dict[str, Any]],
) -> None:
    imported, told, made = peer
    card = imported.card
    gain, bias = (np.array(numbers)[:, None, None] for numbers in card.normalisation())
    assert made["stored"].dtype == card.dtype == told["dtype"]
    np.testing.assert_allclose(made["stored"] * gain + bias, made["input"], rtol=2e-7)
