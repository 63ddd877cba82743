"""Laws 2, 3 and 6 through the whole engine, with a network whose right answer is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.engine.engine import Engine
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings, cheapest_batch
from geoseg.engine.strip_work import StripResult
from geoseg.errors import GeosegError, ResumeError, SceneError
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.scene import Chip
from tests.oracle import Pointwise, decided, pointwise_model, right_answer, right_logits

MODEL = pointwise_model(codes=(10, 30, 200))
EACH = [
    pointwise_model(codes=(0, 1), task="binary"),
    pointwise_model(codes=(0, 1), task="binary", thresholds=[0.8], temperature=2.0),
    pointwise_model(codes=(10, 30, 200), task="multilabel", thresholds=[0.2, 0.5, 0.97]),
    pointwise_model(codes=(3, 7), task="multilabel"),
    pointwise_model(codes=(9,), task="multilabel"),
]


def engine_for(model: Model, source: ArraySource, tiling: Tiling, batch: int) -> Engine:
    plan = Plan.of(source.grid.shape, tiling, batch)
    settings = Settings(device="cpu", precision="fp32", batch_size=batch, threads=1)
    gain, bias = model.card.normalisation()
    return Engine(
        network=Network(model.network, gain, bias, settings, model.card.divisor, model.card.task),
        plan=plan,
        reader=RowReader(source, plan, tolerant=False),
        channels=model.card.channels,
        thresholds=model.card.thresholds,
    )


def joined(results: list[StripResult]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    codes, confidence = [r.codes for r in results], [r.confidence for r in results]
    return np.concatenate(codes, axis=-2), np.concatenate(confidence, axis=-2)


@st.composite
def scenes(draw: st.DrawFn) -> ArraySource:
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels = generator.integers(0, 256, (3, *shape), dtype=np.uint8)
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    valid = generator.random(shape) >= share
    if draw(st.booleans()):
        valid[: shape[0] // 2] = False  # whole tiles without data are skipped
    return ArraySource.of(pixels, valid=valid)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    size = draw(st.integers(1, 20))
    return Tiling(size=size, overlap=draw(st.integers(0, size // 2)))


@given(scenes(), tilings(), st.integers(1, 7))
def test_tiled_is_untiled_for_a_pointwise_model(source: ArraySource, tiling: Tiling, batch: int) -> None:
    codes, confidence = joined(list(engine_for(MODEL, source, tiling, batch).run()))
    chip = source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width))
    expected, probabilities = right_answer(MODEL, chip.pixels)
    sure = decided(probabilities) & chip.valid
    np.testing.assert_array_equal(codes[sure], expected[sure])
    steps = probabilities.max(axis=0) * 254
    assert np.abs(confidence[sure] - steps[sure]).max(initial=0) <= 0.5 + 1e-3
    np.testing.assert_array_equal(codes == NODATA, ~chip.valid)
    np.testing.assert_array_equal(confidence == NODATA, ~chip.valid)


@pytest.mark.parametrize("model", EACH, ids=lambda model: f"{model.card.task} of {len(model.card.channels)}")
@given(source=scenes(), tiling=tilings(), batch=st.integers(1, 7))
def test_tiled_is_untiled_where_every_class_is_decided_by_itself(
    model: Model, source: ArraySource, tiling: Tiling, batch: int
) -> None:
    codes, confidence = joined(list(engine_for(model, source, tiling, batch).run()))
    chip = source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width))
    logits = right_logits(model, chip.pixels) / model.card.divisor
    probabilities = 1 / (1 + np.exp(-logits))
    thresholds = np.array(model.card.thresholds or [0.5] * len(logits))[:, None, None]
    expected = (probabilities > thresholds).astype(np.uint8)
    steps = np.where(expected == 1, probabilities, 1 - probabilities) * 254
    sure = (np.abs(probabilities - thresholds) > 1e-6) & chip.valid
    if model.card.task == "binary":
        expected, steps, sure = expected[0], steps[0], sure[0]
    assert codes.shape == confidence.shape == expected.shape
    np.testing.assert_array_equal(codes[sure], expected[sure])
    assert np.abs(confidence[sure] - steps[sure]).max(initial=0) <= 0.5 + 1e-3
    np.testing.assert_array_equal(codes == NODATA, np.broadcast_to(~chip.valid, codes.shape))
    np.testing.assert_array_equal(confidence == NODATA, np.broadcast_to(~chip.valid, codes.shape))


def test_layers_are_in_the_order_of_the_codes_whatever_the_networks_order() -> None:
    ordered = pointwise_model(codes=(3, 5, 8), task="multilabel", thresholds=[0.3, 0.5, 0.7])
    turned = Model(
        ordered.card.changed(channels=[8, 3, 5], thresholds=[0.7, 0.3, 0.5]),
        turned_channels(ordered.network, [2, 0, 1]),
    )
    source = ArraySource.of(np.random.default_rng(1).integers(0, 256, (3, 30, 20), dtype=np.uint8))
    answers = [
        joined(list(engine_for(m, source, Tiling(size=8, overlap=2), 3).run())) for m in (ordered, turned)
    ]
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])
    assert len({layer.tobytes() for layer in answers[0][0]}) == 3, "the layers differ, or this shows nothing"


def turned_channels(network: torch.nn.Module, order: list[int]) -> torch.nn.Module:
    """The 1x1 network with its channels in another order."""
    turned = Pointwise(3, len(order), 1)
    turned.load_state_dict({name: value[order] for name, value in network.state_dict().items()})
    return turned.eval()


@pytest.mark.parametrize("model", [MODEL, *EACH[1:3]], ids=lambda model: str(model.card.task))
@given(source=scenes(), tiling=tilings())
def test_probabilities_are_kept_when_asked(model: Model, source: ArraySource, tiling: Tiling) -> None:
    engine = replace(engine_for(model, source, tiling, 3), keep_probabilities=True)
    results = list(engine.run())
    for result in results:
        assert result.probabilities is not None
        assert result.probabilities.shape[1:] == (len(result.strip.rows), source.grid.width)
    kept = torch.cat([r.probabilities for r in results if r.probabilities is not None], dim=1).numpy()
    chip = source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width))
    logits = right_logits(model, chip.pixels) / model.card.divisor
    expected = right_answer(model, chip.pixels)[1]
    if model.card.task != "multiclass":
        expected = 1 / (1 + np.exp(-logits))
    assert np.abs(kept - expected)[:, chip.valid].max(initial=0) <= 1e-5
    assert next(iter(engine_for(model, source, tiling, 3).run())).probabilities is None


@given(scenes(), tilings(), st.integers(1, 4), st.data())
def test_going_on_gives_the_bytes_of_the_uninterrupted_run(
    source: ArraySource, tiling: Tiling, batch: int, data: st.DataObject
) -> None:
    whole = list(engine_for(MODEL, source, tiling, batch).run())
    start = data.draw(st.integers(0, len(whole)))
    rest = list(engine_for(MODEL, source, tiling, batch).run(start))
    assert [r.strip.index for r in rest] == list(range(start, len(whole)))
    for ours, theirs in zip(rest, whole[start:], strict=True):
        assert ours.codes.tobytes() == theirs.codes.tobytes()
        assert ours.confidence.tobytes() == theirs.confidence.tobytes()


class Neighbours(torch.nn.Conv2d):
    """A network that looks around, to show what reaches it."""


def test_what_lies_under_invalid_pixels_never_reaches_the_network() -> None:
    network = Neighbours(1, 2, 5, padding=2)
    model = pointwise_model(1, (1, 2))
    model = Model(model.card, network.eval())
    generator = np.random.default_rng(0)
    values = generator.random((1, 30, 30)).astype(np.float32) * 255
    valid = generator.random((30, 30)) > 0.3
    outputs = []
    for rubbish in (0.0, 1e30, np.nan, np.inf):
        pixels = np.where(valid, values, np.float32(rubbish))
        source = ArraySource.of(pixels, valid=valid)
        outputs.append(joined(list(engine_for(model, source, Tiling(size=12, overlap=4), 3).run())))
    for codes, confidence in outputs[1:]:
        np.testing.assert_array_equal(codes, outputs[0][0])
        np.testing.assert_array_equal(confidence, outputs[0][1])


class Greedy(torch.nn.Module):
    """Runs out of memory on batches of more than `limit` tiles."""

    def __init__(self, inner: torch.nn.Module, limit: int) -> None:
        super().__init__()
        self.inner, self.limit = inner, limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("made up")
        result: torch.Tensor = self.inner(x)
        return result


def test_batches_shrink_until_they_fit_and_the_answer_stays() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 60), dtype=np.uint8)
    source, tiling = ArraySource.of(pixels), Tiling(size=16, overlap=4)
    plenty, _ = joined(list(engine_for(MODEL, source, tiling, 8).run()))
    scarce = engine_for(Model(MODEL.card, Greedy(MODEL.network, 2)), source, tiling, 8)
    codes, _ = joined(list(scarce.run()))
    np.testing.assert_array_equal(codes, plenty)
    assert scarce.shrunk == [(0, 4), (0, 2)]


@pytest.mark.parametrize("place", [(3, 4), (39, 59)])
def test_a_network_that_gives_no_numbers_is_an_error_not_a_class(place: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 60)).astype(np.float32)
    pixels[0][place] = 3e38  # a number; the logit is not
    source, tiling = ArraySource.of(pixels), Tiling(size=16, overlap=4)
    engine = engine_for(MODEL, source, tiling, 4)
    engine.network._gain = engine.network._gain * 1e6
    # What the scene holds is to blame, and what was asked for already is no advice.
    line = (
        r"is not a number: the scene holds 3e\+38 there, .*; pass nodata=\"3e\+38\" and nodata_rule=\"any\"$"
    )
    with pytest.raises(GeosegError, match=line):
        list(engine.run())
    engine = engine_for(MODEL, source, tiling, 4)
    engine.network._gain = engine.network._gain * 1e6
    valid = pixels[0] < 1e38
    engine.clip = lambda first, stop: valid[first:stop]  # where no result is wanted it does no harm
    assert (joined(list(engine.run()))[0] == NODATA).sum() == 1


@pytest.mark.parametrize("model", [EACH[0], EACH[2]], ids=lambda model: str(model.card.task))
def test_no_numbers_are_no_answer_to_any_task(model: Model) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 30)).astype(np.float32)
    broken = Model(model.card, Holed(model.network))
    engine = engine_for(broken, ArraySource.of(pixels), Tiling(size=16, overlap=4), 4)
    with pytest.raises(GeosegError, match="is not a number in fp32, where the scene holds nothing unusual"):
        list(engine.run())


class Holed(torch.nn.Module):
    """Gives no number for one pixel of one channel."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(x).clone()
        result[:, -1, 5, 5] = torch.nan
        return result


