"""Tiles seen in 8 symmetries: the mean of the turned answers, turned back."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.engine.engine import Engine
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.engine.symmetries import SYMMETRIES, Symmetry
from geoseg.grid.tiling import Tiling
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import border_indices
from tests.oracle import Pointwise, pointwise_model

PLAIN = Settings(device="cpu", precision="fp32", batch_size=3, threads=1)
TTA = replace(PLAIN, tta=True)


class Lopsided(torch.nn.Module):
    """Looks up and to the left: every symmetry gives another answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 3, 3, padding=1)
        generator = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.conv.weight.data[:, :, 1:, 2:] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(x)
        return result


def engine_for(module: torch.nn.Module, source: ArraySource, tiling: Tiling, settings: Settings) -> Engine:
    plan = Plan.of(source.grid.shape, tiling, settings.batch_size)
    gain, bias = [1 / 100] * source.count, [-1.0] * source.count
    return Engine(
        network=Network(module.eval(), gain, bias, settings),
        plan=plan,
        reader=RowReader(source, plan, tolerant=False),
        channels=(1, 2, 3),
        keep_probabilities=True,
    )


def probabilities(engine: Engine) -> npt.NDArray[np.float32]:
    parts = [result.probabilities for result in engine.run()]
    return torch.cat([part for part in parts if part is not None], dim=1).numpy()


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_what_is_turned_comes_back(symmetry: Symmetry) -> None:
    planes = torch.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert torch.equal(symmetry.back(symmetry(planes)), planes)


def test_the_eight_symmetries_are_different_and_all_there_are() -> None:
    square = np.arange(9).reshape(3, 3)
    ours = {tuple(symmetry(torch.from_numpy(square)).flatten().tolist()) for symmetry in SYMMETRIES}
    turned = [np.rot90(each, k) for each, k in product((square, square[:, ::-1]), range(4))]
    assert ours == {tuple(each.ravel().tolist()) for each in turned}
    assert len(ours) == 8


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    odds = np.exp(logits - logits.max(axis=0))
    return np.asarray(odds / odds.sum(axis=0))


def convolved(module: Lopsided, tile: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weight, bias = (p.detach().double().numpy() for p in (module.conv.weight, module.conv.bias))
    padded = np.pad(tile, 1)
    rows, cols = tile.shape
    out = np.zeros((len(weight), rows, cols)) + bias[:, None, None]
    for down, right in product(range(3), range(3)):
        out += weight[:, 0, down, right, None, None] * padded[down : down + rows, right : right + cols]
    return out


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 12), st.integers(0, 2**32 - 1), st.data())
def test_the_answer_is_the_mean_of_the_turned_tiles(
    rows: int, cols: int, size: int, seed: int, data: st.DataObject
) -> None:
    """Against a plain loop in float64, over every tile, the shifted last ones and those that stick out too."""
    tiling = Tiling(size=size, overlap=data.draw(st.integers(0, size // 2)))
    pixels = np.random.default_rng(seed).integers(0, 256, (1, rows, cols), dtype=np.uint8)
    source, module = ArraySource.of(pixels), Lopsided()
    plan = Plan.of((rows, cols), tiling, 3)
    margin, padded = plan.margin, plan.padded
    shown = pixels[0][
        np.ix_(border_indices(-margin, padded[0], rows), border_indices(-margin, padded[1], cols))
    ]
    inputs = shown.astype(np.float64) / 100 - 1
    expected = np.zeros((3, *padded))
    tapers = tiling.tapers(padded[0]), tiling.tapers(padded[1])
    for (i, row), (j, col) in product(*map(enumerate, tile_starts((rows, cols), tiling))):
        window = slice(row, row + size), slice(col, col + size)
        tile, mean = inputs[window], np.zeros((3, size, size))
        for mirrored, turns in product((False, True), range(4)):
            seen = np.rot90(tile[:, ::-1] if mirrored else tile, turns)
            answer = np.rot90(softmax(convolved(module, seen)), -turns, axes=(1, 2))
            mean += (answer[:, :, ::-1] if mirrored else answer) / 8
        expected[(slice(None), *window)] += mean * np.outer(tapers[0][i], tapers[1][j])
    inside = slice(margin, margin + rows), slice(margin, margin + cols)
    found = probabilities(engine_for(module, source, tiling, TTA))
    assert np.abs(found - expected[(slice(None), *inside)]).max() <= 1e-5


def test_without_the_symmetries_the_answer_is_another_one() -> None:
    source = ArraySource.of(np.random.default_rng(0).integers(0, 256, (1, 20, 20), dtype=np.uint8))
    plain, turned = (
        probabilities(engine_for(Lopsided(), source, Tiling(size=8, overlap=2), how)) for how in (PLAIN, TTA)
    )
    assert np.abs(plain - turned).max() > 0.1


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 14), st.booleans())
def test_a_pointwise_network_answers_as_without(rows: int, cols: int, size: int, holes: bool) -> None:
    generator = np.random.default_rng(rows * 41 + cols)
    valid = generator.random((rows, cols)) > (0.4 if holes else -1)
    source = ArraySource.of(generator.integers(0, 256, (3, rows, cols), dtype=np.uint8), valid=valid)
    module = pointwise_model(3).network
    assert isinstance(module, Pointwise)
    tiling = Tiling(size=size, overlap=size // 3)
    plain, turned = (probabilities(engine_for(module, source, tiling, how)) for how in (PLAIN, TTA))
    assert np.abs(plain - turned)[:, valid].max(initial=0) <= 1e-6


def test_a_turned_scene_gives_the_turned_answer() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1, 24, 24), dtype=np.uint8)
    tiling = Tiling(size=10, overlap=2)
    assert tile_starts((24, 24), tiling) == ([0, 8, 16], [0, 8, 16]), (
        "none is shifted: it is its own mirror image"
    )
    straight = probabilities(engine_for(Lopsided(), ArraySource.of(pixels), tiling, TTA))
    turned = np.ascontiguousarray(np.rot90(pixels, axes=(1, 2)))
    found = probabilities(engine_for(Lopsided(), ArraySource.of(turned), tiling, TTA))
    assert np.abs(found - np.rot90(straight, axes=(1, 2))).max() <= 1e-6


def test_a_whole_image_that_is_no_square_is_turned_too() -> None:
    source = ArraySource.of(np.random.default_rng(4).integers(0, 256, (1, 12, 20), dtype=np.uint8))
    tiled = engine_for(Lopsided(), source, Tiling(size=8, overlap=2), replace(TTA, batch_size=1))
    whole = replace(tiled, plan=Plan.whole((12, 20)), image_size=(12, 20))
    whole.reader = RowReader(source, whole.plan, tolerant=False)
    inputs = source.pixels[0].astype(np.float64) / 100 - 1
    expected = np.zeros((3, 12, 20))
    for mirrored, turns in product((False, True), range(4)):
        seen = np.rot90(inputs[:, ::-1] if mirrored else inputs, turns)
        answer = np.rot90(softmax(convolved(Lopsided(), seen)), -turns, axes=(1, 2))
        expected += (answer[:, :, ::-1] if mirrored else answer) / 8
    assert np.abs(probabilities(whole) - expected).max() <= 1e-5
