"""Parameter types of the command line; invalid text is a usage error."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import GeosegError, plural

from .flags import spelled

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend

    ParamType = click.ParamType[Any]  # generic only for the type checker in some of the versions we allow
else:
    ParamType = click.ParamType

_LARGEST_BATCH = 65_536
"""Maximum batch size in tiles; far more than makes any device faster."""

Context = click.Context | None
Parameter = click.Parameter | None


class BoundsType(ParamType):
    """``"W S E N"``: four numbers in the scene's CRS."""

    name = '"W S E N"'

    def convert(
        self, value: str | tuple[float, ...], param: Parameter, ctx: Context
    ) -> tuple[float, float, float, float]:
        """Return (west, south, east, north)."""
        try:
            west, south, east, north = map(
                float, value.replace(",", " ").split() if isinstance(value, str) else value
            )
        except ValueError:
            self.fail(f'{value!r} is not four numbers, expected "WEST SOUTH EAST NORTH"', param, ctx)
        if not all(map(math.isfinite, (west, south, east, north))):
            self.fail(f"{value!r} is not finite", param, ctx)
        if not (west < east and south < north):
            self.fail(f"{value!r} is empty, expected west < east and south < north", param, ctx)
        return west, south, east, north


class SceneFileType(click.Path):
    """A file, a product's folder, or a URL or ``/vsi...`` name, which is checked when it is opened."""

    def __init__(self) -> None:
        super().__init__(exists=True)

    def convert(self, value: str | os.PathLike[str], param: Parameter, ctx: Context) -> str:
        """Return the name."""
        from geoseg.raster.opening import is_remote

        if isinstance(value, str) and is_remote(value):
            return value
        return str(super().convert(value, param, ctx))


class BandsType(ParamType):
    """``3,2,1`` or ``red,green,blue``: band numbers from 1, or names."""

    name = "BAND,..."

    def convert(
        self, value: str | tuple[int | str, ...], param: Parameter, ctx: Context
    ) -> tuple[int | str, ...]:
        """Return numbers as int and names as str."""
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")]
        bands: list[int | str] = [int(part) if re.fullmatch(r"-?\d{1,18}", part) else part for part in parts]
        if not all(parts) or any(isinstance(band, int) and band < 1 for band in bands):
            self.fail(f"{value!r} is no list of bands, expected numbers from 1 or names: 3,2,1", param, ctx)
        return tuple(bands)


class NamesType(ParamType):
    """``red,green,blue``: names."""

    name = "NAME,..."

    def convert(self, value: str | tuple[str, ...], param: Parameter, ctx: Context) -> tuple[str, ...]:
        """Return the names."""
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(","))
        if not all(names) or len(set(names)) != len(names):
            self.fail(
                f"{value!r} is no list of different names, expected for example red,green,blue", param, ctx
            )
        return names


class LegendType(ParamType):
    """``water,forest=#228B22,...``: classes 1 to n, optionally with colours; a built-in legend, or a legend
    file.
    """

    name = "NAME[=#RRGGBB],...|FILE"

    def convert(self, value: str | Legend, param: Parameter, ctx: Context) -> Legend:
        """Return the legend."""
        if not isinstance(value, str):
            return value
        from geoseg.grid.legend import BUILT_IN, Legend

        try:
            if value not in BUILT_IN and os.path.isfile(value):  # noqa: PTH113  a list of names may be no path
                from geoseg.raster.legend_file import read_legend

                return read_legend(Path(value))
            return BUILT_IN.get(value) or Legend.parse(value)
        except GeosegError as error:
            self.fail(spelled(error, ctx), param, ctx)


class NumbersType(ParamType):
    """``107,0,426,640``: a given number of whole numbers from 0."""

    name = "N,..."

    def __init__(self, count: int) -> None:
        self._count = count

    def convert(self, value: str | tuple[int, ...], param: Parameter, ctx: Context) -> tuple[int, ...]:
        """Return the numbers."""
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")]
        if len(parts) != self._count or not all(re.fullmatch(r"\d{1,18}", part) for part in parts):
            self.fail(
                f"{value!r} is not {plural(self._count, 'whole number')}, expected for example "
                f"{','.join(['640'] * self._count)}",
                param,
                ctx,
            )
        return tuple(map(int, parts))


