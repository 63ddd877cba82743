"""No two classes look alike, and land is shown in the colours that people expect."""

from __future__ import annotations

import colorsys
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid.colors import PALETTE, distance, distinct_colors
from geoseg.grid.legend import Legend
from geoseg.grid.lexicon import _COLORS, conventional_colors
from tests.grid.ciede2000 import BLINDNESS, as_seen, difference, of_lab

# As the data sets name their classes.
PUBLISHED = {
    "WorldCover": "Tree cover|Shrubland|Grassland|Cropland|Built-up|Bare / sparse vegetation|Snow and ice|"
    "Permanent water bodies|Herbaceous wetland|Mangroves|Moss and lichen",
    "Dynamic World": "water|trees|grass|flooded_vegetation|crops|shrub_and_scrub|built|bare|snow_and_ice",
    "Esri": "Water|Trees|Flooded Vegetation|Crops|Built Area|Bare Ground|Snow/Ice|Clouds|Rangeland",
    "DeepGlobe": "Unknown|Urban land|Agriculture land|Rangeland|Forest land|Water|Barren land",
    "NLCD": "Open Water|Perennial Ice/Snow|Developed, Open Space|Developed, Low Intensity|"
    "Developed, Medium Intensity|Developed, High Intensity|Barren Land (Rock/Sand/Clay)|Deciduous Forest|"
    "Evergreen Forest|Mixed Forest|Dwarf Scrub|Shrub/Scrub|Grassland/Herbaceous|Sedge/Herbaceous|Lichens|Moss|"
    "Pasture/Hay|Cultivated Crops|Woody Wetlands|Emergent Herbaceous Wetlands",
    "CORINE": "Continuous urban fabric|Discontinuous urban fabric|Industrial or commercial units|"
    "Road and rail networks and associated land|Port areas|Airports|Mineral extraction sites|Dump sites|"
    "Construction sites|Green urban areas|Sport and leisure facilities|Non-irrigated arable land|"
    "Permanently irrigated land|Rice fields|Vineyards|Fruit trees and berry plantations|Olive groves|Pastures|"
    "Annual crops associated with permanent crops|Complex cultivation patterns|"
    "Land principally occupied by agriculture, with significant areas of natural vegetation|Agro-forestry areas|"
    "Broad-leaved forest|Coniferous forest|Mixed forest|Natural grasslands|Moors and heathland|"
    "Sclerophyllous vegetation|Transitional woodland-shrub|Beaches, dunes, sands|Bare rocks|"
    "Sparsely vegetated areas|Burnt areas|Glaciers and perpetual snow|Inland marshes|Peat bogs|Salt marshes|"
    "Salines|Intertidal flats|Water courses|Water bodies|Coastal lagoons|Estuaries|Sea and ocean",
    "GlobeLand30": "Cultivated land|Forest|Grassland|Shrubland|Wetland|Water bodies|Tundra|Artificial surfaces|"
    "Bareland|Permanent snow and ice",
    "IGBP": "Evergreen Needleleaf Forests|Evergreen Broadleaf Forests|Deciduous Needleleaf Forests|"
    "Deciduous Broadleaf Forests|Mixed Forests|Closed Shrublands|Open Shrublands|Woody Savannas|Savannas|Grasslands|"
    "Permanent Wetlands|Croplands|Urban and Built-up Lands|Cropland/Natural Vegetation Mosaics|Snow and Ice|Barren|"
    "Water Bodies",
    "LoveDA": "background|building|road|water|barren|forest|agriculture",
    "OpenEarthMap": "bareland|rangeland|developed space|road|tree|water|agriculture land|building",
    "EuroSAT": "AnnualCrop|Forest|HerbaceousVegetation|Highway|Industrial|Pasture|PermanentCrop|Residential|River|"
    "SeaLake",
    "ISPRS": "Impervious surfaces|Building|Low vegetation|Tree|Car|Clutter/background",
    "LandCover.ai": "background|building|woodland|water|road",
    "clouds": "clear|cloud|cloud shadow|snow|water",
}  # fmt: skip


def legend_of(names: list[str]) -> Legend:
    return Legend.of((code, name, None) for code, name in enumerate(names, start=1))


def least(colors: list[str]) -> float:
    return min(difference(one, other) for one, other in combinations(colors, 2))


def test_the_difference_is_the_published_one() -> None:
    """Pairs of the paper's table 1."""
    for one, other, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ):
        assert of_lab(one, other) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("names", PUBLISHED.values(), ids=PUBLISHED)
def test_every_name_of_a_published_legend_is_known_and_no_two_look_alike(names: str) -> None:
    classes = names.split("|")
    assert None not in conventional_colors(classes)
    # 10 is a clear difference; of 44 classes that must be green, blue and so on, some are as close as 6.
    assert least([c.color for c in legend_of(classes).classes]) > (10 if len(classes) < 17 else 6)


