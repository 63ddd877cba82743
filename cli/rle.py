"""``geoseg rle``: encode masks as run lengths and decode them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from geoseg.storage.printable import printable

from .messages import say
from .options import EXISTING_FILE, examples, overwrite, size
from .verbosity import verbosity_options


@click.group()
def command() -> None:
    """Encode masks as Kaggle run lengths, or decode them."""


@command.command(
    epilog=examples(
        "geoseg rle encode mask.png",
        "geoseg rle encode classes.tif --value 30",
        "geoseg rle encode masks/a.png masks/b.png -o masks.csv",
    )
)
@click.argument("masks", nargs=-1, required=True, type=EXISTING_FILE, metavar="MASK...")
@click.option("--value", type=int, metavar="N", help="Value of the pixels to encode; by default all but 0.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT.csv",
    help="Table to write (ImageId,EncodedPixels); by default the result is printed.",
)  # fmt: skip
@overwrite
@verbosity_options
def encode(masks: tuple[Path, ...], value: int | None, output: Path | None, overwrite: bool) -> None:
    """Encode masks with one band as run lengths: column by column, counted from 1.

    Prints the run lengths of one mask, or a table for several.
    """
    from geoseg.pictures.rle_files import encode_file, rows_of, write_rows

    if output is not None:
        write_rows(masks, output, value=value, overwrite=overwrite)
        say(f"Wrote {output}: {len(masks)} {'mask' if len(masks) == 1 else 'masks'}")
    elif len(masks) == 1:
        click.echo(encode_file(masks[0], value=value))
    else:
        rows = rows_of(masks, value=value)
        click.echo(printable(rows) if sys.stdout.isatty() else rows, nl=False)


@command.command(
    epilog=examples(
        "geoseg rle decode train.csv --size 1400x2100 -o masks/",
    )
)
@click.argument("table", type=EXISTING_FILE, metavar="TABLE.csv")
@size
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR/",
    help="Folder for the masks, IMAGE_CLASS.png.",
)  # fmt: skip
@overwrite
@verbosity_options
def decode(table: Path, size: tuple[int, int] | None, output: Path, overwrite: bool) -> None:
    """Decode a run-length table to masks: PNG files, 255 where the class is present."""
    from geoseg.pictures.rle_files import write_masks

    if size is None:
        raise click.UsageError("a table says nothing of its images, expected --size ROWSxCOLS")
    written = write_masks(table, output, size, overwrite=overwrite)
    say(f"Wrote {len(written)} {'mask' if len(written) == 1 else 'masks'} in {output}")
