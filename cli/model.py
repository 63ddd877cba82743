"""``geoseg model``: make model files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.grid.legend import Task

from .messages import progress, say
from .options import (
    EXISTING_FILE,
    allow_remote,
    examples,
    legend,
    output,
    overwrite,
    resolution,
    scenes,
    stack,
    validity,
)
from .scenes import listed
from .values import BANDS, FACTORS, LEGEND, NAMES, OPTIONS
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend
    from geoseg.models.card import WeightPrecision
    from geoseg.models.exported import ExportPrecision


@click.group()
def command() -> None:
    """Make model files."""


@command.command(
    epilog=examples(
        "geoseg model new --bands red,green,blue --classes water,forest=#228B22,field -o m.safetensors",
        "geoseg model new --task binary --bands red,green,blue --classes building -o m.safetensors",
        "geoseg model new --encoder resnet50 --encoder-weights imagenet --bands red,green,blue --classes a,b "
        "-o m.safetensors",
    )
)
@click.option(
    "--architecture", default="Unet", show_default=True, help="As segmentation-models-pytorch names it."
)
@click.option(
    "--encoder",
    help="For example resnet34; by default EfficientNet-Lite0 with packaged weights and a light decoder.",
)
@click.option(
    "--encoder-weights",
    metavar="NAME|FILE",
    help="Pretrained weights: packaged (of EfficientNet-Lite0), imagenet or torchgeo's (fetched), a file, or none.",
)
@click.option("--bands", required=True, type=NAMES, help="Names of the bands, in the model's order.")
@click.option(
    "--classes",
    required=True,
    type=LEGEND,
    help="Classes 1 to n with colours where given, or a file with a legend.",
)
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="multiclass",
    show_default=True,
    help="One class of several; one class or not (two names: code 0, then 1); classes that may overlap.",
)
@click.option("--dtype", default="uint8", show_default=True, help="Type of the numbers that scenes store.")
@click.option(
    "--value-range", nargs=2, type=float, metavar="LOW HIGH", help="Smallest and largest stored number."
)
@click.option(
    "--gsd", type=click.FloatRange(min=0, min_open=True), metavar="M", help="Ground sample distance, m."
)
@click.option(
    "--tile-size", type=click.IntRange(min=1), default=512, show_default=True, metavar="PX", help="Tile edge."
)
@click.option("--overlap", type=click.IntRange(min=0), metavar="PX", help="A quarter of the tile by default.")
@click.option("--name", help="The model's name; architecture and encoder by default.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the random weights."
)
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def new(
    architecture: str,
    encoder: str | None,
    encoder_weights: str | None,
    bands: tuple[str, ...],
    classes: Legend,
    task: Task,
    dtype: str,
    value_range: tuple[float, float] | None,
    gsd: float | None,
    tile_size: int,
    overlap: int | None,
    name: str | None,
    seed: int,
    output: Path,
    overwrite: bool,
) -> None:
    """Make an untrained model file."""
    from geoseg.models.default_network import ChosenNetwork
    from geoseg.models.model import Model

    network = ChosenNetwork(
        architecture=architecture, encoder=encoder, encoder_weights=encoder_weights
    ).settled()
    assert network.encoder is not None
    made = Model.new(
        architecture=architecture,
        encoder=network.encoder,
        encoder_weights=network.encoder_weights,
        decoder_options=network.decoder_options,
        bands=bands,
        legend=_of_two(classes) if task == "binary" else classes,
        task=task,
        dtype=dtype,
        value_range=value_range,
        gsd_m=gsd,
        tile_size=tile_size,
        overlap=overlap,
        name=name,
        seed=seed,
    )
    made.save(output, overwrite=overwrite)
    say(f"Wrote {output}\n{made}")


def _of_two(classes: Legend) -> Legend:
    """Return classes for a binary task: of two that were named, the first is what is not of the second."""
    if len(classes.classes) != 2:
        return classes
    return type(classes)(classes=tuple(replace(c, code=code) for code, c in enumerate(classes.classes)))


@command.command(
    "import",
    epilog=examples(
        "geoseg model import folder_of_save_pretrained/ --bands red,green,blue --classes a,b -o m.safetensors",
        "geoseg model import best.pth --architecture Unet --encoder resnet34 --scale 1/255 --bands r,g,b --classes a,b "
        "-o m.safetensors",
        "geoseg model import torchgeo.ckpt --dtype uint16 --scale 1/10000 --bands B02,B03,B04 --classes a,b "
        "-o m.safetensors",
    ),
)
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.option("--bands", required=True, type=NAMES, help="Names of the bands, in the network's order.")
@click.option("--classes", required=True, type=LEGEND, help="Classes in the order of the network's channels.")
@click.option("--architecture", help="As segmentation-models-pytorch names it; where the file does not tell.")
@click.option("--encoder", help="For example resnet34; where the file does not tell.")
@click.option(
    "--decoder-options", type=OPTIONS, help='Where they are not the defaults: {"decoder_channels": [64, 32]}.'
)
@click.option("--task", type=click.Choice(get_args(Task)), help="Where the file does not tell.")
@click.option("--dtype", help="Type of the numbers that scenes store; uint8 where nothing else is known.")
@click.option(
    "--value-range", nargs=2, type=float, metavar="LOW HIGH", help="Smallest and largest stored number."
)
@click.option(
    "--scale", type=FACTORS, help="Stored numbers times this went into the network, or into --mean and --std."
)
@click.option("--mean", type=FACTORS, help="Subtracted after --scale: one number, or one for each band.")
@click.option("--std", type=FACTORS, help="Divided by after --mean: one number, or one for each band.")
@click.option(
    "--gsd", type=click.FloatRange(min=0, min_open=True), metavar="M", help="Ground sample distance, m."
)
@click.option(
    "--tile-size", type=click.IntRange(min=1), default=512, show_default=True, metavar="PX", help="Tile edge."
)
@click.option("--overlap", type=click.IntRange(min=0), metavar="PX", help="A quarter of the tile by default.")
@click.option("--name", help="The model's name; that of the file by default.")
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def import_(
    weights: Path,
    bands: tuple[str, ...],
    classes: Legend,
    scale: tuple[float, ...] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    gsd: float | None,
    output: Path,
    overwrite: bool,
    **network: Any,
) -> None:
    """Make a model file of weights from elsewhere.

    WEIGHTS is a folder that segmentation-models-pytorch's save_pretrained made, a .safetensors, .pt or .pth file
    of weights, or a checkpoint of torchgeo, ftw-tools or geoai. No code in it is ever run.
    """
    from geoseg.models.importing import import_model
    from geoseg.models.input_scale import InputScale

    made = import_model(
        weights,
        bands=bands,
        legend=classes,
        input_scale=InputScale(scale=scale, mean=mean, std=std),
        gsd_m=gsd,
        **network,
    )
    made.save(output, overwrite=overwrite)
    say("\n".join([*made.notes, f"Wrote {output}", str(made)]))


@command.command(
    epilog=examples(
        "geoseg model quantize model.safetensors scene.tif -o model8.safetensors",
        "geoseg model quantize model.safetensors a.tif --labels a_labels.tif -o model8.safetensors",
        "geoseg predict *.tif -m model8.safetensors -o maps/ --precision int8",
    )
)
@click.argument("model", type=EXISTING_FILE)
@scenes
@stack
@resolution
@click.option(
    "-b", "--bands", type=BANDS, help="Names or numbers of the scene's bands, in the model's order."
)
@validity
@allow_remote
@click.option(
    "--tiles",
    type=click.IntRange(min=1, max=100_000),
    default=16,
    show_default=True,
    help="How many tiles to measure on.",
)
@click.option(
    "--labels",
    multiple=True,
    type=EXISTING_FILE,
    metavar="FILE",
    help="Class map of a SCENE with the model's codes; one for each, in their order. Measures mean IoU, too, and keeps "
    "layers in fp32 where it drops too much, which takes minutes.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    metavar="IOU",
    help="How much mean IoU int8 may lose, with --labels.",
)
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def quantize(
    model: Path,
    scenes: tuple[str, ...],
    stack: tuple[str, ...],
    tiles: int,
    labels: tuple[Path, ...],
    max_drop: float,
    output: Path,
    overwrite: bool,
    **values: Any,
) -> None:
    """Measure what computing in int8 needs.

    The new model file has the same weights and, for --precision int8, the ranges of the numbers inside the network,
    measured on tiles of the scenes. They should look like those to come. It also says how many pixels get another
    class by it and, of labelled scenes, what mean IoU it costs.
    """
    from geoseg.inference.label_check import LabelCheck
    from geoseg.inference.options import PredictOptions
    from geoseg.inference.quantize import quantize
    from geoseg.models.model import Model
    from geoseg.models.model_file import check_name
    from geoseg.storage.output import claim

    check_name(output)
    with claim(output, overwrite=overwrite):
        pass
    with progress() as bar:
        made = quantize(
            Model.open(model),
            listed(scenes, stack),
            tiles=tiles,
            check=LabelCheck(labels=labels, max_drop=max_drop) if labels else None,
            options=PredictOptions(**values),
            progress=bar,
        )
    made.save(output, overwrite=overwrite)
    say(f"Wrote {output}\n{made}")


@command.command(
    epilog=examples(
        "geoseg model export model.safetensors -o model.xml",
        "geoseg predict scene.tif -m model.xml -o classes.tif",
        "geoseg model export model.safetensors -o model.onnx",
    )
)
@click.argument("model", type=EXISTING_FILE)
@click.option(
    "--tile-size",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Tile edge that it is for; the model's by default.",
)
@click.option(
    "--precision",
    type=click.Choice(("fp32", "int8")),
    default="fp32",
    show_default=True,
    help="What it computes in: fp32, and bf16 where the CPU has it; or int8, which `geoseg model quantize` measured.",
)
@click.option(
    "--weights",
    type=click.Choice(("fp32", "fp16")),
    default="fp32",
    show_default=True,
    help="What an .xml stores its numbers in; fp16 rounds them, and takes half the bytes.",
)
@output("File to write; of an .xml the numbers go into OUT.bin beside it.", metavar="OUT.xml|OUT.onnx")
@overwrite
@verbosity_options
def export(
    model: Path,
    tile_size: int | None,
    precision: ExportPrecision,
    weights: WeightPrecision,
    output: Path,
    overwrite: bool,
) -> None:
    """Write a model as a graph that predicts without torch.

    OUT.xml and OUT.bin hold the network as OpenVINO computes it on a CPU, and all that predicting needs to know.
    OUT.onnx is one file that other programs read, too, in fp32 alone; writing it needs the package onnx. predict,
    segment and info take OUT.xml or OUT.onnx in place of a model file; it can neither be trained nor computed on a GPU.
    """
    from geoseg.models.exported import check_export_name, is_onnx
    from geoseg.models.model import Model

    check_export_name(output, precision, weights)
    opened = Model.open(model, build=False)
    opened.export(output, tile_size=tile_size, precision=precision, weights=weights, overwrite=overwrite)
    beside = "" if is_onnx(output) else f" and {output.with_suffix('.bin').name}"
    say(f"Wrote {output}{beside}\n{Model.open(output)}")


@command.command(
    epilog=examples(
        "geoseg model recolor model.safetensors -o recolored.safetensors",
        "geoseg model recolor model.safetensors --legend legend.csv -o recolored.safetensors",
    )
)
@click.argument("model", type=EXISTING_FILE)
@legend("By default colours are those that the classes' names suggest.")
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def recolor(model: Path, legend: Path | None, output: Path, overwrite: bool) -> None:
    """Give the classes of a model other colours, or names.

    Codes and weights stay as they are. For one map alone, predict and segment take --legend, too.
    """
    from geoseg.models.recolor import recolor

    card = recolor(model, output, legend=legend, overwrite=overwrite)
    say(f"Wrote {output}")
    for c in card.legend:
        say(f"  {c.code:>4} {c.color} {c.name}")
