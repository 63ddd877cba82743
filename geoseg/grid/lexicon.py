"""Usual names of land cover classes and the colours that maps show them in: forest is green, water blue.

The names come from ESA WorldCover, CORINE Land Cover, NLCD, Dynamic World, Esri's land cover, GlobeLand30, ESA CCI,
MODIS (IGBP), training data sets (DeepGlobe, LoveDA, OpenEarthMap, FLAIR, EuroSAT, ISPRS, LandCover.ai) and plain
English. The colours follow theirs where these agree with what people expect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Final

_COLORS: Final[Mapping[str, str]] = {
    # Water and ice
    "#2f7fd0": "water; water body; open water; permanent water body; permanent water; inland water; surface "
    "water; lake; reservoir; sea lake; standing water; water area",
    "#5aa9ea": "river; stream; water course; waterway; canal; running water; flowing water; seasonal water",
    "#1b4f91": "sea; ocean; sea and ocean; marine water; deep water; coastal water; bay",
    "#4fb3bf": "lagoon; coastal lagoon; estuary; shallow water; turbid water; pond; aquaculture; fish pond",
    "#22c7f2": "pool; swimming pool",
    "#cde9f8": "snow; snow and ice; perennial snow; permanent snow and ice; perennial ice snow; ice snow",
    "#9fcbe6": "ice; glacier; glacier and perpetual snow; sea ice; iceberg",
    # Wet land
    "#3f9c93": "wetland; permanent wetland; herbaceous wetland; emergent herbaceous wetland; flooded vegetation; "
    "inland marsh; marsh; fen; regularly flooded vegetation; inundated vegetation; reed",
    "#56748f": "woody wetland; swamp; flooded forest; tree cover flooded; peat bog; bog; peatland; peat",
    "#7d8fc4": "salt marsh; saltmarsh; salt pan; saline; intertidal flat; tidal flat; mudflat; mud flat; mud",
    "#00a878": "mangrove; mangrove forest",
    # Woods
    "#1e7b34": "forest; tree; tree cover; woodland; wood; tree canopy; canopy; tree canopy and forest; closed "
    "forest; forest land; natural forest; rainforest; jungle; forest and tree",
    "#3f9a3c": "broadleaf; broad leaved; broadleaved; deciduous; deciduous forest; broad leaved forest; "
    "broadleaf forest; broadleaved forest; broadleaf tree; deciduous broadleaf forest; hardwood",
    "#0d4f2b": "coniferous; conifer; coniferous forest; evergreen; evergreen forest; needleleaf; needle leaved; "
    "needleleaf forest; evergreen needleleaf forest; spruce; pine; fir; larch; softwood",
    "#16663f": "evergreen broadleaf forest",
    "#3b6a52": "deciduous needleleaf forest",
    "#77a05a": "mixed forest; mixed tree; mixed wood; open forest; sparse forest; ligneous",
    "#86a13a": "woody savanna; wooded grassland; transitional woodland shrub; young forest; regrowth; secondary "
    "forest; brushwood; tree plantation; plantation; forest plantation",
    # Shrubs and grass
    "#a8984a": "shrub; shrubland; shrub and scrub; scrub; scrubland; bush; bushland; scrub shrub; closed "
    "shrubland; sclerophyllous vegetation; chaparral; maquis; shrub cover",
    "#cbb97a": "open shrubland; dwarf scrub; dwarf shrub; rangeland; steppe; savanna; cerrado; caatinga",
    "#a58fb0": "moor and heathland; heath; heathland; moor; moorland",
    "#b4e36a": "grass; grassland; herbaceous; grassland herbaceous; natural grassland; herbaceous vegetation; "
    "low vegetation; sedge herbaceous; lawn; grassy; grass cover",
    "#d7ea4a": "pasture; hay pasture; meadow; hay; grazing land; pastureland",
    "#6cc24a": "vegetation; green; green urban area; urban green; park; garden; green area; natural vegetation; "
    "plant; low vegetation and field; other vegetation; vegetated",
    "#7ee0a2": "sport and leisure facility; sport field; golf course; playground; recreation; football field; "
    "pitch",
    "#e6deb0": "moss and lichen; moss; lichen; lichen and moss; tundra",
    # Fields
    "#eda83c": "crop; cropland; agriculture; agricultural land; agricultural area; cultivated; cultivated land; "
    "farmland; farm; field; arable land; arable; agricultural; cultivated crop; annual crop; field "
    "interior; non irrigated arable land; rainfed cropland; cropland rainfed; planted; agriculture "
    "land; pasture and crop",
    "#cf8420": "permanently irrigated land; irrigated cropland; irrigated; cropland irrigated; irrigated crop; "
    "maize; corn",
    "#d9d24a": "rice; rice field; paddy; paddy field; rice paddy",
    "#e2d08d": "wheat; barley; rye; oat; cereal; grain; fallow; fallow land; idle; stubble",
    "#f7e04a": "rapeseed; canola; sunflower; mustard",
    "#8c7a1f": "soy; soybean; potato; sugar beet; sugarcane; cotton; legume; vegetable",
    "#b8742e": "permanent crop; orchard; fruit tree; fruit tree and berry plantation; fruit; citrus; oil palm; "
    "palm; coffee; cocoa; banana; tea",
    "#9a4f7e": "vineyard; vine; grape",
    "#b5a436": "olive grove; olive; agro forestry area; agroforestry",
    "#e6c99b": "annual crop associated with permanent crop; complex cultivation pattern; heterogeneous "
    "agricultural area",
    "#cfc46b": "land principally occupied by agriculture with significant area of natural vegetation; mosaic; "
    "cropland natural vegetation mosaic; mosaic cropland; cropland natural vegetation",
    "#6e4a2f": "plowed land; ploughed land; plowed; ploughed; tilled; bare field",
    "#7a3e12": "field boundary; field border; boundary; border; edge; contour; outline",
    # Bare land
    "#c8b097": "bare; barren; bare land; bareland; barren land; bare soil; bare ground; soil; bare area; bare "
    "earth; earth; bare sparse vegetation; dirt; unvegetated; non vegetated; pervious surface; "
    "desert; ground",
    "#ddd0b5": "sparse vegetation; sparsely vegetated area; sparsely vegetated; sparse",
    "#ecd9a0": "sand; beach; dune; beach dune sand; sandy; unconsolidated shore",
    "#8f8780": "rock; bare rock; rocky; scree; stone; gravel; lava; rock outcrop; cliff; consolidated bare area",
    "#4a2c2a": "burnt; burned; burnt area; burned area; burn scar; fire scar; charred",
    "#ff6a00": "fire; active fire; flame",
    # What people build
    "#d0302b": "built; built up; built area; built up area; urban; urban area; urban land; town; city; "
    "settlement; artificial; artificial surface; developed; developed land; urban fabric; urban and "
    "built up; settled; village; artificial land; human settlement; developed medium intensity; "
    "residential and built",
    "#d94f70": "building; roof; house; rooftop; building footprint; continuous urban fabric; developed high "
    "intensity; shed; barn; structure",
    "#f4a097": "residential; residential area; discontinuous urban fabric; developed low intensity; housing",
    "#e3b5b0": "developed open space; developed space; construction site; construction; paved area",
    "#9c5bb5": "industrial; industry; commercial; industrial or commercial unit; industrial area; commercial "
    "area; factory; port; port area; harbour; harbor; retail; warehouse",
    "#c79bd8": "airport; runway; airfield",
    "#5e5e5e": "road; street; highway; asphalt; road and rail network and associated land; pavement; paved; "
    "transport; road network; transportation; path; track; sidewalk",
    "#8a8a8a": "impervious; impervious surface; sealed; concrete; parking; parking lot; car park; sealed "
    "surface; impermeable",
    "#7b5448": "railway; rail; railroad; train track; bridge",
    "#8b5a78": "mine; mining; quarry; mineral extraction site; open pit; dump; dump site; landfill; mine site",
    "#7fd6d6": "greenhouse; plastic; plastic cover; polytunnel",
    "#2ad0c8": "solar; solar panel; solar farm; photovoltaic",
    "#f4d000": "car; vehicle; truck; bus",
    "#4b3fa0": "ship; boat; vessel",
    # Losses
    "#e0218a": "deforestation; forest loss; tree loss; tree cover loss; clear cut; clearcut; clear cutting; "
    "landslide; damage; damaged; destroyed; flood; flooded; flooded area; change; changed",
    # What is in the way
    "#ffffff": "cloud; thick cloud; opaque cloud; cumulus",
    "#d5d8dc": "thin cloud; cirrus; haze; fog; semi transparent cloud; cloud edge",
    "#3d3d4d": "shadow; cloud shadow; shade; terrain shadow; dark area",
    "#f0f0f0": "background; clear; clear sky; rest; no class; not classified; land",
    "#a9a9b5": "other; unknown; unclassified; unlabelled; unlabeled; clutter; miscellaneous; ignore; void; "
    "undefined; other land; other class",
    "#000000": "no data; nodata",
}
"""Names by colour, separated by semicolons; a name that occurs twice has its first colour."""

_CODES: Final = (
    # ESA WorldCover: at least six of its codes, because a few multiples of ten are no evidence.
    (
        6,
        {
            10: "tree cover", 20: "shrubland", 30: "grassland", 40: "cropland", 50: "built up", 60: "bare",
            70: "snow and ice", 80: "water", 90: "herbaceous wetland", 95: "mangrove", 100: "moss and lichen",
        },
    ),
    # NLCD.
    (
        3,
        {
            11: "open water", 12: "perennial ice snow", 21: "developed open space", 22: "developed low intensity",
            23: "developed medium intensity", 24: "developed high intensity", 31: "barren land", 41: "deciduous forest",
            42: "evergreen forest", 43: "mixed forest", 51: "dwarf scrub", 52: "shrub scrub",
            71: "grassland herbaceous", 72: "sedge herbaceous", 73: "lichen", 74: "moss", 81: "hay pasture",
            82: "cultivated crop", 90: "woody wetland", 95: "emergent herbaceous wetland",
        },
    ),
    # CORINE Land Cover.
    (
        3,
        {
            111: "continuous urban fabric", 112: "discontinuous urban fabric", 121: "industrial", 122: "road",
            123: "port", 124: "airport", 131: "mineral extraction site", 132: "dump site", 133: "construction site",
            141: "green urban area", 142: "sport and leisure facility", 211: "non irrigated arable land",
            212: "permanently irrigated land", 213: "rice field", 221: "vineyard", 222: "fruit tree",
            223: "olive grove", 231: "pasture", 241: "annual crop associated with permanent crop",
            242: "complex cultivation pattern", 243: "mosaic", 244: "agro forestry area", 311: "broad leaved forest",
            312: "coniferous forest", 313: "mixed forest", 321: "natural grassland", 322: "moor and heathland",
            323: "sclerophyllous vegetation", 324: "transitional woodland shrub", 331: "beach dune sand",
            332: "bare rock", 333: "sparsely vegetated area", 334: "burnt area", 335: "glacier",
            411: "inland marsh", 412: "peat bog", 421: "salt marsh", 422: "saline", 423: "intertidal flat",
            511: "water course", 512: "water body", 521: "coastal lagoon", 522: "estuary", 523: "sea and ocean",
        },
    ),
)  # fmt: skip
"""Published codes: the number of classes named by such codes alone from which on they are recognised, and names."""

_JOINING: Final = re.compile(r"[,;:/()\[\]|+&]| - | with | and | or | \u2013 ")
_WORD: Final = re.compile(r"[^\W\d_]+")
_CODE: Final = re.compile(r"(?:class\s+|clc\s*)?(\d{1,3})", re.IGNORECASE)
_NEGATING: Final = frozenset(("not", "no", "non", "without", "free", "un", "excluding", "except"))


def conventional_colors(names: Sequence[str]) -> list[str | None]:
    """Return the usual map colour of each class by its name, None for unknown names.

    Classes named by codes alone (``311``, ``class 42``) are read as those of WorldCover, NLCD or CORINE if all of
    them belong to one of these and there are several.

    Parameters
    ----------
    names : sequence of str
        Names of the classes of one legend.
    """
    codes = {name: int(match[1]) for name in names if (match := _CODE.fullmatch(name.strip()))}
    meant: Mapping[int, str] = {}
    for fewest, published in _CODES:
        if len(codes) >= fewest and set(codes.values()) <= set(published):
            meant = published
            break
    return [_color(meant.get(codes[name], "") if name in codes else name) for name in names]


@lru_cache(maxsize=4096)
def _color(name: str) -> str | None:
    """Return the colour of a name as a whole, or of the last known term in its first part."""
    # Names such as AnnualCrop are split into words.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    whole = _words(text)
    if (color := _known().get(whole)) is not None:
        return color
    for part in _JOINING.split(text):
        words = _words(part)
        if _NEGATING & set(words):
            return None
        # Try the longest term first and, of equally long ones, the last: a forest road is a road.
        for length in range(len(words), 0, -1):
            for first in range(len(words) - length, -1, -1):
                if (color := _known().get(words[first : first + length])) is not None:
                    return color
    return None


@cache
def _known() -> dict[tuple[str, ...], str]:
    """Return the colours by the words of the known names."""
    known: dict[tuple[str, ...], str] = {}
    for color, names in _COLORS.items():
        for name in names.split(";"):
            known.setdefault(_words(name), color)
    return known


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a name in lower case and singular, without conjunctions and articles."""
    return tuple(
        _singular(word)
        for word in _WORD.findall(text.lower())
        if word not in ("and", "or", "the", "of", "with")
    )


def _singular(word: str) -> str:
    """Strip the plural ending of a word."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "sses", "xes")):
        return word[:-2]
    return word.removesuffix("s")