def test_a_single_tile_too_large_for_the_memory_is_one_clear_line() -> None:
    source = ArraySource.of(np.zeros((3, 20, 20), dtype=np.uint8))
    engine = engine_for(Model(MODEL.card, Greedy(MODEL.network, 0)), source, Tiling(size=16, overlap=4), 2)
    with pytest.raises(GeosegError, match="single tile of 16 px; pass a smaller tile_size="):
        list(engine.run())


def test_a_whole_image_too_large_for_the_memory_is_one_clear_line() -> None:
    source = ArraySource.of(np.zeros((3, 20, 30), dtype=np.uint8))
    tiled = engine_for(Model(MODEL.card, Greedy(MODEL.network, 0)), source, Tiling(size=16, overlap=4), 1)
    whole = replace(tiled, plan=Plan.whole((20, 30)), image_size=(16, 16))
    whole.reader = RowReader(source, whole.plan, tolerant=False)
    with pytest.raises(GeosegError, match="out of memory with the whole scene of 20 x 30 px; pass"):
        list(whole.run())


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float32",
        "float64",
        ">u2",
        ">f4",
    ],
)
def test_every_stored_type_goes_in_as_its_numbers(dtype: str) -> None:
    numbers = np.random.default_rng(2).integers(0, 120, (3, 20, 20))
    codes, _ = joined(
        list(engine_for(MODEL, ArraySource.of(numbers.astype(dtype)), Tiling(size=8, overlap=2), 2).run())
    )
    expected, probabilities = right_answer(MODEL, numbers)
    sure = decided(probabilities)
    np.testing.assert_array_equal(codes[sure], expected[sure])


