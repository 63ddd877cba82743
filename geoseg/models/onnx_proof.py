"""Prove that an imported network gives the same results as the ONNX file that its weights are from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from geoseg.engine.openvino_network import first_line_of, logits_of
from geoseg.errors import Message, ModelError
from geoseg.models.model import Model
from geoseg.models.onnx_network import OnnxNetwork

if TYPE_CHECKING:
    import openvino

Floats = npt.NDArray[np.float32]

_ALIKE: Final = 1e-4
"""Largest accepted relative difference: rounding causes about 1e-6, another epsilon of batch normalisation more."""
_EDGE: Final = 128
"""Px, edge of the test images if the graph accepts any size."""
_MOST: Final = 2**26
"""Maximum number of values in the test images: 4096 x 4096 px with four bands."""
_ENDS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "logits": lambda logits: logits,
    "a softmax": lambda logits: logits.softmax(dim=1),
    "a sigmoid": torch.sigmoid,
}
_SOFTMAX: Final = "a softmax"
_SIGMOID: Final = "a sigmoid"
_NOT_CHANGING: Final = ("Cast", "Identity", "Pad", "Shape")


def prove(model: Model, onnx: OnnxNetwork) -> Message:
    """Compare a model with the ONNX file that it was made from, on random images.

    The file is computed in float32, even where it rounds to float16 in between.

    Parameters
    ----------
    model : Model
        The imported model, with its normalisation.
    onnx : OnnxNetwork
        The file.

    Returns
    -------
    Message
        One line: which of geoseg's own steps the file includes, and how close the results are.

    Raises
    ------
    ModelError
        If they differ, or OpenVINO cannot compute the file.
    """
    images, stored = zip(*_images(model, onnx), strict=True)
    graph = _widened(onnx.graph())
    with torch.inference_mode():
        logits = [model.network.eval()(torch.from_numpy(image)) for image in images]
    off: dict[str, float] = {}
    itself = Message("normalises its input itself, as given by {scale}, {mean} and {std}, and ")
    for fed, words in ((images, ""), (stored, itself)):
        found = _answers(graph, fed)
        for end, applied in _ENDS.items():
            off[end] = _difference(found, [applied(each).numpy() for each in logits])
            if off[end] < _ALIKE:
                _check_end(model, end)
                alike = f"largest difference {off[end]:.0e} of the largest"
                return Message(
                    "on random images its output is that of the file, which {}ends in {} ({})",
                    words, end, alike,
                )  # fmt: skip
    raise ModelError(
        f"its output for random images is not that of {model.card.architecture} {model.card.encoder} with its weights "
        f"(off by {min(off.values()):.1%})",
        Message(
            "{}pass the {decoder_options} that it was built with, and {scale}, {mean} and {std} by which its input was "
            "normalised",
            _before(onnx),
        ),
    )


def _check_end(model: Model, end: str) -> None:
    """Raise ModelError if the file's final activation is that of another task than the model's."""
    task = model.card.task
    if end == _SOFTMAX and task != "multiclass":
        raise ModelError(
            Message("ends in a softmax, found {task}", task=task), Message("pass {task}", task="multiclass")
        )
    if end == _SIGMOID and task == "multiclass":
        raise ModelError("ends in a sigmoid for each class", Message("pass {task}", task="multilabel"))


def _images(model: Model, onnx: OnnxNetwork) -> Iterator[tuple[Floats, Floats]]:
    """Yield images (n, band, row, col) as network input, and the stored values that they were made from."""
    shape = onnx.inputs[0].shape
    count, rows, cols = (
        edge if isinstance(edge, int) else default
        for edge, default in zip((shape[0], *shape[2:]), (1, _EDGE, _EDGE), strict=True)
    )
    chance, bands = np.random.default_rng(0), len(model.card.bands)
    if count * bands * rows * cols > _MOST:
        raise ModelError(f"its network takes {onnx.inputs[0]}, expected images of at most {_MOST} values")
    gains, biases = (np.reshape(each, (-1, 1, 1)) for each in model.card.normalisation())
    noise = chance.normal(size=(count, bands, rows, cols))
    smooth = np.repeat(np.repeat(noise[..., ::16, ::16], 16, axis=2), 16, axis=3)[..., :rows, :cols]
    for image in (noise, 2 * smooth):
        yield image.astype(np.float32), ((image - biases) / gains).astype(np.float32)


def _answers(graph: openvino.Model, images: tuple[Floats, ...]) -> list[Floats]:
    try:
        graph.reshape(list(images[0].shape))
        return logits_of(graph, images)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot compute it: {first_line_of(error)}") from error


def _difference(found: list[Floats], expected: list[Any]) -> float:
    """Return the largest difference relative to the largest value; infinite if shapes differ or a value is NaN."""
    if [each.shape for each in found] != [each.shape for each in expected]:
        return float("inf")
    pairs = list(zip(found, expected, strict=True))
    off = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    largest = max(float(np.abs(theirs).max()) for _, theirs in pairs)
    return off / largest if np.isfinite(off) and largest > 0 else float("inf")


def _widened(graph: openvino.Model) -> openvino.Model:
    """Make a graph compute in float32 where it uses float16: OpenVINO would round the constants that it folds."""
    from openvino.preprocess import PrePostProcessor

    from geoseg.engine.openvino_runtime import openvino

    edges = PrePostProcessor(graph)
    edges.input().tensor().set_element_type(openvino.Type.f32)
    edges.output().tensor().set_element_type(openvino.Type.f32)
    graph = edges.build()
    for node in graph.get_ordered_ops():
        if not node.get_output_size() or node.get_output_element_type(0) != openvino.Type.f16:
            continue
        if node.get_type_name() == "Constant":
            wide = openvino.opset13.constant(node.data.astype(np.float32))
            node.output(0).replace(wide.output(0))
        elif node.get_type_name() == "Convert":
            node.set_attribute("destination_type", "f32")
    graph.validate_nodes_and_infer_types()
    return graph


def _before(onnx: OnnxNetwork) -> str:
    """Name the operations that a graph applies to its image before the first convolution."""
    reached, done = {onnx.inputs[0].name}, []
    for node in onnx.nodes:
        if not reached & set(node.inputs) or node.operation == "Shape":
            continue
        if node.operation == "Conv":
            break
        if node.operation not in _NOT_CHANGING:
            done.append(node.operation)
        reached |= set(node.outputs)
    return f"before its first convolution the file has {', '.join(done[:5])}; " if done else ""
