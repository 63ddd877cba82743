"""Names and colours that rasters say themselves: attribute tables, categories, styles, members of a VRT."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.main import group

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.qml import polygon_qml, raster_qml
from geoseg.labels.coded_labels import found_classes
from geoseg.raster.classmap import class_map_sidecars, read_class_map, write_cog

CODES = np.array([[11, 21, 41], [82, 95, 11]], np.uint8)
NLCD = {
    11: ("Open Water", "#466b9f"),
    21: ("Developed, Open Space", "#dec5c5"),
    41: ("Deciduous Forest", "#68ab5f"),
    82: ("Cultivated Crops", "#ab6c28"),
    95: ("Emergent Herbaceous Wetlands", "#6c9fb8"),
}
USAGES = {"Value": 5, "Histogram": 1, "Land Cover": 2, "Red": 6, "Green": 7, "Blue": 8}


def write(path: Path, codes: np.ndarray = CODES, **more: object) -> Path:
    height, width = codes.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=codes.dtype, height=height, width=width, crs="EPSG:32652",
        transform=Affine(30, 0, 500_000, 0, -30, 4_000_000), **more,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    return path


def rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def table(columns: dict[str, tuple[int, int]], rows: list[list[object]], attributes: str = "") -> str:
    """XML of GDAL for an attribute table: columns with their type and usage."""
    fields = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for i, (name, (kind, usage)) in enumerate(columns.items())
    )
    cells = "".join(
        f'<Row index="{i}">' + "".join(f"<F>{cell}</F>" for cell in row) + "</Row>"
        for i, row in enumerate(rows)
    )
    return (
        f'<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable {attributes}>{fields}{cells}'
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )


def by_value() -> str:
    """As GDAL writes it for a GeoTIFF: a row a class."""
    columns = {name: (2 if usage == 2 else 0, usage) for name, usage in USAGES.items()}
    return table(columns, [[code, 1, name, *rgb(color)] for code, (name, color) in NLCD.items()])


def by_row() -> str:
    """As NLCD's: the row's number is the code, colours are shares, most rows are empty, no column is a name's."""
    columns = {
        "Histogram": (1, 1),
        "Red": (1, 6),
        "Green": (1, 7),
        "Blue": (1, 8),
        "NLCD Land Cover Class": (2, 0),
    }
    rows = [
        [int(code in NLCD), *(f"{part / 255:.15g}" for part in rgb(NLCD[code][1])), NLCD[code][0]]
        if code in NLCD
        else [0, 0, 0, 0, ""]
        for code in range(256)
    ]
    return table(columns, rows, 'Row0Min="0" BinSize="1"')


def dbf() -> bytes:
    """As ArcGIS writes ``.vat.dbf``."""
    fields = [
        ("Value", "N", 9),
        ("Count", "N", 9),
        ("Class_Name", "C", 30),
        ("Red", "N", 5),
        ("Green", "N", 5),
        ("Blue", "N", 5),
    ]
    length = 1 + sum(width for _, _, width in fields)
    head = struct.pack("<BBBBIHH20x", 3, 126, 1, 1, len(NLCD), 33 + 32 * len(fields), length)
    for name, kind, width in fields:
        head += name.encode().ljust(11, b"\0") + kind.encode() + bytes(4) + bytes([width, 0]) + bytes(14)
    rows = b""
    for code, (name, color) in NLCD.items():
        cells = [code, 1, name, *rgb(color)]
        rows += b" " + b"".join(
            str(cell).ljust(width).encode() if kind == "C" else str(cell).rjust(width).encode()
            for cell, (_, kind, width) in zip(cells, fields, strict=True)
        )
    return head + b"\r" + rows + b"\x1a"


def legend_of(path: Path) -> dict[int, tuple[str, str]]:
    legend = read_class_map(path).legend
    assert legend is not None
    return {c.code: (c.name, c.color) for c in legend.classes}


@pytest.mark.parametrize("form", [by_value, by_row])
def test_an_attribute_table_names_and_colours_the_codes(tmp_path: Path, form) -> None:
    path = write(tmp_path / "nlcd.tif")
    Path(f"{path}.aux.xml").write_text(form())
    assert legend_of(path) == NLCD
    assert {c.value: (c.name, c.color) for c in found_classes(path)} == NLCD


def test_a_table_of_arcgis_names_and_colours_the_codes(tmp_path: Path) -> None:
    path = write(tmp_path / "nlcd.tif")
    content = dbf()
    Path(f"{path}.vat.dbf").write_bytes(content)
    assert legend_of(path) == NLCD
    for cut in range(0, len(content), 7):  # a damaged table says less, and nothing else
        Path(f"{path}.vat.dbf").write_bytes(content[:cut])
        found = read_class_map(path).legend
        assert found is None or {c.code for c in found.classes if not c.name.startswith("class ")} <= set(
            NLCD
        )


def test_a_table_without_colours_leaves_them_to_the_names(tmp_path: Path) -> None:
    path = write(tmp_path / "nlcd.tif")
    columns = {
        "VALUE": (0, 0),
        "COUNT": (0, 0),
        "LandCover": (2, 0),
        "Red": (0, 6),
        "Green": (0, 7),
        "Blue": (0, 8),
    }
    rows = [[code, 1, name, 0, 0, 0] for code, (name, _) in NLCD.items()]
    Path(f"{path}.aux.xml").write_text(table(columns, rows))
    assert legend_of(path) == {
        c.code: (c.name, c.color) for c in Legend.of((k, n, None) for k, (n, _) in NLCD.items()).classes
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<PAMDataset>",
        '<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset/>',
        by_value().replace("<F>11</F>", "<F>x</F><F>1</F>"),
    ],
)
def test_a_table_that_cannot_be_read_says_nothing_of_what_it_lacks(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "nlcd.tif")
    Path(f"{path}.aux.xml").write_text(text)
    found = read_class_map(path).legend
    assert found is None or found[11].name == "class 11"