class Counting:
    """A source that remembers which rows were asked for, in blocks of 8, and cannot read some."""

    def __init__(self, inner: ArraySource, broken: Window | None = None) -> None:
        self.inner, self.broken, self.reads = inner, broken, []
        self.grid, self.count, self.dtype, self.block_shape = inner.grid, inner.count, inner.dtype, (8, 8)
        self.reads: list[Window] = []

    def read(self, window: Window) -> Chip:
        if self.broken is not None and window.intersection(self.broken):
            raise SceneError("broken block")
        self.reads.append(window)
        return self.inner.read(window)


@given(st.integers(1, 60), tilings(), st.integers(1, 5))
def test_rows_are_read_once_and_blocks_whole(height: int, tiling: Tiling, batch: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, height, 10), dtype=np.uint8)
    source = Counting(ArraySource.of(pixels))
    plan = Plan.of((height, 10), tiling, batch)
    reader = RowReader(source, plan, tolerant=False)  # type: ignore[arg-type]
    for strip in plan.strips:
        first = strip.start - plan.margin
        chip = reader.read(first, strip.read_stop - plan.margin)
        rows = slice(max(first, 0), min(strip.read_stop - plan.margin, height))
        read = chip.pixels[:, rows.start - first : rows.stop - first, plan.margin : plan.margin + 10]
        np.testing.assert_array_equal(read, pixels[:, rows])
    for before, after in pairwise(source.reads):
        assert after.row == before.row_stop
        assert after.row % 8 == 0 or after.row >= height


