"""QGIS styles (QML) of legends: written and read, for categorised polygons and paletted rasters.

Only names and colours are read from a style: entities are refused, and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from geoseg.errors import LegendError
from geoseg.grid.legend import Legend, LegendClass, trimmed

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
# QGIS writes symbol properties as <Option> since 3.22 and read <prop> before.
_QGIS = '<qgis version="3.22.0" styleCategories="Symbology">'


def polygon_qml(legend: Legend) -> str:
    """Write the style of a polygon layer: one filled category per class of `class_code`, no outline.

    Outlines would draw a hairline grid over a coverage of small polygons.
    """
    rows = []
    for c in legend.classes:
        rgba = ",".join(map(str, c.rgb)) + ",255"
        rows.append((str(c.code), "long", c.name, {"color": rgba, "style": "solid", "outline_style": "no"}))
    return categorized_qml("class_code", rows)


def finding_qml(kinds: Iterable[tuple[str, str, str]]) -> str:
    """Write the style of findings by their attribute `check`: outlines that stay visible, over a pale fill.

    Parameters
    ----------
    kinds : iterable of (str, str, str)
        Value, label and colour (``#rrggbb``) of each kind of finding.
    """
    rows = []
    for value, label, color in kinds:
        rgb = ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))
        properties = {
            "color": f"{rgb},90", "style": "solid", "outline_color": f"{rgb},255", "outline_style": "solid",
            "outline_width": "0.6", "outline_width_unit": "MM",
        }  # fmt: skip
        rows.append((value, "string", label, properties))
    return categorized_qml("check", rows)


def categorized_qml(attribute: str, rows: Iterable[tuple[str, str, str, dict[str, str]]]) -> str:
    """Write the style of a polygon layer with a filled category for each value of an attribute.

    Parameters
    ----------
    attribute : str
        Name of the attribute.
    rows : iterable of (str, str, str, dict)
        Value, type of the value, label, and properties of the fill.
    """
    categories, symbols = [], []
    for i, (value, kind, label, properties) in enumerate(rows):
        categories.append(
            f'<category value="{value}" symbol="{i}" label={quoteattr(label)} render="true" type="{kind}"/>'
        )
        options = "".join(f'<Option type="QString" name="{k}" value="{v}"/>' for k, v in properties.items())
        old = "".join(f'<prop k="{k}" v="{v}"/>' for k, v in properties.items())
        symbols.append(
            f'<symbol type="fill" name="{i}" alpha="1" clip_to_extent="1" force_rhr="0">'
            f'<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">{options}</Option>{old}'
            "</layer></symbol>"
        )
    return "\n".join(
        [
            _DOCTYPE,
            _QGIS,
            f' <renderer-v2 type="categorizedSymbol" attr="{attribute}" symbollevels="0" enableorderby="0" '
            'forceraster="0">',
            "  <categories>" + "\n   ".join(["", *categories]) + "\n  </categories>",
            "  <symbols>" + "\n   ".join(["", *symbols]) + "\n  </symbols>",
            "  <rotation/><sizescale/>",
            " </renderer-v2>",
            " <blendMode>0</blendMode><featureBlendMode>0</featureBlendMode><layerGeometryType>2</layerGeometryType>",
            "</qgis>",
            "",
        ]
    )


def grown_qml(text: str, legend: Legend) -> str:
    """Add a category for every class that a polygon style lacks, leaving the others unchanged.

    A style that is not categorised by `class_code`, or cannot be read, is returned unchanged.
    """
    known = style_classes(text)
    root, more = style_tree(text), style_tree(polygon_qml(legend))
    renderer = None if root is None else root.find("./renderer-v2[@type='categorizedSymbol']")
    if known is None or root is None or more is None or renderer is None:
        return text
    if renderer.get("attr", "").strip('"') != "class_code":
        return text
    values = {value for value, _, _ in known} | {each.get("value") for each in renderer.iter("val")}
    missing = [c for c in legend.classes if str(c.code) not in values]
    categories, symbols = renderer.find("./categories"), renderer.find("./symbols")
    if not missing or categories is None or symbols is None:
        return text
    plain = _plain_legend(known)
    if plain is not None and text == polygon_qml(plain):
        return polygon_qml(Legend(classes=(*plain.classes, *missing)))
    taken = {symbol.get("name") for symbol in symbols.findall("./symbol")}
    free = (str(number) for number in range(len(taken) + len(legend.classes) + 1) if str(number) not in taken)
    shown = {c.get("value"): c for c in more.findall("./renderer-v2/categories/category")}
    drawn = {symbol.get("name"): symbol for symbol in more.findall("./renderer-v2/symbols/symbol")}
    for c in missing:
        category, name = shown[str(c.code)], next(free)
        symbol = drawn[category.get("symbol")]
        category.set("symbol", name)
        symbol.set("name", name)
        categories.append(category)
        symbols.append(symbol)
    return f"{_DOCTYPE}\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _plain_legend(classes: list[tuple[str, str, str | None]]) -> Legend | None:
    """Make a legend of the classes of a style; return None if they do not form one."""
    try:
        return Legend(
            classes=tuple(
                LegendClass(code=int(value), name=name, color=color or "") for value, name, color in classes
            )
        )
    except (ValueError, LegendError):
        return None


def raster_qml(legend: Legend) -> str:
    """Write the style of a class map: its classes only, instead of a colour table of 256 entries."""
    return _paletted([(c.code, c.name, c.color, 255) for c in legend.classes])


def layered_qml(legend: Legend) -> str:
    """Write the style of a map with one band per class: the first class in its colour, the rest transparent.

    A style shows one band; another can be chosen in the layer's properties.
    """
    first = legend.classes[0]
    return _paletted([(1, first.name, first.color, 255), (0, f"not {first.name}", "#ffffff", 0)])


def _paletted(classes: Iterable[tuple[int, str, str, int]]) -> str:
    """Write a paletted style of band 1 from (value, name, colour, opacity 0 to 255)."""
    entries = "\n   ".join(
        f'<paletteEntry value="{value}" color="{color}" alpha="{alpha}" label={quoteattr(name)}/>'
        for value, name, color, alpha in classes
    )
    return "\n".join(
        [
            _DOCTYPE,
            _QGIS + "<pipe>",
            ' <provider><resampling enabled="false" zoomedInResamplingMethod="nearestNeighbour" '
            'zoomedOutResamplingMethod="nearestNeighbour" maxOversampling="2"/></provider>',
            ' <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">'
            "<rasterTransparency/>",
            f"  <colorPalette>\n   {entries}\n  </colorPalette></rasterrenderer>",
            ' <brightnesscontrast brightness="0" contrast="0" gamma="1"/>'
            '<huesaturation saturation="0" grayscaleMode="0" colorizeOn="0"/>',
            ' <rasterresampler maxOversampling="2"/><resamplingStage>resamplingFilter</resamplingStage>',
            "</pipe><blendMode>0</blendMode></qgis>",
            "",
        ]
    )


def written_here(text: str) -> bool:
    """Tell whether a style is that of a raster, byte by byte as this module writes it; QGIS never writes one so."""
    root = style_tree(text)
    entries = [] if root is None else root.findall(".//paletteEntry")
    try:
        classes = [
            (int(e.attrib["value"]), e.attrib["label"], e.attrib["color"], int(e.attrib["alpha"]))
            for e in entries
        ]
    except (KeyError, ValueError):
        return False
    return bool(classes) and _paletted(classes) == text


def style_tree(text: str) -> ElementTree.Element | None:
    """Parse a style and return its root; None if it is not XML or declares entities, which QGIS never does."""
    if "<!ENTITY" in text:
        return None
    try:
        return ElementTree.fromstring(text)  # noqa: S314  entities are refused above
    except ElementTree.ParseError:
        return None


def symbol_color(symbol: ElementTree.Element) -> str | None:
    """Return the colour of a symbol's first enabled layer that has a colour, or None."""
    for layer in symbol.findall("./layer"):
        if layer.get("enabled", "1") != "1":
            continue
        properties = {e.get("name"): e.get("value") for e in layer.findall("./Option/Option")}
        properties |= {e.get("k"): e.get("v") for e in layer.findall("./prop")}
        text = properties.get("line_color" if layer.get("class") == "SimpleLine" else "color")
        numbers = re.match(r"(\d+),(\d+),(\d+)(,|$)", text or "")
        if numbers and all(int(n) < 256 for n in numbers.groups()[:3]):
            return "#{:02x}{:02x}{:02x}".format(*map(int, numbers.groups()[:3]))
    return None


def palette_classes(text: str) -> list[tuple[str, str, str | None]]:
    """Read value, label and colour of each class of a raster style, paletted or with exact values."""
    root = style_tree(text)
    if root is None:
        return []
    entries = [
        *root.findall(".//rasterrenderer[@type='paletted']/colorPalette/paletteEntry"),
        *root.findall(".//rasterrenderer//colorrampshader[@colorRampType='EXACT']/item"),
    ]
    return [(e.get("value", ""), trimmed(e.get("label", "")), e.get("color")) for e in entries]


def style_classes(text: str) -> list[tuple[str, str, str | None]] | None:
    """Read value, label and colour (``#rrggbb`` or None) of each class of a style; None if it has none.

    Parameters
    ----------
    text : str
        QML of a paletted raster or of a categorised vector layer.
    """
    if entries := palette_classes(text):
        return entries
    root = style_tree(text)
    if root is None:
        return None
    renderer = root.find("./renderer-v2[@type='categorizedSymbol']")
    if renderer is None:
        return None
    colors = {symbol.get("name"): symbol_color(symbol) for symbol in renderer.findall("./symbols/symbol")}
    return [
        (c.get("value", ""), trimmed(c.get("label", "")), colors.get(c.get("symbol")))
        for c in renderer.findall("./categories/category")
        if c.get("value")  # the category of all other values has none
    ]
