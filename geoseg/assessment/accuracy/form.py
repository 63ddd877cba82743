"""The QGIS style of a sample: a labelling form, and points drawn by their label alone."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

from geoseg.grid.legend import Legend

POINT: Final = "point"
REFERENCE: Final = "reference"
COMMENT: Final = "comment"

_NULL: Final = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"
"""What QGIS's value maps write for no value."""
_UNLABELLED: Final = "255,255,255,0"
_RIM: Final = "255,0,200,255"
"""Colour around the points: one that land seldom has."""


def labelling_qml(legend: Legend) -> str:
    """Write the style: rings that are filled with the colour of the class once it is chosen, and the form.

    The form has the number of the point, a list of the legend's classes and a comment. Nothing in the layer tells the
    class that the map has.
    """
    choices = [("(not labelled)", _NULL), *((c.name, str(c.code)) for c in legend.classes)]
    options = "".join(
        f'<Option type="Map"><Option type="QString" name={quoteattr(name)} value="{value}"/></Option>'
        for name, value in choices
    )
    categories = [
        f'<category value="{c.code}" symbol="{i}" label={quoteattr(c.name)} render="true" type="long"/>'
        for i, c in enumerate(legend.classes)
    ]
    rest = len(legend.classes)
    categories.append(f'<category value="" symbol="{rest}" label="to label" render="true" type="string"/>')
    symbols = [_marker(i, ",".join(map(str, c.rgb)) + ",255", "3") for i, c in enumerate(legend.classes)] + [
        _marker(rest, _UNLABELLED, "4.5")
    ]
    return "\n".join(
        [
            "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>",
            '<qgis version="3.22.0" styleCategories="AllStyleCategories">',
            f' <renderer-v2 type="categorizedSymbol" attr="{REFERENCE}" symbollevels="0" enableorderby="0" '
            'forceraster="0">',
            "  <categories>" + "\n   ".join(["", *categories]) + "\n  </categories>",
            "  <symbols>" + "\n   ".join(["", *symbols]) + "\n  </symbols>",
            "  <rotation/><sizescale/>",
            " </renderer-v2>",
            " <fieldConfiguration>",
            _field("fid", "Hidden", ""),
            _field(POINT, "TextEdit", ""),
            _field(REFERENCE, "ValueMap", f'<Option type="List" name="map">{options}</Option>'),
            _field(COMMENT, "TextEdit", '<Option type="bool" name="IsMultiline" value="true"/>'),
            " </fieldConfiguration>",
            f' <aliases><alias field="{REFERENCE}" index="2" name="class on the ground"/></aliases>',
            f' <editable><field name="fid" editable="0"/><field name="{POINT}" editable="0"/>'
            f'<field name="{REFERENCE}" editable="1"/><field name="{COMMENT}" editable="1"/></editable>',
            f" <previewExpression>&quot;{POINT}&quot;</previewExpression>",
            " <editorlayout>generatedlayout</editorlayout>",
            " <layerGeometryType>0</layerGeometryType>",
            "</qgis>",
            "",
        ]
    )


def _field(name: str, widget: str, options: str) -> str:
    return (
        f'  <field name="{name}" configurationFlags="None"><editWidget type="{widget}"><config>'
        f'<Option type="Map">{options}</Option></config></editWidget></field>'
    )


def _marker(name: int, color: str, size: str) -> str:
    properties = {
        "name": "circle", "color": color, "outline_color": _RIM, "outline_style": "solid", "outline_width": "0.5",
        "outline_width_unit": "MM", "size": size, "size_unit": "MM",
    }  # fmt: skip
    options = "".join(f'<Option type="QString" name="{k}" value="{v}"/>' for k, v in properties.items())
    old = "".join(f'<prop k="{k}" v="{v}"/>' for k, v in properties.items())
    return (
        f'<symbol type="marker" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleMarker" enabled="1" locked="0" pass="0"><Option type="Map">{options}</Option>{old}'
        "</layer></symbol>"
    )
