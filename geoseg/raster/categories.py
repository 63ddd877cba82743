"""Category names beside a raster, in GDAL's ``.aux.xml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

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
