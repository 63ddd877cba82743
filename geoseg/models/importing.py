"""Make model files from weights that other programs have trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.errors import Message, ModelError, Text, plural
from geoseg.grid.legend import Legend, Task
from geoseg.models.beginning import NOT_KNOWN
from geoseg.models.foreign_weights import ForeignWeights, read_weights, sha256_of
from geoseg.models.import_scale import set_normalisation
from geoseg.models.input_scale import Factors, InputScale
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.onnx_layers import SAY_NETWORK, weights_of_graph
from geoseg.models.origins import Origin, origin_of
from geoseg.progress import ShowProgress, Steps, shown

_DEFAULT_DTYPE: Final = "uint8"
_LEAVE_OUT: Final = "leave that out, since the file says it"
_FOLDED: Final = (
    "{} batch normalisations are folded into the convolutions before them: predictions are the same; to "
    "train from it set "
    "train.batch_statistics to false, or import the weights from before the export"
)


def import_model(
    path: Path | str,
    *,
    bands: Sequence[str],
    classes: Legend | str | Sequence[str],
    architecture: str | None = None,
    encoder: str | None = None,
    decoder_options: Mapping[str, Any] | None = None,
    task: Task | None = None,
    dtype: str | None = None,
    value_range: tuple[float, float] | None = None,
    scale: Factors | None = None,
    mean: Factors | None = None,
    std: Factors | None = None,
    gsd_m: float | None = None,
    tile_size: int = 512,
    overlap: int | None = None,
    name: str | None = None,
    source: str = "",
    licence: str = NOT_KNOWN,
    progress: ShowProgress = None,
) -> Model:
    """Make a model from weights written by segmentation-models-pytorch, torchgeo, ftw-tools or geoai.

    Takes a folder written by ``save_pretrained``, a ``.safetensors`` or torch file of weights, a Lightning
    checkpoint, or an ONNX file of such a network. No code of the file is ever run.

    Law: on equal input, the model's logits are those of the network whose weights were saved. For an ONNX file
    that is checked on random images.

    Parameters
    ----------
    path : Path or str
        File or folder.
    bands : sequence of str
        Names of the bands, in the network's order.
    classes : Legend, text or sequence of str
        The classes in the order of the network's channels: names, or as ``water,forest=#228b22``, codes 1 to n; or a
        Legend with codes of its own. Of a binary task: one class, or two of which the first is what is not of the
        second.
    architecture, encoder, decoder_options : optional
        As in `Model.new`; required if the file does not tell.
    task : str, optional
        Required if the file does not tell and it is not the default: binary for one channel, multiclass for several.
    dtype, value_range : optional
        Type and range of the stored numbers; those of the program where they are known, else as `Model.new`.
    scale, mean, std : float or sequence of float, optional
        What was done to stored numbers before the network saw them, which no file knows: ``(x * scale - mean) /
        std``, each one number, or one for each band. Without `scale` the value range became 0 to 1 first.
    gsd_m, tile_size, overlap, name : optional
        As `Model.new` takes them.
    source, licence : str, optional
        Who published the weights, and their licence; recorded in the card.
    progress : bool or callable, optional
        Whether to show a progress bar, or a function that is called with (done, total, what). By default a bar
        appears in a terminal or notebook if the work takes more than a few seconds.

    Returns
    -------
    Model
        The model; its `notes` list what was assumed, one line each.

    Raises
    ------
    ModelError
        If the file is refused, or does not match this network, these bands or these classes; for an ONNX file
        also if it gives other results than this network.
    OptionError
        If `scale`, `mean` or `std` does not fit the bands.
    """
    path, legend = Path(path), Legend.given(classes)
    with shown(progress) as told:
        step = Steps(told, 3, "import")
        weights = read_weights(path)
        step()
        try:
            origin = origin_of(weights)
            architecture, encoder = _network(origin, architecture, encoder)
            task = _task(origin, task, len(bands), len(legend.classes))
            habit = origin.habit
            model = Model.new(
                architecture=architecture,
                encoder=encoder,
                bands=bands,
                classes=legend,
                task=task,
                dtype=dtype or (habit.dtype if habit else _DEFAULT_DTYPE),
                value_range=value_range
                or (habit.value_range if habit and dtype in (None, habit.dtype) else None),
                gsd_m=gsd_m,
                tile_size=tile_size,
                overlap=overlap,
                decoder_options={**origin.options, **(decoder_options or {})},
                name=name or path.stem,
            )
            folded = _load(model, weights)
            notes: list[Text] = [_FOLDED.format(folded)] if folded else []
            notes.append(set_normalisation(model, origin, InputScale(scale=scale, mean=mean, std=std)))
            step()
            if weights.onnx is not None:
                from geoseg.models.onnx_proof import prove

                notes.append(prove(model, weights.onnx))
        except ModelError as error:
            raise ModelError(Message("{}: {}", path, error.problem), error.remedy) from error
        step()
    written = (
        f"weights written by {origin.program}"
        if origin.program
        else "weights of a network that it does not name"
    )
    model.notes = (f"{path}: {written}", *notes)
    digest = "" if path.is_dir() else sha256_of(path)
    model.card = model.card.changed(
        beginning={
            "weights": path.name,
            "of": "network",
            "source": source,
            "licence": licence,
            "sha256": digest,
            "folded": folded > 0,
        }
    )
    return model


def _network(origin: Origin, architecture: str | None, encoder: str | None) -> tuple[str, str]:
    """Return architecture and encoder: the file's or the requested ones, which must agree if both are known."""
    names = []
    for word, found, asked in (
        ("architecture", origin.architecture, architecture),
        ("encoder", origin.encoder, encoder),
    ):
        if found and asked and found.lower() != asked.lower():
            named = Message("{" + word + "}", **{word: asked})
            raise ModelError(Message("its {} is {}, found {}", word, found, named), _LEAVE_OUT)
        if not (found or asked):
            raise ModelError(
                f"does not name its {word}", Message("name it with {}", Message("{" + word + "}"))
            )
        names.append(found or asked or "")
    return names[0], names[1]


