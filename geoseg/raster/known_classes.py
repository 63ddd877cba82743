"""Names and colours of a raster's class codes, from all places where files store them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from geoseg.errors import LegendError, Message, SceneError
from geoseg.grid.legend import trimmed
from geoseg.grid.qml import palette_classes, raster_qml
from geoseg.raster.attribute_table import KnownClasses, table_of_dbf, table_of_xml
from geoseg.raster.description import Description, describe
from geoseg.raster.file_kinds import KINDS
from geoseg.raster.legend_file import LEGEND_TAG, legend_from_json
from geoseg.raster.opening import locate

_log = logging.getLogger(__name__)

_LARGEST = 16 * 2**20
_ENDINGS = tuple(ending for kind in KINDS if kind.holds == "raster" for ending in kind.endings)
_MEMBERS = 64
"""Most members of a VRT that are searched."""


def known_classes(file: Description, band: int = 1) -> KnownClasses:
    """Find the names and colours that a raster gives the codes of a band.

    The sources are the colour table, the category names and the attribute table (``.vat.dbf``, ``.aux.xml``), the
    tag ``GEOSEG_LEGEND`` and the QGIS style beside the raster (``.qml``). Later ones take precedence, as in QGIS. A
    VRT without names takes those of its members. A style that may be of another raster of the same name, such as
    ``a.qml`` beside ``a.png`` and ``a.tif``, is not read, and a line says so.

    Parameters
    ----------
    file : Description
        Metadata of the raster.
    band : int
        Number of the band, from 1.

    Raises
    ------
    LegendError
        If the tag is damaged.
    """
    known = KnownClasses()
    if band == 1 and file.palette:
        known |= KnownClasses(colors={code: "#{:02x}{:02x}{:02x}".format(*c[:3]) for code, c in file.palette})
    if not file.location.remote:
        known |= _beside(Path(file.location.name), band, vrt=file.location.driver == "VRT")
    tagged = legend_from_json(file.tags[LEGEND_TAG]) if LEGEND_TAG in file.tags else None
    if tagged is not None:
        known |= KnownClasses(
            {c.code: c.name for c in tagged.classes}, {c.code: c.color for c in tagged.classes}
        )
    if not file.location.remote and band == 1:
        style = _read(Path(file.location.name).with_suffix(".qml"))
        # The style that was written together with the tag is skipped: XML attributes cannot hold every name.
        if style is not None and (tagged is None or style != raster_qml(tagged).encode()):
            styled = known | _of_style(style)
            known = styled if styled == known or _may_be_of(file, style) else known
    return known


def names_classes(file: Description) -> bool:
    """Tell whether a raster has names or colours for its codes."""
    try:
        known = known_classes(file)
    except LegendError:
        return True
    return bool(known.names or known.colors)


def _may_be_of(file: Description, style: bytes) -> bool:
    """Tell whether the style beside a raster is its own, where other rasters have the same name but for the ending.

    It is that of the raster whose tag it was written with; else of the one that has a tag; else nobody can tell.
    """
    path = Path(file.location.name)
    names = [path.with_suffix(case(ending)) for ending in _ENDINGS for case in (str.lower, str.upper)]
    others = {other: tag for other in names if other != path for tag in _tags_of(other)}
    owner = next((other for other, tag in others.items() if tag and style == _style_with(tag)), None)
    if owner is None and LEGEND_TAG not in file.tags:
        owner = next((other for other, tag in others.items() if tag), next(iter(others), None))
    if owner is not None:
        _log.warning(
            "%s: is not taken for the legend of %s, since it lies beside %s, too; rename one of them if it is",
            path.with_suffix(".qml"), path.name, owner.name,
        )  # fmt: skip
    return owner is None


def _tags_of(path: Path) -> Iterator[str]:
    """Yield the legend in a raster's tag as text, empty if it has none; nothing for what can be no class map."""
    try:
        file = describe(locate(path, allow_remote=False))
    except SceneError:
        return
    if LEGEND_TAG in file.tags or len(file.dtypes) == 1:
        yield file.tags.get(LEGEND_TAG, "")


def _style_with(tag: str) -> bytes | None:
    """Return the style that is written together with a tag; None if the tag is damaged."""
    try:
        return raster_qml(legend_from_json(tag)).encode()
    except LegendError:
        return None


def _beside(raster: Path, band: int, *, vrt: bool) -> KnownClasses:
    """Return the classes named in the sidecars of a raster, and in a VRT itself."""
    known = KnownClasses()
    if vrt and (element := _band_of(raster, band)) is not None:
        own = _of_band(element)
        known |= own if own.names else _of_members(raster, element) | own
    if band == 1 and (content := _read(raster.with_name(raster.name + ".vat.dbf"))) is not None:
        known |= table_of_dbf(content)
    element = _band_of(raster.with_name(raster.name + ".aux.xml"), band)
    return known if element is None else known | _of_band(element)


def _of_band(band: ElementTree.Element) -> KnownClasses:
    """Return the classes named in the XML of a band: category names and attribute table."""
    categories = band.findall("./CategoryNames/Category")
    names = {code: trimmed(element.text or "") for code, element in enumerate(categories)}
    return KnownClasses(names={code: name for code, name in names.items() if name}) | table_of_xml(band)


def _of_members(vrt: Path, band: ElementTree.Element) -> KnownClasses:
    """Return the classes of a VRT's members; the first name of a code applies, and conflicts are logged."""
    known, told = KnownClasses(), False
    for source in band.findall(".//*[SourceFilename]")[:_MEMBERS]:
        name = source.find("./SourceFilename")
        assert name is not None
        member = (name.text or "").strip()
        path = vrt.parent / member if name.get("relativeToVRT") == "1" else Path(member)
        number = source.findtext("./SourceBand", "1")
        if "/vsi" in member or "://" in member or not number.isdecimal():
            continue
        try:
            said = known_classes(describe(locate(path, allow_remote=False)), int(number))
        except (SceneError, LegendError):
            continue
        other = next((c for c, text in said.names.items() if known.names.get(c, text) != text), None)
        if other is not None and not told:
            told = True
            _log.warning(
                "%s: its members call code %d %r and %r; the first counts, %s",
                vrt.name, other, known.names[other], said.names[other], Message("{legend} decides"),
            )  # fmt: skip
        known = said | known
    return known


def _of_style(content: bytes) -> KnownClasses:
    """Return the classes of the style of a paletted raster; a label that repeats the code is not a name."""
    try:
        classes = palette_classes(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return KnownClasses()
    names, colors = {}, {}
    for value, label, color in classes:
        if value.lstrip("-").isdecimal():
            if label and label != value:
                names[int(value)] = label
            if color:
                colors[int(value)] = color
    return KnownClasses(names=names, colors=colors)


def _band_of(path: Path, band: int) -> ElementTree.Element | None:
    """Return the element of a band in a VRT or ``.aux.xml`` without document type (and so without entities)."""
    text = _read(path)
    if text is None or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  entities are refused above
    except ElementTree.ParseError:
        return None
    kind = "VRTRasterBand" if root.tag == "VRTDataset" else "PAMRasterBand"
    return root.find(f"./{kind}[@band='{band}']")


def _read(path: Path) -> bytes | None:
    """Return the content of a small file; None if it is missing or large."""
    try:
        return path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError:
        return None
