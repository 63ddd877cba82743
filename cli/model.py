"""``geoseg model``: create, import, calibrate, quantize, export and recolor model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.grid.legend import Task

from .messages import say
from .options import (
    EXISTING_FILE,
    allow_remote,
    examples,
    expand_palette,
    force,
    legend,
    output,
    overwrite,
    resolution,
    scenes,
    stack,
    together,
    validity,
)
from .scenes import listed
from .values import BANDS, FACTORS, LEGEND, NAMES, OPTIONS
from .verbosity import quiet, verbosity_options

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend
    from geoseg.models.card import WeightPrecision
    from geoseg.models.exported import ExportPrecision


network = together(
    click.option("--bands", required=True, type=NAMES, help="Names of the bands, in the network's order."),
    click.option(
        "--classes",
        required=True,
        type=LEGEND,
        help="Classes in the order of the network's channels, optionally with colours, or a legend file.",
    ),
    click.option(
        "--architecture",
        help="Name in segmentation-models-pytorch; Unet for a new model, otherwise needed if the weights do not tell.",
    ),
    click.option(
        "--encoder",
        help="Encoder, such as resnet34; for a new model by default EfficientNet-Lite0 with packaged weights and a "
        "light decoder, otherwise needed if the weights do not tell.",
    ),
    click.option(
        "--decoder-options",
        type=OPTIONS,
        help='Non-default options of the architecture: {"decoder_channels": [64, 32]}.',
    ),
    click.option(
        "--task",
        type=click.Choice(get_args(Task)),
        help="One class of several (default); one class or background (two names: code 0, 1); overlapping classes.",
    ),
    click.option("--dtype", help="Data type of the scenes; uint8 if nothing else is known."),
    click.option(
        "--value-range", nargs=2, type=float, metavar="LOW HIGH", help="Smallest and largest stored number."
    ),
    click.option(
        "--gsd",
        "gsd_m",
        type=click.FloatRange(min=0, min_open=True),
        metavar="M",
        help="Ground sample distance, m.",
    ),
    click.option(
        "--tile-size", type=click.IntRange(min=1), default=512, show_default=True, metavar="PX",
        help="Tile edge of the model.",
    ),
    click.option(
        "--overlap", type=click.IntRange(min=0), metavar="PX", help="A quarter of the tile by default."
    ),
    click.option("--name", help="Name of the model; by default that of the network or of the file."),
)  # fmt: skip
"""What `new` and `import` say of the network and of what it is for."""


measured_scenes = together(
    scenes,
    stack,
    resolution,
    click.option(
        "-b", "--bands", type=BANDS, help="Names or numbers of the scene's bands, in the model's order."
    ),
    validity,
    allow_remote,
    expand_palette,
    force,
)
"""Scenes on which `quantize` and `calibrate` measure, and how they are read."""

measured_tiles = together(
    click.option(
        "--tile-size", type=click.IntRange(min=1), metavar="PX", help="Tile edge; the model's by default."
    ),
    click.option(
        "--overlap", type=click.IntRange(min=0), metavar="PX",
        help="Pixels that neighbouring tiles share; the model's by default.",
    ),
)  # fmt: skip
"""The tiles that they are cut into."""


def _check(output: Path, *, overwrite: bool) -> None:
    """Refuse a model file that could not be written, before long work begins."""
    from geoseg.models.model_file import check_name
    from geoseg.storage.output import claim

    check_name(output)
    with claim(output, overwrite=overwrite):
        pass


@click.group()
def command() -> None:
    """Create and convert model files."""


@command.command(
    epilog=examples(
        "geoseg model new --bands red,green,blue --classes water,forest=#228B22,field -o m.safetensors",
        "geoseg model new --task binary --bands red,green,blue --classes building -o m.safetensors",
        "geoseg model new --encoder resnet50 --encoder-weights imagenet --bands red,green,blue --classes a,b "
        "-o m.safetensors",
    )
)
@network
@click.option(
    "--encoder-weights",
    metavar="NAME|FILE",
    help="Pretrained weights: packaged (EfficientNet-Lite0), imagenet or torchgeo's (downloaded), a file, or none.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the random weights.",
)
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def new(
    classes: Legend,
    encoder_weights: str | None,
    task: Task | None,
    dtype: str | None,
    output: Path,
    overwrite: bool,
    **values: Any,
) -> None:
    """Create an untrained model file."""
    from geoseg.models.default_network import ChosenNetwork
    from geoseg.models.model import Model

    named = {name: values.pop(name) for name in ("architecture", "encoder", "decoder_options")}
    chosen = ChosenNetwork(
        **{name: value for name, value in named.items() if value is not None},
        encoder_weights=encoder_weights,
        gsd_m=values["gsd_m"],
    ).settled()
    assert chosen.encoder is not None
    made = Model.new(
        architecture=chosen.architecture,
        encoder=chosen.encoder,
        encoder_weights=chosen.encoder_weights,
        decoder_options=chosen.decoder_options,
        classes=classes,
        task=task or "multiclass",
        dtype=dtype or "uint8",
        **values,
    )
    made.save(output, overwrite=overwrite)
    say(f"Wrote {output}\n{made}")


@command.command(
    "import",
    epilog=examples(
        "geoseg model import folder_of_save_pretrained/ --bands red,green,blue --classes a,b -o m.safetensors",
        "geoseg model import best.pth --architecture Unet --encoder resnet34 --scale 1/255 --bands r,g,b "
        "--classes a,b "
        "-o m.safetensors",
        "geoseg model import torchgeo.ckpt --dtype uint16 --scale 1/10000 --bands B02,B03,B04 --classes a,b "
        "-o m.safetensors",
        "geoseg model import net.onnx --architecture Unet --encoder resnet34 --mean 0.4 --std 0.2 --bands r,g,b "
        "--classes a,b -o m.safetensors",
    ),
)
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@network
@click.option(
    "--scale", type=FACTORS, help="Factor of stored values before the network, or before --mean and --std."
)
@click.option("--mean", type=FACTORS, help="Subtracted after --scale: one number, or one per band.")
@click.option("--std", type=FACTORS, help="Divisor after --mean: one number, or one per band.")
@click.option("--source", default="", help="Who published the weights; recorded in the model file.")
@click.option("--licence", default="not known", help="Licence of the weights; recorded in the model file.")
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def import_(
    weights: Path,
    bands: tuple[str, ...],
    classes: Legend,
    output: Path,
    overwrite: bool,
    **values: Any,
) -> None:
    """Import weights from other programs as a model file.

    WEIGHTS is a folder written by save_pretrained of segmentation-models-pytorch, a .safetensors, .pt or .pth file
    of weights, a checkpoint of torchgeo, ftw-tools or geoai, or an .onnx exported from such a network. No code
    in it is ever run. A model imported from an .onnx is compared with it on random images.
    """
    from geoseg.models.importing import import_model

    made = import_model(
        weights,
        bands=bands,
        classes=classes,
        progress=not quiet(),
        **values,
    )
    made.save(output, overwrite=overwrite)
    for note in made.notes:
        say(note)
    say(f"Wrote {output}\n{made}")


@command.command(
    epilog=examples(
        "geoseg model calibrate model.safetensors a.tif --labels a_labels.tif -o calibrated.safetensors",
    )
)
@click.argument("model", type=EXISTING_FILE)
@measured_scenes
@click.option(
    "--labels",
    multiple=True,
    required=True,
    type=EXISTING_FILE,
    metavar="FILE",
    help="Class map of a SCENE with the model's codes; one per scene, in order. The model should not have learned "
    "from it.",
)
@measured_tiles
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def calibrate(
    model: Path,
    scenes: tuple[str, ...],
    stack: tuple[str, ...],
    output: Path,
    overwrite: bool,
    **values: Any,
) -> None:
    """Calibrate a model: make its probabilities say how often it is right.

    The new model file has the same weights and a temperature, by which every prediction divides the network's outputs.
    It is fitted to all labelled pixels of the scenes. Reports the calibration error and the negative log-likelihood
    before and after.
    """
    from geoseg.inference.calibrate import calibrate

    _check(output, overwrite=overwrite)
    made = calibrate(model, listed(scenes, stack), progress=not quiet(), **values)
    made.save(output, overwrite=overwrite)
    say(f"Wrote {output}\n{made}")


@command.command(
    epilog=examples(
        "geoseg model quantize model.safetensors scene.tif -o model8.safetensors",
        "geoseg model quantize model.safetensors a.tif --labels a_labels.tif -o model8.safetensors",
        "geoseg predict *.tif -m model8.safetensors -o maps/ --precision int8",
    )
)
@click.argument("model", type=EXISTING_FILE)
@measured_scenes
@click.option(
    "--tiles",
    type=click.IntRange(min=1, max=100_000),
    default=16,
    show_default=True,
    help="Number of tiles to measure on.",
)
@click.option(
    "--labels",
    multiple=True,
    type=EXISTING_FILE,
    metavar="FILE",
    help="Class map of a SCENE with the model's codes; one per scene, in order. Also measures mean IoU, and keeps "
    "layers in fp32 if it drops too much, which takes minutes.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    metavar="IOU",
    help="Largest accepted loss of mean IoU by int8, with --labels.",
)
@measured_tiles
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def quantize(
    model: Path,
    scenes: tuple[str, ...],
    stack: tuple[str, ...],
    output: Path,
    overwrite: bool,
    **values: Any,
) -> None:
    """Quantize a model to int8.

    The new model file has the same weights and, for --precision int8, the ranges of values inside the network,
    measured on tiles of the scenes, which should resemble those to be predicted. Reports how many pixels get another
    class and, for labelled scenes, the change of mean IoU.
    """
    from geoseg.inference.quantize import quantize

    _check(output, overwrite=overwrite)
    made = quantize(model, listed(scenes, stack), progress=not quiet(), **values)
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
    help="Tile size of the graph; by default the model's.",
)
@click.option(
    "--precision",
    type=click.Choice(("fp32", "int8")),
    default="fp32",
    show_default=True,
    help="Precision: fp32 (also computed in bf16 if the CPU supports it), or int8 after `geoseg model quantize`.",
)
@click.option(
    "--weights",
    type=click.Choice(("fp32", "fp16")),
    default="fp32",
    show_default=True,
    help="Data type of the weights in an .xml; fp16 rounds them and takes half the bytes.",
)
@output("File to write; the weights of an .xml go into OUT.bin beside it.", metavar="OUT.xml|OUT.onnx")
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
    """Export a model as a graph that predicts without torch.

    OUT.xml and OUT.bin hold the network for OpenVINO on a CPU, with everything that prediction needs.
    OUT.onnx is one file that other programs can read, too, in fp32 only; writing it needs the package onnx. predict,
    segment and info accept OUT.xml or OUT.onnx instead of a model file; it can neither be trained nor run on a GPU.
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
@legend("By default colours are chosen by the classes' names.")
@output("Model file to write.", metavar="OUT.safetensors")
@overwrite
@verbosity_options
def recolor(model: Path, legend: Path | None, output: Path, overwrite: bool) -> None:
    """Change the colours or names of a model's classes.

    Codes and weights do not change. For a single map, use --legend of predict and segment.
    """
    from geoseg.models.recolor import recolor

    card = recolor(model, output, legend=legend, overwrite=overwrite)
    say(f"Wrote {output}")
    for c in card.legend:
        say(f"  {c.code:>4} {c.color} {c.name}")