class FactorsType(ParamType):
    """``0.485,0.456,0.406`` or ``1/255``: one or more numbers or fractions."""

    name = "NUMBER,..."

    def convert(self, value: str | tuple[float, ...], param: Parameter, ctx: Context) -> tuple[float, ...]:
        """Return the numbers."""
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(self._number(part) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            self.fail(
                f"{value!r} is no list of numbers, expected for example 0.485,0.456,0.406 or 1/255",
                param,
                ctx,
            )
        return numbers

    @staticmethod
    def _number(text: str) -> float:
        above, slash, below = text.partition("/")
        return float(above) / float(below) if slash else float(above)


class OptionsType(ParamType):
    """``{"decoder_channels": [64, 32]}``: names and values as JSON."""

    name = "JSON"

    def convert(self, value: str | dict[str, Any], param: Parameter, ctx: Context) -> dict[str, Any]:
        """Return the options."""
        if not isinstance(value, str):
            return value
        from geoseg.storage.foreign_text import read_json
        from geoseg.storage.printable import shown

        try:
            options = read_json(value)
        except ValueError:
            options = None
        if not isinstance(options, dict):
            self.fail(
                f'{shown(value, 80)} is no JSON object, expected for example {{"decoder_channels": [64, 32]}}',
                param,
                ctx,
            )
        return options


class BatchSizeType(ParamType):
    """``auto`` or a number of tiles."""

    name = "auto|N"

    def convert(self, value: str | int, param: Parameter, ctx: Context) -> int | None:
        """Return the number, or None for auto."""
        if value == "auto":
            return None
        if not re.fullmatch(r"\d{1,18}", str(value)) or not 1 <= int(value) <= _LARGEST_BATCH:
            self.fail(
                f"{value!r} is no batch size, expected auto or a number from 1 to {_LARGEST_BATCH}",
                param,
                ctx,
            )
        return int(value)


class NodataType(ParamType):
    """``-9999``, ``none`` or ``0,0,none``: no-data value of all bands or of each; ``0/255`` are two values of a
    band.
    """

    name = "VALUE,..."

    def convert(self, value: str | tuple[Any, ...], param: Parameter, ctx: Context) -> tuple[Any, ...] | None:
        """Return the values of each band."""
        from geoseg.raster.declared import nodata_of

        try:
            return nodata_of(value)
        except GeosegError as error:
            self.fail(spelled(error, ctx), param, ctx)


class AlphaType(ParamType):
    """``none`` or a band number."""

    name = "none|N"

    def convert(self, value: str | int, param: Parameter, ctx: Context) -> int | str:
        """Return the number, or ``none``."""
        if value == "none":
            return value
        if not re.fullmatch(r"0*[1-9]\d*", str(value)):
            self.fail(f"{value!r} is no band, expected its number from 1, or none", param, ctx)
        return int(value)


class SizeType(ParamType):
    """``ROWSxCOLS``: rows and columns in px."""

    name = "ROWSxCOLS"

    def convert(self, value: str | tuple[int, int], param: Parameter, ctx: Context) -> tuple[int, int]:
        """Return (rows, cols)."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"([1-9]\d{0,8})[x×]([1-9]\d{0,8})", value.strip().lower(), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is no size, expected rows and columns: 1400x2100", param, ctx)
        return int(match[1]), int(match[2])


SCENE_FILE = SceneFileType()


class FoldsType(ParamType):
    """A number of folds, or ``groups``."""

    name = "K|groups"

    def convert(self, value: str | int, param: Parameter, ctx: Context) -> int | str:
        """Return the number, or the word."""
        if isinstance(value, int) or value == "groups":
            return value
        if not value.isdecimal():
            self.fail(f"{value!r} is neither a number nor groups", param, ctx)
        return int(value)


BOUNDS = BoundsType()
BANDS = BandsType()
FOLDS = FoldsType()
NAMES = NamesType()
FACTORS = FactorsType()
OPTIONS = OptionsType()
LEGEND = LegendType()
BATCH_SIZE = BatchSizeType()
SIZE = SizeType()
NODATA = NodataType()
ALPHA = AlphaType()
NUMBERS = NumbersType
