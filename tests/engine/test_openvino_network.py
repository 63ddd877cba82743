"""What OpenVINO computes of a network is what torch computes, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from geoseg.engine.conversion import converted
from geoseg.engine.engine import Engine
from geoseg.engine.network import Network
from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.engine.strip_work import StripResult
from geoseg.errors import GeosegError, ModelError
from geoseg.grid.legend import Task
from geoseg.grid.tiling import Tiling
from geoseg.models.model import Model
from geoseg.models.wrapped import Wrapped
from geoseg.raster.array_scene import ArraySource
from tests.marks import few
from tests.oracle import pointwise_model

OPENVINO = Settings(device="cpu", precision="fp32", batch_size=2, threads=2, runtime="openvino")
TORCH = replace(OPENVINO, runtime="torch", threads=1)
KINDS = [
    *((kind, "resnet18") for kind in (
        "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet",
    )),
    *(("Unet", encoder) for encoder in (
        "resnet34", "resnext50_32x4d", "se_resnet50", "densenet121", "vgg11_bn", "mobilenet_v2", "efficientnet-b0",
        "mobileone_s0", "mit_b0", "tu-convnext_atto", "tu-regnetx_002", "tu-mobilenetv3_small_100",
        "tu-tf_efficientnet_lite0",
    )),
    ("Segformer", "mit_b0"),
    ("DPT", "tu-vit_tiny_patch16_224"),
]  # fmt: skip


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def noise(count: int, edge: int = 64, bands: int = 3) -> Tensor:
    return torch.randn((count, bands, edge, edge), generator=torch.Generator().manual_seed(1))


def run(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = network(inputs)
    return result


def plain(compiled: CompiledGraph, **settings: Any) -> OpenVinoNetwork:
    """A network that is given its inputs as they are."""
    bands = compiled.shape[0]
    return OpenVinoNetwork(compiled, [1.0] * bands, [0.0] * bands, replace(OPENVINO, **settings))


def assert_alike(network: nn.Module, found: OpenVinoNetwork, inputs: Tensor) -> None:
    """Compare classes wherever the two best probabilities differ by more than 1e-4."""
    ours = run(network, inputs).softmax(1)
    theirs = torch.from_numpy(np.stack(found.probabilities(list(inputs.numpy()), [None] * len(inputs))))
    assert ours.shape == theirs.shape
    best = ours.topk(2, 1).values
    sure = best[:, 0] - best[:, 1] > 1e-4
    assert sure.float().mean() > 0.9
    assert torch.equal(ours.argmax(1)[sure], theirs.argmax(1)[sure])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return seeded(lambda: smp.Unet("resnet18", encoder_weights=None, in_channels=5, classes=4))


@pytest.fixture(scope="module")
def compiled(network: nn.Module) -> CompiledGraph:
    return CompiledGraph(converted(network, (5, 64, 96)), "fp32", 2)


@pytest.fixture(scope="module")
def square(network: nn.Module) -> Any:
    return converted(network, (5, 64, 64))


def test_it_says_what_torch_says(network: nn.Module, compiled: CompiledGraph) -> None:
    """If OpenVINO moves ``frontend.pytorch.ts_decoder``: every torch model is predicted with torch on a CPU, and none
    can be exported to ``.xml`` or made int8.
    """
    assert_alike(network, plain(compiled), noise(3, 96, bands=5)[:, :, :64])


def test_a_tile_is_computed_alike_in_any_company(compiled: CompiledGraph) -> None:
    chips, found = list(noise(7, 96, bands=5)[:, :, :64].numpy()), plain(compiled)
    together = found.probabilities(chips, [None] * 7)
    for chip, ours in zip(chips, together, strict=True):
        assert np.array_equal(ours, found.probabilities([chip], [None])[0])
        assert np.array_equal(ours, found.probabilities([np.asfortranarray(chip)], [None])[0])


@pytest.mark.parametrize(
    ("task", "temperature"),
    [("multiclass", 2.0), ("binary", 1.0), ("multilabel", 0.5), ("multilabel", (0.5, 3.0, 1.0, 2.0))],
)
def test_logits_become_probabilities_as_the_task_says(
    network: nn.Module, square: Any, task: Task, temperature: float | tuple[float, ...]
) -> None:
    chips = list(noise(2, 64, bands=5).numpy())
    ours = Network(network, [1.0] * 5, [0.0] * 5, TORCH, temperature, task).probabilities(
        [torch.from_numpy(chip) for chip in chips], [None] * 2
    )
    theirs = plain(CompiledGraph(square, "fp32", 2, task, temperature)).probabilities(chips, [None] * 2)
    np.testing.assert_allclose(np.stack(theirs), torch.stack(ours).numpy(), atol=1e-4)
    logits = run(network, torch.from_numpy(np.stack(chips))) / torch.tensor(temperature).reshape(-1, 1, 1)
    right = logits.softmax(1) if task == "multiclass" else logits.sigmoid()
    np.testing.assert_allclose(np.stack(theirs), right.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "dtype", few(["uint16", "float32", "uint8", "int16", ">i4", "float16", "float64"], 2)
)
@pytest.mark.parametrize("tta", [False, True])
def test_stored_numbers_are_normalised_and_what_is_not_valid_is_nought(
    network: nn.Module, square: Any, dtype: str, tta: bool
) -> None:
    random = np.random.default_rng(0)
    chip = random.integers(0, 120, (5, 64, 64)).astype(dtype)
    valid = random.random((64, 64)) < 0.8
    if np.dtype(dtype).kind == "f":
        chip[:, ~valid] = np.nan
    gain, bias = [0.01, 0.02, 0.03, 0.04, 0.05], [-0.5, 0.1, 0.2, -0.1, 0.0]
    native = torch.from_numpy(chip.astype(chip.dtype.newbyteorder("=")))
    (ours,) = Network(network, gain, bias, replace(TORCH, tta=tta)).probabilities(
        [native], [torch.from_numpy(valid)]
    )
    found = OpenVinoNetwork(CompiledGraph(square, "fp32", 2), gain, bias, replace(OPENVINO, tta=tta))
    (theirs,) = found.probabilities([chip], [valid])
    np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)


def bands_of(
    network: Network | OpenVinoNetwork, source: ArraySource, bands: int, **more: Any
) -> list[StripResult]:
    plan = Plan.of(source.grid.shape, Tiling(size=64, overlap=16), bands)
    engine = Engine(
        network=network,
        plan=plan,
        reader=RowReader(source, plan, tolerant=False),
        channels=(9, 4, 6, 2),
        **more,
    )
    return list(engine.run())


def joined(results: Sequence[StripResult], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(each, name) for each in results], axis=-2)


def test_a_scene_is_what_torch_makes_of_it(network: nn.Module, square: Any) -> None:
    random = np.random.default_rng(2)
    valid = random.random((190, 150)) < 0.9
    valid[:70, :80] = False  # whole tiles without data
    source = ArraySource.of(random.integers(0, 255, (5, 190, 150), dtype=np.uint8), valid=valid)
    scaling = [1 / 255] * 5, [-0.5] * 5
    ours = bands_of(Network(network, *scaling, TORCH), source, 2, storage="float32")
    found = OpenVinoNetwork(CompiledGraph(square, "fp32", 2), *scaling, OPENVINO)
    theirs = bands_of(found, source, 1, storage="float32")
    shares = joined(ours, "stored")
    np.testing.assert_allclose(joined(theirs, "stored"), shares, atol=1e-4)
    best = np.sort(np.nan_to_num(shares), axis=0)
    sure = (best[-1] - best[-2] > 1e-4) | ~valid
    assert np.array_equal(joined(theirs, "codes")[sure], joined(ours, "codes")[sure])
    assert np.abs(joined(theirs, "confidence").astype(int) - joined(ours, "confidence")).max() <= 1
    # Strips are for memory alone, and to go on in the middle changes nothing.
    again = bands_of(found, source, 3)
    assert np.array_equal(joined(again, "codes"), joined(theirs, "codes"))
    plan = Plan.of(source.grid.shape, Tiling(size=64, overlap=16), 1)
    for start in range(len(plan.strips)):
        engine = Engine(
            network=found, plan=plan, reader=RowReader(source, plan, tolerant=False), channels=(9, 4, 6, 2)
        )
        part = list(engine.run(start))
        assert [each.strip.index for each in part] == list(range(start, len(plan.strips)))
        rows = plan.strips[start].rows.start
        assert np.array_equal(joined(part, "codes"), joined(theirs, "codes")[rows:])
        assert np.array_equal(joined(part, "confidence"), joined(theirs, "confidence")[rows:])


@pytest.mark.parametrize("task", few(["multilabel", "multiclass", "binary"]))
@pytest.mark.parametrize("storage", few(["uint8", None, "float16"]))
def test_a_scene_that_is_seen_whole_is_what_torch_makes_of_it(
    network: nn.Module, task: Task, storage: Any
) -> None:
    random = np.random.default_rng(3)
    valid = random.random((90, 70)) < 0.9
    source = ArraySource.of(random.integers(0, 255, (5, 90, 70), dtype=np.uint8), valid=valid)
    scaling, plan = ([1 / 255] * 5, [-0.5] * 5), Plan.whole((90, 70))
    module = nn.Sequential(network, nn.Conv2d(4, 1, 1)) if task == "binary" else network
    graph = CompiledGraph(converted(module.eval(), (5, 64, 96)), "fp32", 2, task)

    def clip(first: int, stop: int) -> npt.NDArray[np.bool_]:
        return np.broadcast_to(np.arange(70) > 9, (stop - first, 70))

    results = []
    for each in (Network(module, *scaling, TORCH, task=task), OpenVinoNetwork(graph, *scaling, OPENVINO)):
        (result,) = Engine(
            network=each,
            plan=plan,
            reader=RowReader(source, plan, tolerant=False),
            channels=(1,) if task == "binary" else (9, 4, 6, 2),
            thresholds=None if task == "multiclass" else [0.5] if task == "binary" else [0.4, 0.5, 0.6, 0.5],
            clip=clip,
            storage=storage,
            image_size=(64, 96),
        ).run()
        results.append(result)
    ours, theirs = results
    assert theirs.codes.shape == ours.codes.shape == ((4, 90, 70) if task == "multilabel" else (90, 70))
    missing = ~valid | (np.arange(70) <= 9)
    assert np.array_equal(theirs.codes == 255, np.broadcast_to(missing, theirs.codes.shape))
    assert (theirs.codes != ours.codes).mean() < 1e-3
    same = theirs.codes == ours.codes
    assert np.abs(theirs.confidence.astype(int) - ours.confidence)[same].max() <= 1
    if storage is None:
        assert theirs.stored is None
    else:
        assert theirs.stored is not None
        assert ours.stored is not None
        assert theirs.stored.dtype == ours.stored.dtype
        off = 1 if storage == "uint8" else 1e-3
        np.testing.assert_allclose(theirs.stored.astype(float), ours.stored.astype(float), rtol=0, atol=off)


def test_a_scene_whose_output_is_not_a_number_is_an_error(
    network: nn.Module, square: Any, compiled: CompiledGraph
) -> None:
    pixels = np.full((5, 100, 100), 1.0, np.float32)
    pixels[0, 90, 90] = 3e38
    found = OpenVinoNetwork(CompiledGraph(square, "fp32", 2), [1.0] * 5, [0.0] * 5, OPENVINO)
    with pytest.raises(
        GeosegError, match=r"the network's output in rows .* is not a number: the scene holds 3e\+38"
    ):
        bands_of(found, ArraySource.of(pixels), 1)
    source, plan = ArraySource.of(pixels), Plan.whole((100, 100))
    whole = Engine(
        network=OpenVinoNetwork(compiled, [1.0] * 5, [0.0] * 5, OPENVINO),
        plan=plan,
        reader=RowReader(source, plan, tolerant=False),
        channels=(9, 4, 6, 2),
        image_size=(64, 96),
    )
    with pytest.raises(GeosegError, match=r"output in rows 0 to 99 is not a number: the scene holds 3e\+38"):
        list(whole.run())
    # What was lent came back: the network goes on.
    assert bands_of(found, ArraySource.of(np.ones((5, 70, 70), np.float32)), 1)


def test_bf16_says_nearly_the_same(network: nn.Module, square: Any) -> None:
    inputs = noise(2, 64, bands=5)
    ours = run(network, inputs).softmax(1).numpy()
    found = plain(CompiledGraph(square, "bf16", 1), precision="bf16")
    theirs = np.stack(found.probabilities(list(inputs.numpy()), [None] * 2))
    assert np.abs(ours - theirs).mean() / ours.std() < 0.05
    assert (ours.argmax(1) != theirs.argmax(1)).mean() < 0.05


class Branching(nn.Module):
    """Does with some images what a trace of another one does not show."""

    def forward(self, image: Tensor) -> Tensor:
        return image if image.sum() == 0 else -2 * image


def test_what_a_trace_does_not_show_is_found_out() -> None:
    with pytest.raises(
        ModelError, match="the network converted to OpenVINO gives other results: its logits are off by "
    ):
        converted(Branching().eval(), (3, 32, 32))


def test_what_cannot_be_expressed_is_refused_in_one_line() -> None:
    class Odd(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.linalg.svd(image).S[..., None] * image

    with pytest.raises(ModelError, match="OpenVINO cannot compute the network: [^\n]+$"):
        converted(Odd().eval(), (3, 32, 32))


def test_networks_of_ones_own_are_left_to_torch(network: nn.Module) -> None:
    card = pointwise_model(3).card
    assert Model(card, network).traceable
    for own in (Branching(), nn.Sequential(nn.Conv2d(3, 3, 1), Branching()), Wrapped(network, 5, 4)):
        assert not Model(card, own).traceable


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "encoder"), KINDS)
def test_networks_of_many_kinds(architecture: str, encoder: str) -> None:
    edge = 224 if "vit" in encoder else 256 if architecture == "PAN" else 96  # the least that they take
    network = seeded(lambda: smp.create_model(architecture, encoder, None, 3, 5))
    found = CompiledGraph(converted(network, (3, edge, edge)), "fp32", 2)
    assert_alike(network, plain(found), noise(2, edge))