def _task(origin: Origin, asked: Task | None, bands: int, classes: int) -> Task:
    """Return the task, and check the counts of bands and classes in the file against those requested."""
    if origin.task and asked and origin.task != asked:
        raise ModelError(Message("its task is {}, found {task}", origin.task, task=asked), _LEAVE_OUT)
    one = (origin.channels or classes) == 1
    task: Task = origin.task or asked or ("binary" if one else "multiclass")
    if origin.bands is not None and origin.bands != bands:
        raise _bands_refusal(origin.bands, bands)
    channels = 1 if task == "binary" else classes
    if origin.channels is not None and origin.channels != channels:
        raise _classes_refusal(origin.channels, channels, task)
    return task


def _bands_refusal(found: int, named: int) -> ModelError:
    problem = Message("its network takes {}, {bands} names {}", plural(found, "band"), named)
    return ModelError(problem, "name each in the network's order")


def _classes_refusal(found: int, named: int, task: Task) -> ModelError:
    asked: Text = Message("{classes} names {}", named)
    if task == "binary":
        asked = "a binary task has 1"
    each = "name a class for each"
    return ModelError(
        Message("its network has {}, {}", plural(found, "output channel"), asked),
        Message("{}; one channel is {task}", each, task="binary") if found == 1 else each,
    )


def _load(model: Model, weights: ForeignWeights) -> int:
    """Copy the tensors into the network; all must be present and none may be left over.

    Returns how many batch normalisations are folded into convolutions.
    """
    plan = NetworkPlan.of(model.card)
    expected, found, folded = model.network.state_dict(), weights.tensors, 0
    if weights.onnx is not None:
        of_graph = weights_of_graph(model.network, found, weights.onnx, plan.bands)
        found, folded = of_graph.tensors, of_graph.folded
    second = [name for name in found if name.startswith("classification_head.")]
    if second:
        raise ModelError(
            f"its network has a second head ({second[0]}), which geoseg does not support; save it without that head"
        )
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    shaped = [n for n in expected if n in found and found[n].shape != expected[n].shape]
    if shaped and not missing and not unknown:
        _refuse_counts(plan, weights, expected, model.card.task)
    if missing or unknown or shaped:
        first = next(
            f"{names[0]} {words}"
            for names, words in (
                (shaped, f"has shape {_shapes(found, expected, shaped)}"),
                (missing, "is missing"),
                (unknown, "is unknown to it"),
            )
            if names
        )
        raise ModelError(
            f"its weights are not those of {plan.architecture} {plan.encoder}: {first} ({len(missing)} missing, "
            f"{len(unknown)} unknown, {len(shaped)} of another shape)",
            SAY_NETWORK,
        )
    model.network.load_state_dict(dict(found), strict=True)
    return folded


def _shapes(
    found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], names: Sequence[str]
) -> str:
    return f"{list(found[names[0]].shape)}, expected {list(expected[names[0]].shape)}" if names else ""


def _refuse_counts(
    plan: NetworkPlan, weights: ForeignWeights, expected: Mapping[str, torch.Tensor], task: Task
) -> None:
    """Raise ModelError for weights with another number of bands or classes, found from the network's shapes."""
    bands = _count_in(weights, expected, replace(plan, bands=plan.bands + 1))
    if bands is not None and bands != plan.bands:
        raise _bands_refusal(bands, plan.bands)
    channels = _count_in(weights, expected, replace(plan, channels=plan.channels + 1))
    if channels is not None and channels != plan.channels:
        raise _classes_refusal(channels, plan.channels, task)


def _count_in(
    weights: ForeignWeights, expected: Mapping[str, torch.Tensor], one_more: NetworkPlan
) -> int | None:
    """Return the size of the tensor dimension that grows by 1 when the count does."""
    for name, tensor in build(one_more).state_dict().items():
        here, there = expected[name].shape, tensor.shape
        for axis in range(len(here)):
            if there[axis] == here[axis] + 1:
                return weights.tensors[name].shape[axis]
    return None
