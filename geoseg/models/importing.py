"""Model files out of weights that other programs have trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.errors import ModelError, OptionError
from geoseg.grid.legend import Legend, Task
from geoseg.models.card import Card
from geoseg.models.foreign_weights import ForeignWeights, read_weights
from geoseg.models.input_scale import InputScale
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.origins import Origin, origin_of

_DEFAULT_DTYPE: Final = "uint8"
_IMAGENET: Final = {"red": (0.485, 0.229), "green": (0.456, 0.224), "blue": (0.406, 0.225)}
"""Mean and std of ImageNet's bands, of values from 0 to 1."""
_OWN_STATISTICS: Final = ("inception", "xception", "tu-")


def import_model(
    path: Path | str,
    *,
    bands: Sequence[str],
    legend: Legend,
    architecture: str | None = None,
    encoder: str | None = None,
    decoder_options: Mapping[str, Any] | None = None,
    task: Task | None = None,
    dtype: str | None = None,
    value_range: tuple[float, float] | None = None,
    input_scale: InputScale | None = None,
    gsd_m: float | None = None,
    tile_size: int = 512,
    overlap: int | None = None,
    name: str | None = None,
) -> Model:
    """Make a model of weights that segmentation-models-pytorch, torchgeo, ftw-tools or geoai has written.

    Takes a folder of ``save_pretrained``, a ``.safetensors`` or torch file of weights, or a Lightning checkpoint.
    No code of the file is ever run.

    Law: on equal input, the model's logits are those of the network whose weights were saved.

    Parameters
    ----------
    path : Path or str
        File or folder.
    bands : sequence of str
        Names of the bands, in the network's order.
    legend : Legend
        The classes in the order of the network's channels. Of a binary task: one class, or two of which the first
        is what is not of the second.
    architecture, encoder, decoder_options : optional
        As `Model.new` takes them; needed where the file does not tell.
    task : str, optional
        Needed where the file does not tell; without either, one channel means binary, several multiclass.
    dtype, value_range : optional
        Type and range of the stored numbers; those of the program where they are known, else as `Model.new`.
    input_scale : InputScale, optional
        What was done to stored numbers before the network saw them; no file knows it.
    gsd_m, tile_size, overlap, name : optional
        As `Model.new` takes them.

    Returns
    -------
    Model
        Its `notes` say what was assumed, one line each.

    Raises
    ------
    ModelError
        If the file is refused, or is not of this network, these bands or these classes.
    OptionError
        If `input_scale` does not fit the bands.
    """
    path = Path(path)
    weights = read_weights(path)
    try:
        origin = origin_of(weights)
        architecture, encoder = _network(origin, architecture, encoder)
        task = _task(origin, task, len(bands), len(legend.classes))
        habit = origin.habit
        model = Model.new(
            architecture=architecture,
            encoder=encoder,
            bands=bands,
            legend=_of_two(legend) if task == "binary" else legend,
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
        _load(model, weights)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    note = _set_normalisation(model, origin, input_scale)
    told = (
        f"weights written by {origin.program}" if origin.program else "weights of a network it does not name"
    )
    model.notes = (f"{path}: {told}", note)
    return model


def _network(origin: Origin, architecture: str | None, encoder: str | None) -> tuple[str, str]:
    """Names of the network: the file's, or those asked for; where both speak they must agree."""
    names = []
    for word, found, asked in (
        ("architecture", origin.architecture, architecture),
        ("encoder", origin.encoder, encoder),
    ):
        if found and asked and found.lower() != asked.lower():
            raise ModelError(f"its {word} is {found}, found --{word} {asked}; leave that out, the file knows")
        if not (found or asked):
            raise ModelError(f"does not say which {word} it has; say it with --{word}")
        names.append(found or asked or "")
    return names[0], names[1]


def _task(origin: Origin, asked: Task | None, bands: int, classes: int) -> Task:
    """Find the task, and check the counts of bands and classes that the file says against those named."""
    if origin.task and asked and origin.task != asked:
        raise ModelError(f"its task is {origin.task}, found --task {asked}; leave that out, the file knows")
    one = (origin.channels or classes) == 1
    task: Task = origin.task or asked or ("binary" if one else "multiclass")
    if origin.bands is not None and origin.bands != bands:
        raise ModelError(_bands_refusal(origin.bands, bands))
    channels = 1 if task == "binary" else classes
    if origin.channels is not None and origin.channels != channels:
        raise ModelError(_classes_refusal(origin.channels, channels, task))
    return task


def _bands_refusal(found: int, named: int) -> str:
    return (
        f"its network takes {_some(found, 'band')}, --bands names {named}; name each in the network's order"
    )


def _classes_refusal(found: int, named: int, task: Task) -> str:
    asked = "a binary task has 1" if task == "binary" else f"--classes names {named}"
    one = "; one channel is a --task binary" if found == 1 else ""
    return f"its network has {_some(found, 'output channel')}, {asked}; name a class for each{one}"


def _some(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _of_two(legend: Legend) -> Legend:
    """Return classes for a binary task: of two that were named, the first is what is not of the second."""
    if legend.codes != (1, 2):
        return legend
    return Legend(classes=tuple(replace(c, code=c.code - 1) for c in legend.classes))


def _load(model: Model, weights: ForeignWeights) -> None:
    """Copy the tensors into the network; all of them must be there and none may be left over."""
    plan = NetworkPlan.of(model.card)
    expected, found = model.network.state_dict(), weights.tensors
    second = [name for name in found if name.startswith("classification_head.")]
    if second:
        raise ModelError(
            f"its network has a second head ({second[0]}), which geoseg's have not; save it without that head"
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
            f"{len(unknown)} unknown, {len(shaped)} of another shape); say --architecture, --encoder and "
            "--decoder-options as they were"
        )
    model.network.load_state_dict(dict(found), strict=True)


def _shapes(
    found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], names: Sequence[str]
) -> str:
    return f"{list(found[names[0]].shape)}, expected {list(expected[names[0]].shape)}" if names else ""


def _refuse_counts(
    plan: NetworkPlan, weights: ForeignWeights, expected: Mapping[str, torch.Tensor], task: Task
) -> None:
    """Refuse weights of other numbers of bands or classes, found by how the network's shapes follow these."""
    bands = _count_in(weights, expected, replace(plan, bands=plan.bands + 1))
    if bands is not None and bands != plan.bands:
        raise ModelError(_bands_refusal(bands, plan.bands))
    channels = _count_in(weights, expected, replace(plan, channels=plan.channels + 1))
    if channels is not None and channels != plan.channels:
        raise ModelError(_classes_refusal(channels, plan.channels, task))


def _count_in(
    weights: ForeignWeights, expected: Mapping[str, torch.Tensor], one_more: NetworkPlan
) -> int | None:
    """Read a count off the first dimension of a tensor that grows by 1 when the count does."""
    for name, tensor in build(one_more).state_dict().items():
        here, there = expected[name].shape, tensor.shape
        for axis in range(len(here)):
            if there[axis] == here[axis] + 1:
                return weights.tensors[name].shape[axis]
    return None


def _set_normalisation(model: Model, origin: Origin, given: InputScale | None) -> str:
    """Put the numbers into the card and say in one line where they come from."""
    card, wanted = model.card, given or InputScale()
    count = len(card.bands)
    scale, mean, std = wanted.for_bands(count)
    words = "as given"
    if given is None or given == InputScale():
        words = "assumed, for the file does not tell (--scale, --mean and --std correct it)"
        if origin.encoder_weights and (found := _pretrained_statistics(model, origin.encoder_weights)):
            mean, std = found
            words = f"assumed to be that of encoder weights {origin.encoder_weights} (--mean and --std correct it)"
    if scale is None and origin.habit is not None:
        scale = [origin.habit.scale] * count
        words = origin.habit.words
    if scale is None and wanted.mean and max(map(abs, mean)) > 1:
        raise OptionError(
            f"--mean {mean[0]:g} lies outside of 0 to 1, to which the value range is scaled; pass --scale 1 where it "
            "is in stored numbers"
        )
    fields: dict[str, Any] = {"mean": mean, "std": std, "units": "stored"}
    if scale is not None:
        fields |= {"scale": scale, "offset": [0.0] * count}
    model.card = card.changed(**fields)
    low, high = card.value_range
    return f"normalisation {words}: {card.dtype} from {low:g} to {high:g}, {_formula(model.card)}"


def _pretrained_statistics(model: Model, encoder_weights: str) -> tuple[list[float], list[float]] | None:
    """ImageNet's mean and std; None for other weights or bands, or encoders that have their own."""
    names = [name.lower() for name in model.card.band_names]
    if encoder_weights != "imagenet" or set(names) - set(_IMAGENET):
        return None
    if model.card.encoder.startswith(_OWN_STATISTICS):
        return None
    mean, std = zip(*(_IMAGENET[name] for name in names), strict=True)
    return list(mean), list(std)


def _formula(card: Card) -> str:
    parts = [f"{key} {_numbers(getattr(card, key))}" for key in ("scale", "offset", "mean", "std")]
    return f"input = (x * scale + offset - mean) / std with {', '.join(parts)}"


def _numbers(values: Sequence[float]) -> str:
    return f"{values[0]:.6g}" if len(set(values)) == 1 else ",".join(f"{v:.6g}" for v in values)
