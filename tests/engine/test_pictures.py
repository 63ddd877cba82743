"""Batches filled across pictures give what the engine gives of each alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.engine import array_pictures, torch_pictures
from geoseg.engine.array_pictures import ArrayPictures
from geoseg.engine.conversion import converted
from geoseg.engine.cutting import Cutting, Picture, Scaling, read_picture
from geoseg.engine.decision import Decision
from geoseg.engine.engine import Engine
from geoseg.engine.mosaic import Deciding
from geoseg.engine.network import Network
from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.pictures import PictureEngine, PictureTerms, Shown
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.engine.torch_pictures import TorchPictures
from geoseg.errors import GeosegError
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from tests.engine.test_engine import EACH, MODEL, Greedy, Holed, scenes, tilings
from tests.oracle import pointwise_model

Found = list[tuple[str, npt.NDArray[np.uint8], bool]]


def torch_engine(model: Model, cutting: Cutting, batch: int, shown: Shown | None = None) -> TorchPictures:
    settings = Settings(device="cpu", precision="fp32", batch_size=batch, threads=1)
    return TorchPictures(
        network_for=lambda scaling: network_of(model, scaling, settings),
        terms=terms(model, cutting, shown),
        settings=settings,
    )


def terms(model: Model, cutting: Cutting, shown: Shown | None) -> PictureTerms:
    card = model.card
    deciding = Deciding(task=card.task, channels=card.channels, thresholds=card.thresholds)
    return PictureTerms(cutting=cutting, deciding=deciding, shown=shown or Shown())


def network_of(model: Model, scaling: Scaling, settings: Settings) -> Network:
    return Network(model.network, *scaling, settings, model.card.divisor, model.card.task)


def cut(model: Model, sources: Sequence[ArraySource], cutting: Cutting) -> Iterator[Picture]:
    for i, source in enumerate(sources):
        yield read_picture(str(i), source, model.card.normalisation(), cutting)


def together(
    model: Model,
    sources: Sequence[ArraySource],
    cutting: Cutting,
    batch: int,
    engine: PictureEngine | None = None,
) -> Found:
    engine = engine or torch_engine(model, cutting, batch)
    return [
        (result.picture.name, result.codes, result.has_nan)
        for results in engine.run(cut(model, sources, cutting))
        for result in results
    ]


def alone(
    model: Model,
    source: ArraySource,
    cutting: Cutting,
    batch: int,
    network: Network | OpenVinoNetwork | None = None,
) -> npt.NDArray[np.uint8]:
    plan = cutting.plan(source.grid.shape)
    settings = Settings(device="cpu", precision="fp32", batch_size=batch, threads=1)
    card = model.card
    (result,) = Engine(
        network=network or network_of(model, card.normalisation(), settings),
        plan=plan,
        reader=RowReader(source, plan, tolerant=False),
        channels=card.channels,
        thresholds=card.thresholds,
        image_size=cutting.image_size,
    ).run()
    return result.codes


@pytest.mark.parametrize("model", [MODEL, EACH[1], EACH[2]], ids=lambda model: str(model.card.task))
@settings(max_examples=25)
@given(
    sources=st.lists(scenes(), min_size=1, max_size=4),
    tiling=tilings().filter(lambda tiling: tiling.size > 5),
    size=st.none() | st.tuples(st.integers(2, 20), st.integers(2, 20)),
    batch=st.integers(1, 7),
)
def test_each_picture_is_what_the_engine_makes_of_it_alone(
    model: Model, sources: list[ArraySource], tiling: Tiling, size: tuple[int, int] | None, batch: int
) -> None:
    cutting = Cutting(tiling=tiling, image_size=size)
    found = together(model, sources, cutting, batch)
    assert [name for name, _, _ in found] == [str(i) for i in range(len(sources))]
    for (_, codes, has_nan), source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(codes, alone(model, source, cutting, batch))
        assert not has_nan


@cache
def compiled(model: Model, shape: tuple[int, int]) -> CompiledGraph:
    card = model.card
    return CompiledGraph(converted(model.network, (3, *shape)), "fp32", 2, card.task, card.divisor)


def array_engine(model: Model, cutting: Cutting, shown: Shown | None = None) -> ArrayPictures:
    """Engine of the same network computed by OpenVINO."""
    settings = Settings(device="cpu", precision="fp32", batch_size=1, threads=2, runtime="openvino")
    graph = compiled(model, cutting.image_size or (cutting.tiling.size,) * 2)
    return ArrayPictures(
        network_for=lambda scaling: OpenVinoNetwork(graph, *scaling, settings),
        terms=terms(model, cutting, shown),
    )


TILES = Cutting(tiling=Tiling(size=16, overlap=4))
WHOLE = Cutting(tiling=Tiling(size=16, overlap=4), image_size=(12, 20))


@pytest.mark.parametrize("model", [MODEL, EACH[1], EACH[2]], ids=lambda model: str(model.card.task))
@pytest.mark.parametrize("cutting", [TILES, WHOLE], ids=["tiles", "whole"])
@settings(max_examples=15)
@given(
    sources=st.lists(scenes(), min_size=1, max_size=5),
    batch=st.integers(1, 7),
    size=st.none() | st.tuples(st.integers(1, 30), st.integers(1, 30)),
    content=st.booleans(),
)
def test_without_torch_it_is_the_same(
    model: Model,
    cutting: Cutting,
    sources: list[ArraySource],
    batch: int,
    size: tuple[int, int] | None,
    content: bool,
) -> None:
    """Of all that is shown, what torch says; as it is, every byte that the engine makes of a scene."""
    least = np.min([source.grid.shape for source in sources], axis=0)
    row, col = (int(edge) // 3 for edge in least)
    window = Window(row=row, col=col, height=int(least[0]) - row, width=int(least[1]) - col)
    shown = Shown(content=window if content else None, size=size)
    engine = array_engine(model, cutting, shown)
    found = together(model, sources, cutting, batch, engine)
    expected = together(model, sources, cutting, batch, torch_engine(model, cutting, batch, shown))
    assert [name for name, _, _ in found] == [str(i) for i in range(len(sources))]
    for (_, codes, has_nan), (_, theirs, _) in zip(found, expected, strict=True):
        assert not has_nan
        assert codes.shape == theirs.shape
        assert np.array_equal(codes == NODATA, theirs == NODATA)
        assert (codes != theirs).sum() <= 2, "only where two classes are equally probable"
    if shown == Shown():
        network = engine.network_for(model.card.normalisation())
        for (_, codes, _), source in zip(found, sources, strict=True):
            assert np.array_equal(codes, alone(model, source, cutting, batch, network))


def test_pictures_come_a_few_at_a_time_whatever_their_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_pictures, "_TILES", 4)
    dark = pointwise_model(codes=(10, 30, 200), scale=[1 / 510] * 3)
    sources = some(9)
    pictures = [
        read_picture(str(i), source, (dark if i in (2, 3, 7) else MODEL).card.normalisation(), TILES)
        for i, source in enumerate(sources)
    ]
    batches = list(array_engine(MODEL, TILES).run(pictures))
    assert [len(batch) for batch in batches] == [4, 4, 1]
    monkeypatch.setattr(array_pictures, "_BYTES", 1)
    assert [len(batch) for batch in array_engine(MODEL, TILES).run(pictures)] == [1] * 9
    network = array_engine(MODEL, TILES).network_for
    for i, result in enumerate(result for batch in batches for result in batch):
        model = dark if i in (2, 3, 7) else MODEL
        expected = alone(MODEL, sources[i], TILES, 1, network(model.card.normalisation()))
        assert result.picture.name == str(i)
        assert np.array_equal(result.codes, expected)


class Counted(torch.nn.Module):
    """Remembers the sizes of its batches."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        result: torch.Tensor = self.inner(x)
        return result