KINDS = {
    "forest": "forest|Trees|tree_cover|Evergreen Forest|311 - Broad-leaved forest|woodland|Mixed forest",
    "water": "water|Open Water|Water bodies|lake|River|Sea and ocean|permanent_water|SeaLake|Water courses|ocean",
    "grass": "grass|Grassland|natural grasslands|pasture|meadow|herbaceous|low vegetation|Grass",
    "crop": "crops|Cropland|agriculture|field|Cultivated Crops|farmland|Annual crops|Cropland, rainfed|arable land",
    "built": "urban|built-up|Built Area|building|Buildings|town|Artificial surfaces|roofs|settlement|Developed",
    "snow": "snow|Snow and ice|Perennial Ice/Snow|glacier",
    "grey": "road|roads|impervious surface|parking lot|shadow|rock|highway",
}
HUES = {"forest": (75, 170), "water": (190, 220), "grass": (60, 130), "crop": (25, 55), "snow": (190, 220)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_gives_the_colour_that_people_expect(kind: str) -> None:
    for name in KINDS[kind].split("|"):
        (color,) = conventional_colors([name])
        assert color is not None, name
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
        if kind == "grey":
            assert saturation < 0.15, name
        elif kind == "built":
            assert hue * 360 < 10 or hue * 360 > 335, name
        else:
            assert HUES[kind][0] <= hue * 360 <= HUES[kind][1], name
            assert (light > 0.7) == (kind == "snow"), name


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("forest road", "road"),
        ("Bare / sparse vegetation", "bare"),
        ("Shrub/Scrub", "shrub"),
        ("trees and shrubs", "tree"),
        ("GREEN_URBAN_AREAS", "green"),
        ("olive groves", "olives"),
        ("flooded vegetation", "wetland"),
        ("Impervious (road)", "impervious"),
        ("3.1.1 Broad-leaved forest", "broadleaved forest"),
    ],
)
def test_a_name_of_several_words_is_what_it_says(name: str, like: str) -> None:
    assert conventional_colors([name]) == conventional_colors([like]) != [None]


@pytest.mark.parametrize(
    "name", ["non-forest", "not water", "no trees", "cloud-free", "Fish", "waterproof", "", "~", "x2"]
)
def test_a_name_that_denies_or_says_nothing_has_no_colour_of_its_own(name: str) -> None:
    assert conventional_colors([name]) == [None]


@pytest.mark.parametrize(
    ("codes", "names"),
    [
        ([10, 20, 30, 40, 50, 60, 80, 90], "tree|shrub|grass|crop|built|bare|water|wetland"),
        ([11, 41, 82], "water|deciduous forest|crop"),
        ([311, 512, 112], "broadleaved forest|water|residential"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "class {}"])
def test_classes_that_are_called_after_published_codes_are_these(
    codes: list[int], names: str, form: str
) -> None:
    assert conventional_colors([form.format(code) for code in codes]) == conventional_colors(names.split("|"))


def test_a_few_tens_say_nothing() -> None:
    """10 building, 30 road, 50 field, 70 forest, 100 other are codes, too."""
    assert conventional_colors(["class 10", "class 30", "class 50", "class 70", "class 100"]) == [None] * 5
    assert conventional_colors(["class 1", "class 2", "class 3"]) == [None] * 3


def test_the_palette_and_the_main_classes_are_told_apart_by_colour_blind_people() -> None:
    main = [
        "water",
        "forest",
        "grassland",
        "cropland",
        "shrubland",
        "built-up",
        "building",
        "bare",
        "road",
        "snow",
    ]
    for colors, needed in ((list(PALETTE[:7]), 10), ([c.color for c in legend_of(main).classes], 5)):
        for blindness in BLINDNESS:
            assert least([as_seen(color, blindness) for color in colors]) > needed


def test_classes_of_unknown_meaning_take_the_palette_in_its_order() -> None:
    assert [c.color for c in Legend.made_up(range(1, 8)).classes] == list(PALETTE[:7])
    fish = Legend.parse("Fish,water,Flower")
    assert [fish[1].color, fish[3].color] == [c for c in PALETTE if distance(c, fish[2].color) > 0.08][:2]


def test_a_given_colour_stays_and_the_others_keep_away_from_it() -> None:
    (green,) = conventional_colors(["forest"])
    legend = Legend.parse(f"meadow={green},forest,Fish={PALETTE[0]},Flower")
    assert (legend[1].color, legend[3].color) == (green, PALETTE[0])
    assert least([c.color for c in legend.classes]) > 8


KNOWN = [name.strip() for names in _COLORS.values() for name in names.split(";")]
ANY = st.one_of(
    st.sampled_from(KNOWN),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).filter(str.strip),
)


@given(st.lists(ANY, min_size=2, max_size=30, unique=True), st.data())
@settings(max_examples=60)
def test_no_two_classes_of_any_legend_look_alike(names: list[str], data: st.DataObject) -> None:
    colors = [c.color for c in legend_of(names).classes]
    assert min(distance(one, other) for one, other in combinations(colors, 2)) >= 0.04
    some = data.draw(st.integers(0, len(names) - 1))
    given_first = distinct_colors(
        conventional_colors(names), [colors[some] if i == some else None for i in range(len(names))]
    )
    assert given_first[some] == colors[some]
    assert len(set(given_first)) == len(names)


def test_255_classes_have_255_colours_and_more_are_made_quickly() -> None:
    colors = [c.color for c in Legend.made_up(range(255)).classes]
    assert min(distance(one, other) for one, other in combinations(colors, 2)) >= 0.04
    assert len(Legend.made_up(range(20_000)).classes) == 20_000
