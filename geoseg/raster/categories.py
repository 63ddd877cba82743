"""Category names beside a raster, in GDAL's ``.aux.xml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_LARGEST = 16 * 2**20
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def categories_to_xml(*bands: Mapping[int, str]) -> str:
    """Return the ``.aux.xml`` that names the codes of each band; other codes have an empty name."""
    text = ["<PAMDataset>"]
    for number, names in enumerate(bands, start=1):
        text += [f'  <PAMRasterBand band="{number}">', "    <CategoryNames>"]
        for code in range(max(names) + 1):
            text.append(f"      <Category>{escape(_NOT_XML.sub(' ', names.get(code, '')))}</Category>")
        text += ["    </CategoryNames>", "  </PAMRasterBand>"]
    return "\n".join([*text, "</PAMDataset>", ""])


def read_categories(raster: Path) -> dict[int, str]:
    """Names by code from the ``.aux.xml`` of a raster; empty where there is none that can be read.

    Only names are taken, from a file without a document type (and so without entities).
    """
    path = raster.with_name(raster.name + ".aux.xml")
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        text = path.read_bytes()
    except OSError:
        return {}
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return {}
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  entities are refused above
    except ElementTree.ParseError:
        return {}
    categories = root.findall("./PAMRasterBand[@band='1']/CategoryNames/Category")
    names = {code: (element.text or "").strip() for code, element in enumerate(categories)}
    return {code: name for code, name in names.items() if name}
