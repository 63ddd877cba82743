"""Batches filled across pictures give what the engine gives of each alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import geoseg.engine.pictures as module
from geoseg.engine.bands import Engine
from geoseg.engine.cutting import Cutting, Picture, read_picture
from geoseg.engine.decision import Decision
from geoseg.engine.network import Network
from geoseg.engine.pictures import PictureEngine, Predicted
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from tests.engine.test_bands import EACH, MODEL, Greedy, Holed, scenes, tilings

Found = list[tuple[str, npt.NDArray[np.uint8], bool]]


def engine_for(model: Model, cutting: Cutting, batch: int) -> PictureEngine:
    settings = Settings(device="cpu", precision="fp32", batch_size=batch, threads=1)
    return PictureEngine(
        network_for=lambda scaling: Network(
            model.network, *scaling, settings, model.card.temperature or 1.0, model.card.task
        ),
        channels=len(model.card.channels),
        cutting=cutting,
        settings=settings,
    )


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
    card = model.card
    decision = Decision(card.task, card.channels, card.thresholds, torch.device("cpu"))

    def conclude(predicted: Sequence[Predicted]) -> Found:
        found = []
        for each in predicted:
            codes, odd = decision.codes(each.probabilities[None].clone(), each.valid[None])
            found.append((each.picture.name, codes[0].numpy(), bool(odd[0])))
        return found

    engine = engine or engine_for(model, cutting, batch)
    return [each for found in engine.run(cut(model, sources, cutting), conclude) for each in found]


def alone(model: Model, source: ArraySource, cutting: Cutting, batch: int) -> npt.NDArray[np.uint8]:
    plan = cutting.plan(source.grid.shape)
    settings = Settings(device="cpu", precision="fp32", batch_size=batch, threads=1)
    card = model.card
    (result,) = Engine(
        network=Network(model.network, *card.normalisation(), settings, card.temperature or 1.0, card.task),
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
    for (_, codes, odd), source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(codes, alone(model, source, cutting, batch))
        assert not odd


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


TILES = Cutting(tiling=Tiling(size=16, overlap=4))


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


def test_few_pictures_are_in_memory_at_once() -> None:
    taken = 0

    def endless() -> Iterator[Picture]:
        nonlocal taken
        for picture in cut(MODEL, some(40), TILES):
            taken += 1
            yield picture

    engine = engine_for(MODEL, TILES, 4)
    done = 0
    for names in engine.run(endless(), lambda predicted: [each.picture.name for each in predicted]):
        done += len(names)
        assert taken - done < 4
    assert done == taken == 40


def test_batches_shrink_until_they_fit_and_the_answer_stays() -> None:
    sources = some(10)
    scarce = Model(MODEL.card, Greedy(MODEL.network, 2))
    engine = engine_for(scarce, TILES, 8)
    found = together(scarce, sources, TILES, 8, engine)
    assert engine.shrunk == [4, 2]
    for (_, codes, _), source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(codes, alone(MODEL, source, TILES, 2))


@pytest.mark.parametrize(
    ("cutting", "words"),
    [
        (TILES, "single tile of 16 px; pass a smaller --tile-size"),
        (replace(TILES, image_size=(8, 9)), "single image of 8 x 9 px; pass --device cpu"),
    ],
)
def test_one_tile_too_large_for_the_memory_is_one_clear_line(cutting: Cutting, words: str) -> None:
    with pytest.raises(GeosegError, match=words):
        together(Model(MODEL.card, Greedy(MODEL.network, 0)), some(3), cutting, 4)


def test_what_comes_after_the_network_is_done_in_smaller_parts_where_memory_runs_out() -> None:
    def scarce(predicted: Sequence[Predicted]) -> list[str]:
        if len(predicted) > limit:
            raise torch.OutOfMemoryError("made up")
        return [each.picture.name for each in predicted]

    limit = 3
    pictures = list(cut(MODEL, some(10), TILES))
    found = list(engine_for(MODEL, TILES, 8).run(pictures, scarce))
    assert [name for names in found for name in names] == [str(i) for i in range(10)]
    assert max(map(len, found)) <= limit
    limit = 0
    with pytest.raises(GeosegError, match="out of memory with 0 alone"):
        list(engine_for(MODEL, TILES, 8).run(pictures, scarce))


def test_large_pictures_are_concluded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3 * 300)
    sources = [ArraySource.of(np.zeros((3, 10, 12), dtype=np.uint8))] * 5
    counts = list(engine_for(MODEL, TILES, 8).run(cut(MODEL, sources, TILES), len))
    assert counts == [2, 2, 1]


def test_no_number_is_told_of_the_picture_that_has_it() -> None:
    broken = Model(MODEL.card, Holed(MODEL.network))
    sources = [ArraySource.of(np.ones((3, *shape), dtype=np.uint8)) for shape in ((3, 4), (12, 12))]
    # The hole is at (5, 5) of the tile; the margin is 2 px.
    assert [odd for _, _, odd in together(broken, sources, TILES, 2)] == [False, True]
    valid = np.ones((12, 12), dtype=bool)
    valid[3, 3] = False
    hidden = [ArraySource.of(np.ones((3, 12, 12), dtype=np.uint8), valid=valid)]
    ((_, codes, odd),) = together(broken, hidden, TILES, 2)
    assert not odd
    assert (codes == NODATA).sum() == 1