def test_codes_that_a_table_calls_the_same_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "nlcd.tif")
    Path(f"{path}.aux.xml").write_text(by_value().replace("Cultivated Crops", "Open Water"))
    names = [c.name for c in found_classes(path)]
    assert names == ["Open Water (11)", NLCD[21][0], NLCD[41][0], "Open Water (82)", NLCD[95][0]]
    assert len(set(legend_of(path).values())) == len({name for name, _ in legend_of(path).values()}) == 5


def test_vectorize_writes_the_names_and_colours_of_the_table(tmp_path: Path) -> None:
    import pyogrio

    path, out = write(tmp_path / "nlcd.tif"), tmp_path / "nlcd.gpkg"
    Path(f"{path}.aux.xml").write_text(by_row())
    result = CliRunner().invoke(group, ["vectorize", str(path), "-o", str(out)])
    assert result.exit_code == 0, result.stderr
    frame = pyogrio.read_dataframe(out, layer="landcover", read_geometry=False)
    assert dict(zip(frame["class_code"], frame["class_name"], strict=True)) == {
        k: n for k, (n, _) in NLCD.items()
    }
    described = CliRunner().invoke(group, ["info", str(path)])
    assert "Developed, Open Space" in described.stdout


def test_the_style_beside_a_raster_counts_as_in_qgis(tmp_path: Path) -> None:
    path = write(tmp_path / "my.map.tif")
    Path(f"{path}.aux.xml").write_text(by_value())
    style = path.with_suffix(".qml")
    style.write_text(
        raster_qml(Legend.parse("a"))
        .replace('value="1"', 'value="11"')
        .replace('label="a"', 'label="Lake, big"')
    )
    found = legend_of(path)
    assert found[11][0] == "Lake, big"
    assert {k: v for k, v in found.items() if k != 11} == {k: v for k, v in NLCD.items() if k != 11}
    # A label that is only the code is no name, and a style of polygons is of another file.
    for text in (style.read_text().replace("Lake, big", "11"), polygon_qml(Legend.made_up([11]))):
        style.write_text(text)
        assert legend_of(path)[11][0] == "Open Water"


def test_exact_values_of_a_grey_band_are_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    path.with_suffix(".qml").write_text(
        '<qgis><pipe><rasterrenderer type="singlebandpseudocolor"><rastershader><colorrampshader colorRampType="EXACT">'
        '<item value="11" label="lake" color="#010203" alpha="255"/></colorrampshader></rastershader></rasterrenderer>'
        "</pipe></qgis>"
    )
    assert legend_of(path)[11] == ("lake", "#010203")


def our_map(path: Path, legend: Legend, at: int = 0) -> Path:
    codes = np.array([[1, 2, 3]], np.uint8)
    grid = Grid(
        height=1,
        width=3,
        transform=Affine(10, 0, 10 * at, 0, -10, 0),
        crs=rasterio.CRS.from_epsg(32652).to_wkt(),
    )
    write_cog(path, iter([codes]), grid, legend=legend, description="land cover", tags={})
    for suffix, text in class_map_sidecars(legend).items():
        (Path(f"{path}{suffix}") if suffix == ".aux.xml" else path.with_suffix(suffix)).write_text(
            text, encoding="utf-8"
        )
    return path


def mosaic(path: Path, *members: Path) -> Path:
    """What gdalbuildvrt keeps of such maps: their colour table, and where they lie."""
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{member.name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="3" ySize="1"/>'
        f'<DstRect xOff="{3 * i}" yOff="0" xSize="3" ySize="1"/></SimpleSource>'
        for i, member in enumerate(members)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{3 * len(members)}" rasterYSize="1"><GeoTransform>0, 10, 0, 0, 0, -10</GeoTransform>'
        f'<VRTRasterBand dataType="Byte" band="1"><NoDataValue>255</NoDataValue>{sources}</VRTRasterBand></VRTDataset>'
    )
    return path


def test_a_mosaic_is_called_what_its_members_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    legend = Legend.parse('water=#0000ff,"forest, dense",Ödland=#aabbcc')
    members = [our_map(tmp_path / f"{i}.tif", legend, 3 * i) for i in range(2)]
    whole = mosaic(tmp_path / "all.vrt", *members)
    assert read_class_map(whole).legend == legend
    assert not caplog.records
    our_map(members[1], Legend.parse("water=#0000ff,meadow,Ödland=#aabbcc"), 3)
    assert read_class_map(whole).legend == legend
    assert (
        "members call code 2 'forest, dense' and 'meadow'; the first counts, legend= decides" in caplog.text
    )
    whole.with_suffix(".qml").write_text(raster_qml(Legend.parse("a,b,c")), encoding="utf-8")
    assert read_class_map(whole).legend == Legend.parse("a,b,c")


def test_what_a_person_calls_a_class_of_our_map_in_qgis_counts(tmp_path: Path) -> None:
    path = our_map(tmp_path / "a.tif", Legend.parse("water,forest,town"))
    style = path.with_suffix(".qml")
    style.write_text(style.read_text().replace('label="forest"', 'label="spruce"'))
    found = read_class_map(path).legend
    assert found is not None
    assert found.names == ("water", "spruce", "town")


def test_names_that_no_style_can_hold_come_back_from_our_map(tmp_path: Path) -> None:
    legend = Legend.made_up([1, 2, 3], {1: " a  b ", 2: "c ", 3: "x"})
    assert read_class_map(our_map(tmp_path / "a.tif", legend)).legend == legend