def test_the_margin_is_the_scene_reflected() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30), dtype=np.uint8)
    plan = Plan.of((20, 30), Tiling(size=8, overlap=4), 1)
    reader = RowReader(ArraySource.of(pixels), plan, tolerant=False)
    parts = [reader.read(b.start - 2, b.read_stop - 2).pixels[:, : b.stop - b.start] for b in plan.strips]
    expected = np.pad(pixels[0], 2, mode="reflect")
    np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], expected)


def test_what_cannot_be_read_becomes_no_data_block_by_block() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 32, 20), dtype=np.uint8)
    hole = Window(row=9, col=2, height=3, width=3)
    source = Counting(ArraySource.of(pixels), broken=hole)
    plan = Plan.of((32, 20), Tiling(size=20, overlap=0), 1)
    reader = RowReader(source, plan, tolerant=True)  # type: ignore[arg-type]
    chip = reader.read(0, 32)
    lost = np.zeros((32, 20), dtype=bool)
    lost[8:16, 0:8] = True
    np.testing.assert_array_equal(chip.valid, ~lost)
    np.testing.assert_array_equal(chip.pixels[0][~lost], pixels[0][~lost])
    assert reader.damaged == [Window(row=8, col=0, height=8, width=8)]


def test_what_is_clipped_off_is_context_but_no_result() -> None:
    """The network sees the pixels beyond the clip line: the results inside are those of the whole scene."""
    model = Model(pointwise_model(1, (1, 2)).card, Neighbours(1, 2, 5, padding=2).eval())
    source = ArraySource.of(np.random.default_rng(0).integers(0, 255, (1, 40, 40), dtype=np.uint8))
    engine = engine_for(model, source, Tiling(size=16, overlap=8), 3)
    whole, _ = joined(list(engine.run()))
    inside = np.zeros((40, 40), dtype=bool)
    inside[10:25, 5:33] = True
    clipped = engine_for(model, source, Tiling(size=16, overlap=8), 3)
    clipped.clip = lambda first, stop: inside[first:stop]
    codes, _ = joined(list(clipped.run()))
    np.testing.assert_array_equal(codes, np.where(inside, whole, NODATA))


def test_the_border_of_a_scene_has_context() -> None:
    """A network that counts its neighbours sees as many at the border as in the middle."""
    network = Neighbours(1, 2, 3, padding=1)
    torch.nn.init.zeros_(network.weight)
    network.weight.data[1] = 1.0
    assert network.bias is not None
    network.bias.data = torch.tensor([8.0, 0.0])  # class 2 needs all nine
    model = Model(pointwise_model(1, (1, 2), mean=[0.0], std=[1.0]).card, network.eval())
    source = ArraySource.of(np.full((1, 30, 50), 255, dtype=np.uint8))
    codes, _ = joined(list(engine_for(model, source, Tiling(size=16, overlap=4), 2).run()))
    assert (codes == 2).all()


