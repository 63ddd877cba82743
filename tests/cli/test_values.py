"""Texts of the command line become values, or one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from geoseg_cli.options import predict_options, prediction
from geoseg_cli.values import BANDS, BATCH_SIZE, BOUNDS, LEGEND, NAMES, SIZE

from geoseg.inference.options import PredictOptions


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (BOUNDS, "1 2 3 4", (1.0, 2.0, 3.0, 4.0)),
        (BOUNDS, "-1.5,-2,3e5, 4", (-1.5, -2.0, 3e5, 4.0)),
        (BANDS, "3,2,1", (3, 2, 1)),
        (BANDS, "red, 2,nir 1", ("red", 2, "nir 1")),
        (BATCH_SIZE, "auto", None),
        (BATCH_SIZE, "4", 4),
        (NAMES, "red, green", ("red", "green")),
        (SIZE, "1400x2100", (1400, 2100)),
        (SIZE, " 2X3 ", (2, 3)),
    ],
)
def test_a_good_text_becomes_a_value(kind: click.ParamType, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


def test_a_legend_is_parsed() -> None:
    legend = LEGEND.convert("water,forest=#228B22", None, None)
    assert legend.names == ("water", "forest")
    assert legend[2].color == "#228b22"
    assert LEGEND.convert('"Cropland, rainfed",water', None, None).names == ("Cropland, rainfed", "water")


def test_a_file_with_a_legend_is_no_class_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "legend.csv"
    path.write_text("code,name\n10,water\n30,forest\n")
    assert LEGEND.convert(str(path), None, None).codes == (10, 30)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (BOUNDS, "1 2 3"),
        (SIZE, "1400"),
        (SIZE, "0x3"),
        (SIZE, "1x2x3"),
        (BOUNDS, "1 2 3 4 5"),
        (BOUNDS, "1 2 3 x"),
        (BOUNDS, "1 2 nan 4"),
        (BOUNDS, "1 2 inf 4"),
        (BOUNDS, "3 2 1 4"),
        (BOUNDS, "1 4 3 4"),
        (BANDS, ""),
        (BANDS, "1,,2"),
        (BANDS, "0"),
        (BANDS, "-1,2"),
        (BATCH_SIZE, "0"),
        (BATCH_SIZE, "-4"),
        (BATCH_SIZE, "many"),
        (BATCH_SIZE, "4.5"),
        (NAMES, "red,red"),
        (NAMES, "red,"),
        (LEGEND, "a=#12"),
        (LEGEND, "a,a"),
        (LEGEND, ""),
    ],
)
def test_a_bad_text_is_a_usage_error(kind: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        kind.convert(text, None, None)
    assert raised.value.exit_code == 2
    assert "\n" not in raised.value.message


def test_options_that_are_not_given_are_those_of_python() -> None:
    """The defaults stand once, in `PredictOptions`."""

    @click.command()
    @prediction
    def command(
        model: object, stack: object, fresh: bool, overwrite: bool, **values: object
    ) -> PredictOptions:
        options = predict_options(values)
        assert not values, "an option is no field of PredictOptions"
        return options

    assert command.main(["-m", __file__], standalone_mode=False) == PredictOptions()


def test_every_option_reaches_its_field(tmp_path: Path) -> None:
    legend = tmp_path / "legend.csv"
    legend.write_text("code,name\n1,water\n")

    @click.command()
    @prediction
    def command(
        model: object, stack: object, fresh: bool, overwrite: bool, **values: object
    ) -> PredictOptions:
        return predict_options(values)

    flags = (
        f"-m {__file__} -b 3,2 --legend {legend} --bounds 1,2,3,4 --clip {__file__}"
        " --tile-size 64 --overlap 8 --batch-size 3 --device cpu --devices 2 --precision bf16"
        " --on-error nodata --allow-remote --expand-palette"
        " --assume-crs EPSG:32633 --force --tta --compile --profile"
        " --nodata -9999 --nodata-rule any --alpha 4 --resolution 20"
    )
    given = command.main(flags.split(), standalone_mode=False)
    default = PredictOptions()
    assert not [name for name in PredictOptions.__slots__ if getattr(given, name) == getattr(default, name)]