def some(count: int, *, seed: int = 0, dtype: str = "uint8") -> list[ArraySource]:
    """Pictures of 3 bands, each of another size and none larger than a tile of 16 px and its margin allow."""
    generator = np.random.default_rng(seed)
    shapes = generator.integers(3, 13, (count, 2))
    return [ArraySource.of(generator.integers(0, 256, (3, *shape)).astype(dtype)) for shape in shapes]


def test_a_batch_takes_the_tiles_of_many_pictures() -> None:
    network = Counted(MODEL.network)
    together(Model(MODEL.card, network), some(10), TILES, 4)
    assert network.seen == [4, 4, 4], "the last is filled"
    network.seen.clear()
    large = ArraySource.of(np.zeros((3, 12, 24), dtype=np.uint8))
    assert TILES.count(large.grid.shape) == 2
    together(Model(MODEL.card, network), [*some(3), large, *some(3, seed=1)], TILES, 4)
    assert network.seen == [4, 4]


def test_pictures_of_different_kinds_share_no_batch() -> None:
    network = Counted(MODEL.network)
    model = Model(MODEL.card, network)
    sources = [*some(2), *some(1, seed=1, dtype="float32"), *some(1, seed=2)]
    found = together(model, sources, TILES, 4)
    assert network.seen == [4, 4, 4]
    for (_, codes, _), source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(codes, alone(MODEL, source, TILES, 4))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_few_pictures_are_in_memory_at_once(runtime: str) -> None:
    taken = 0

    def endless() -> Iterator[Picture]:
        nonlocal taken
        for picture in cut(MODEL, some(40), TILES):
            taken += 1
            yield picture

    engine = torch_engine(MODEL, TILES, 4) if runtime == "torch" else array_engine(MODEL, TILES)
    done, most = 0, {"torch": 2 * 4, "openvino": 1 + 2 + 1}[runtime]
    for results in engine.run(endless()):
        done += len(results)
        # Of torch the codes of a batch and the next one; of OpenVINO what is in its stream.
        assert taken - done < most
        assert all(result.picture.chip.pixels.size == 0 for result in results)
    assert done == taken == 40


