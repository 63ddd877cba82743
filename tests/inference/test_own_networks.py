"""Networks of one's own: wrapped they predict, alone they are refused in words that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest
import torch
import xarray
from torch import Tensor, nn

import geoseg
from geoseg.errors import GeosegError, ModelError, OptionError, OutputExistsError

FP32 = {"precision": "fp32", "device": "cpu", "batch_size": 2}
PIXELS = np.random.default_rng(0).integers(0, 201, (2, 40, 50), dtype=np.uint8)


class Brighter(nn.Module):
    """Logits are the bands themselves: the class is the brighter band; of which form the answer is `form` says."""

    def __init__(self, form: Callable[[Tensor], Any] = lambda logits: logits, channels: int = 2) -> None:
        super().__init__()
        self.form, self.channels = form, channels

    def forward(self, image: Tensor) -> Any:
        return self.form(image[:, : self.channels])


def wrapped(module: nn.Module, **changes: Any) -> geoseg.Model:
    fields: dict[str, Any] = {"bands": ["a", "b"], "classes": "dark=#112233,bright", "value_range": (0, 200)}
    return geoseg.Model.wrap(module, **(fields | {"tile_size": 16, "overlap": 4} | changes))


def expected() -> tuple[np.ndarray, np.ndarray]:
    """Codes, and the probability of the second class; a tie goes to the first."""
    low, high = PIXELS.astype(np.float64) / 200
    return np.where(high > low, 2, 1), 1 / (1 + np.exp(low - high))


@pytest.mark.parametrize(
    "form",
    [
        lambda logits: logits,
        lambda logits: {"out": logits, "aux": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
    ids=["tensor", "torchvision", "transformers"],
)
def test_a_wrapped_module_is_a_model(form: Callable[[Tensor], Any], tmp_path: Path) -> None:
    model = wrapped(Brighter(form))
    found = geoseg.predict(PIXELS, model, **FP32, probabilities=True)
    codes, share = expected()
    np.testing.assert_array_equal(found["landcover"], codes)
    np.testing.assert_allclose(found["probabilities"][1], share, atol=1e-6)
    np.testing.assert_allclose(found["probabilities"].sum("class"), 1, atol=1e-6)
    assert found["class"].to_numpy().tolist() == ["dark", "bright"]
    assert model.card.classes[1].color == "#112233"
    assert set(geoseg.segment(PIXELS, model, **FP32)["class_name"]) == {"dark", "bright"}
    with pytest.raises(ModelError, match=r"a network of your own \(Brighter\) cannot be saved"):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_stored_numbers_reach_the_module_as_it_was_said() -> None:
    seen: list[Tensor] = []

    def form(logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    model = wrapped(Brighter(form), scale=0.5, mean=[10, 20], std=[2], overlap=0)
    geoseg.predict(PIXELS[:, :16, :16], model, **FP32)
    pixels = PIXELS[:, :16, :16] * 0.5
    np.testing.assert_allclose(seen[-1][0, 0], (pixels[0] - 10) / 2, rtol=1e-6)
    np.testing.assert_allclose(seen[-1][0, 1], (pixels[1] - 20) / 2, rtol=1e-6)


def test_fewer_rows_and_columns_are_brought_back() -> None:
    model = wrapped(Brighter(lambda logits: nn.functional.avg_pool2d(logits, 4)))
    flat = np.zeros((2, 32, 32), dtype=np.uint8)
    flat[1, :, 16:] = 200
    found = geoseg.predict(flat, model, **FP32)["landcover"].to_numpy()
    assert found.shape == (32, 32)
    assert (found[:, :12] == 1).all()
    assert (found[:, 20:] == 2).all()


def test_binary_and_multilabel_tasks() -> None:
    one = wrapped(Brighter(channels=1), classes=["water"], task="binary")
    assert one.card.classes.codes == (0, 1)
    two = wrapped(Brighter(channels=1), classes=["land", "water"], task="binary")
    assert two.card.classes.names == ("land", "water")
    both = wrapped(Brighter(), task="multilabel")
    assert geoseg.predict(PIXELS, both, **FP32)["landcover"].dims == ("class", "y", "x")


def test_what_was_finished_before_is_not_known_of_code_that_may_have_changed(tmp_path: Path) -> None:
    output = tmp_path / "c.tif"
    geoseg.predict(PIXELS, wrapped(Brighter()), **FP32, output=output)
    with pytest.raises(OutputExistsError):
        geoseg.predict(PIXELS, wrapped(Brighter(lambda logits: -logits)), **FP32, output=output)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_lazy_scenes_take_a_wrapped_module(scheduler: str) -> None:
    model = wrapped(Brighter())
    scene = xarray.DataArray(dask.array.from_array(PIXELS, chunks=(2, 17, 23)), dims=("band", "y", "x"))
    lazy = geoseg.predict(scene, model, **FP32, probabilities=True)
    assert dask.is_dask_collection(lazy["probabilities"].data)
    found, eager = (
        lazy.compute(scheduler=scheduler),
        geoseg.predict(PIXELS, model, **FP32, probabilities=True),
    )
    for name in ("landcover", "confidence", "probabilities"):
        np.testing.assert_array_equal(found[name], eager[name])


def test_a_module_that_cannot_be_sent_to_other_processes_says_so() -> None:
    import threading

    from geoseg.inference.worker_models import sendable

    module = Brighter()
    module.lock = threading.Lock()
    with pytest.raises(ModelError, match="cannot be sent to other processes.*scheduler 'threads'"):
        sendable(wrapped(module)).__reduce__()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"classes": "a,b,c"},
            r"answers an input of shape \(1, 2, 16, 16\) with shape \(1, 2, 16, 16\), expected \(1, 3",
        ),
        ({"bands": "red"}, "expected the names of the bands"),
        (
            {"bands": ["a"]},
            r"expected \(1, 2, row, col\): a channel for each class; for a single channel .* task='binary'",
        ),
        ({"module": nn.Conv2d(3, 2, 1)}, r"Conv2d refuses an input of shape \(1, 2, 16, 16\)"),
        ({"module": Brighter(lambda logits: [logits])}, "returns a list, expected a tensor of logits"),
        ({"module": "net.pt"}, "expected a torch.nn.Module, found str"),
        ({"value_range": (5, 5)}, "value_range"),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GeosegError, match=said) as caught:
        wrapped(changes.pop("module", Brighter()), **changes)
    assert "\n" not in str(caught.value)


def test_a_network_alone_is_refused_everywhere(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    lazy = xarray.DataArray(dask.array.from_array(PIXELS), dims=("band", "y", "x"))
    for call in (
        lambda model: geoseg.predict(PIXELS, model),
        lambda model: geoseg.predict(lazy, model),
        lambda model: geoseg.segment(PIXELS, model),
        lambda model: geoseg.predict_pictures(tmp_path / "pictures", model, output=tmp_path / "masks"),
        lambda model: geoseg.quantize(model, [PIXELS]),
    ):
        with pytest.raises(
            ModelError, match=r"Brighter is only a network.*geoseg\.Model\.wrap\(module, bands="
        ):
            call(Brighter())
        with pytest.raises(ModelError, match=r"expected a model file or a geoseg\.Model, found dict"):
            call({})


def test_probabilities_are_returned_or_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="probabilities is True, expected the path of a file"):
        geoseg.predict(PIXELS, wrapped(Brighter()), probabilities=True, output=tmp_path / "c.tif")
    assert "probabilities" not in geoseg.predict(PIXELS, wrapped(Brighter()), **FP32)


def test_another_tile_size_is_tried_before_the_work() -> None:
    class Fixed(Brighter):
        def forward(self, image: Tensor) -> Any:
            return super().forward(image) + torch.zeros(16, 16)

    with pytest.raises(OptionError, match=r"Fixed refuses an input of shape \(1, 2, 24, 24\).*tile_size"):
        geoseg.predict(PIXELS, wrapped(Fixed()), tile_size=24)