def test_what_cannot_be_read_stops_the_run_by_default() -> None:
    source = ArraySource.of(np.zeros((3, 40, 40), dtype=np.uint8))
    engine = engine_for(MODEL, source, Tiling(size=16, overlap=4), 2)
    broken = Counting(source, broken=Window(row=30, col=0, height=1, width=1))
    engine = replace(engine, reader=RowReader(broken, engine.plan, tolerant=False))  # type: ignore[arg-type]
    with pytest.raises(SceneError, match="broken block"):
        list(engine.run())


def test_the_temperature_divides_the_logits() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    engine = engine_for(MODEL, ArraySource.of(pixels), Tiling(size=16, overlap=4), 4)
    engine.network._temperature = 2.5
    codes, confidence = joined(list(engine.run()))
    expected, probabilities = right_answer(MODEL, pixels)
    softer = probabilities ** (1 / 2.5)  # exp(logit / t) is exp(logit) ** (1 / t)
    softer /= softer.sum(axis=0)
    sure = decided(probabilities)
    np.testing.assert_array_equal(codes[sure], expected[sure])
    assert np.abs(confidence - softer.max(axis=0) * 254).max() <= 0.5 + 1e-3


class Sized(torch.nn.Module):
    """Remembers how many tiles came at a time."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[tuple[int, bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(x), bool((x[-1] == 0).all())))
        result: torch.Tensor = self.inner(x)
        return result


def test_every_batch_is_filled_with_zeros_to_one_size() -> None:
    """Kernels round differently for other batch sizes."""
    network = Sized(MODEL.network)
    source = ArraySource.of(np.random.default_rng(1).integers(1, 99, (3, 40, 60), dtype=np.uint8))
    list(engine_for(Model(MODEL.card, network), source, Tiling(size=16, overlap=4), 7).run())
    assert {size for size, _ in network.seen} == {7}
    assert any(filled for _, filled in network.seen)


def test_tiles_without_a_result_are_not_computed() -> None:
    network = Sized(MODEL.network)
    source = ArraySource.of(np.zeros((3, 64, 64), dtype=np.uint8), valid=np.zeros((64, 64), dtype=bool))
    codes, _ = joined(
        list(engine_for(Model(MODEL.card, network), source, Tiling(size=16, overlap=4), 4).run())
    )
    assert network.seen == []
    assert (codes == NODATA).all()


@pytest.mark.parametrize(("asked", "tiles", "chosen"), [(64, (1, 2), 2), (3, (2, 2), 3), (None, (1, 1), 1)])
def test_a_batch_holds_no_more_tiles_than_there_are(
    asked: int | None, tiles: tuple[int, int], chosen: int
) -> None:
    assert Settings.choose("cpu", "fp32", asked, tiles).batch_size == chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_run_begun_on_a_gpu_does_not_go_on_without_one() -> None:
    begun = Settings(device="cuda", precision="bf16", batch_size=4, threads=1).to_json()
    with pytest.raises(ResumeError, match="cannot be continued here, device cuda.*resume=False"):
        Settings.from_json(begun)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16))
def test_the_chosen_batch_is_cheapest(rows: int, columns: int, largest: int) -> None:
    def cost(batch: int) -> float:
        least = -(-batch // columns)
        strips = [min(least, rows - first) for first in range(0, rows, least)]
        return sum(-(-together * columns // batch) for together in strips) * (batch + 0.5)

    best = cheapest_batch(rows, columns, largest)
    assert cost(best) == min(cost(batch) for batch in range(1, largest + 1))


@pytest.mark.parametrize(("columns", "best"), [(1, 8), (10, 5), (11, 6), (9, 3), (23, 8)])
def test_batches_of_many_columns(columns: int, best: int) -> None:
    assert cheapest_batch(64, columns, 8) == best


def test_an_image_in_one_block_is_not_read_ahead() -> None:
    source = Counting(ArraySource.of(np.zeros((1, 90, 10), dtype=np.uint8)))
    source.block_shape = (2000, 10)
    plan = Plan.of((90, 10), Tiling(size=16, overlap=4), 1)
    RowReader(source, plan, tolerant=False).read(-2, 14)  # type: ignore[arg-type]
    assert [window.row_stop for window in source.reads] == [14]