def test_batches_shrink_until_they_fit_and_the_answer_stays() -> None:
    sources = some(10)
    scarce = Model(MODEL.card, Greedy(MODEL.network, 2))
    engine = torch_engine(scarce, TILES, 8)
    found = together(scarce, sources, TILES, 8, engine)
    assert engine.shrunk == [4, 2]
    for (_, codes, _), source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(codes, alone(MODEL, source, TILES, 2))


@pytest.mark.parametrize(
    ("cutting", "words"),
    [
        (TILES, "single tile of 16 px; pass a smaller tile_size="),
        (replace(TILES, image_size=(8, 9)), 'single image of 8 x 9 px; pass device="cpu"'),
    ],
)
def test_one_tile_too_large_for_the_memory_is_one_clear_line(cutting: Cutting, words: str) -> None:
    with pytest.raises(GeosegError, match=words):
        together(Model(MODEL.card, Greedy(MODEL.network, 0)), some(3), cutting, 4)


def test_what_comes_after_the_network_is_done_in_smaller_parts_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plenty, most = Decision.codes, 0

    def scarce(self: Decision, probabilities: torch.Tensor, valid: torch.Tensor) -> Any:
        nonlocal most
        if len(probabilities) > limit:
            raise torch.OutOfMemoryError("made up")
        most = max(most, len(probabilities))
        return plenty(self, probabilities, valid)

    monkeypatch.setattr(Decision, "codes", scarce)
    sources, limit = [ArraySource.of(np.zeros((3, 10, 12), dtype=np.uint8))] * 10, 3
    found = together(MODEL, sources, TILES, 8)
    assert [name for name, _, _ in found] == [str(i) for i in range(10)]
    assert most == 2
    limit = 0
    with pytest.raises(GeosegError, match="out of memory with 0 alone"):
        together(MODEL, sources, TILES, 8)


def test_large_pictures_are_concluded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pictures, "_AT_ONCE", 3 * 300)
    sources = [ArraySource.of(np.zeros((3, 10, 12), dtype=np.uint8))] * 5
    engine = torch_engine(MODEL, TILES, 8)
    assert [len(results) for results in engine.run(cut(MODEL, sources, TILES))] == [2, 2, 1]


def test_no_number_is_told_of_the_picture_that_has_it() -> None:
    broken = Model(MODEL.card, Holed(MODEL.network))
    sources = [ArraySource.of(np.ones((3, *shape), dtype=np.uint8)) for shape in ((3, 4), (12, 12))]
    # The hole is at (5, 5) of the tile; the margin is 2 px.
    assert [has_nan for _, _, has_nan in together(broken, sources, TILES, 2)] == [False, True]
    valid = np.ones((12, 12), dtype=bool)
    valid[3, 3] = False
    hidden = [ArraySource.of(np.ones((3, 12, 12), dtype=np.uint8), valid=valid)]
    ((_, codes, has_nan),) = together(broken, hidden, TILES, 2)
    assert not has_nan
    assert (codes == NODATA).sum() == 1


@pytest.mark.parametrize("cutting", [TILES, WHOLE], ids=["tiles", "whole"])
@pytest.mark.parametrize("shown", [Shown(), Shown(size=(5, 7))], ids=["as it is", "resized"])
def test_without_torch_no_number_is_told_of_the_picture_that_has_it(cutting: Cutting, shown: Shown) -> None:
    """OpenVINO would take a number that is too large for one that it can compute with."""
    pixels = [np.full((3, 9, 9), 7, np.float32) for _ in range(3)]
    pixels[1][0, 4, 4] = 3e38
    valid = np.ones((9, 9), dtype=bool)
    sources = [ArraySource.of(each) for each in pixels]
    engine = array_engine(MODEL, cutting, shown)
    assert [has_nan for *_, has_nan in together(MODEL, sources, cutting, 2, engine)] == [False, True, False]
    valid[4, 4] = False
    hidden = [ArraySource.of(pixels[1], valid=valid)]
    ((_, codes, has_nan),) = together(MODEL, hidden, cutting, 2, engine)
    assert not has_nan
    assert (codes == NODATA).sum() == 1
