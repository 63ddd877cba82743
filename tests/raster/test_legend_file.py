import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import LegendError
from geoseg.grid.legend import Legend, LegendClass
from geoseg.grid.qml import polygon_qml, raster_qml
from geoseg.raster.legend_file import legend_from_json, legend_of, legend_to_json, read_legend


def _csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "legend.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        'code,name,colour\n10,"Wald, é",#228B22\n-3,Wasser,#0000ff\n',
        "\ufeffCode; Name ;Color\r\n10;Wald, é;#228b22\r\n-3;Wasser;#0000FF\r\n",
        'name,code,x,color\n"Wald, é",10,,#228b22\nWasser,-3,,#0000ff\n\n',
        "code\tname\tcolor\n10\tWald, é\t228B22\n-3\tWasser\t#00F\n",
        'Value,Label,R,G,B\n10.0,"Wald, é",34,139,34\n-3,Wasser,0,0,255\n',
        "FID;VALUE;COUNT;Class_Name;Red;Green;Blue\n0;10;7;Wald, é;34;139;34\n1;-3;9;Wasser;0;0;255\n",
        'class,label,rgb\n10,"Wald, é","34, 139, 34"\n-3,Wasser,"rgb(0,0,255)"\n',
    ],
)
def test_a_legend_in_any_usual_csv(tmp_path, text):
    legend = read_legend(_csv(tmp_path, text))
    assert [(c.code, c.name, c.color) for c in legend.classes] == [
        (-3, "Wasser", "#0000ff"), (10, "Wald, é", "#228b22")
    ]  # fmt: skip


def test_colours_may_be_missing(tmp_path):
    legend = read_legend(_csv(tmp_path, "code,name\n1,a\n2,b\n"))
    assert len({c.color for c in legend.classes}) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "first line holds nothing, expected code,name,color"),
        ("a,b\n1,2\n", "first line holds a, b, expected"),
        ("code,name\nx,a\n", "line 2: code is 'x', expected a whole number"),
        ("code,name,color\n1,a,red\n", "line 2: colour of class 'a' is 'red'"),
        ("code,name\n1,\n", "line 2: class 1 has an empty name"),
        ("code,name\n1\n", "line 2: class 1 has an empty name"),
        ("code,name,color\n1,a,123\n", "line 2: colour of class 'a' is '123', expected #rrggbb"),
        ("code,name\n1,a\n2,b\n1,c\n", "line 4: repeats the code 1,"),
        ("code,name\n1,a\n2,a\n", "line 3: repeats the name 'a',"),
        ("code,name\n", "has no class"),
        (
            "Value,Label,R,G,B\n1,a,0,0,256\n",
            "line 2: the colour is 0, 0, 256, expected numbers from 0 to 255",
        ),
        (
            "Value,Label,R,G,B\n1,a,0,0.5,1\n",
            "line 2: the colour is 0, 0.5, 1, expected numbers from 0 to 255",
        ),
        ("code,name\n1," + 140_000 * "a" + "\n", "line 2: has 140,002 characters, expected at most 10,000"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, reason):
    with pytest.raises(LegendError, match=f"legend.csv.*{reason}"):
        read_legend(_csv(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(LegendError, match="cannot be read as UTF-8"):
        read_legend(_csv(tmp_path, "code,name\n1,é\n", "latin-1"))
    with pytest.raises(LegendError, match="cannot be read"):
        read_legend(tmp_path / "none.csv")


@given(
    st.dictionaries(
        st.integers(0, 254),
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1).filter(str.strip),
        min_size=1,
        max_size=5,
    )
)
def test_the_tag_gives_the_legend_back(names):
    names = {code: f"{name}{code}" for code, name in names.items()}
    legend = Legend(classes=tuple(LegendClass(code=c, name=n, color="#0a0b0c") for c, n in names.items()))
    assert legend_from_json(legend_to_json(legend)) == legend


@pytest.mark.parametrize(
    "text", ["", "1", "[1]", "[{}]", '[{"code":"x","name":"a","color":"#000000"}]', "[" * 9999]
)
def test_a_damaged_tag_is_refused(text):
    with pytest.raises(LegendError, match="GEOSEG_LEGEND is damaged"):
        legend_from_json(text)


COLORS = """\
# made by hand
INTERPOLATION:EXACT
1 0 0 255
20,34,139,34,255,open forest
-3 1 2 3 200 "town"
nv 0 0 0
"""


def test_a_colour_table_is_a_legend(tmp_path):
    path = tmp_path / "a.clr"
    path.write_text(COLORS)
    found = [(c.code, c.name, c.color) for c in legend_of(path).classes]
    assert found == [(-3, "town", "#010203"), (1, "class 1", "#0000ff"), (20, "open forest", "#228b22")]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.clr"])
def test_what_qgis_exports_is_a_legend(tmp_path, name):
    """Of a paletted raster, and of exact values."""
    path = tmp_path / name
    for text in (
        "10 0 100 0 255 Tree cover, dense\n20 255 187 34 255 Shrub",
        "# QGIS Generated Color Map Export File\nINTERPOLATION:EXACT\n"
        "10,0,100,0,255,Tree cover, dense\n20.0,255,187,34,255,Shrub\n",
    ):
        path.write_text(text)
        found = [(c.code, c.name, c.color) for c in legend_of(path).classes]
        assert found == [(10, "Tree cover, dense", "#006400"), (20, "Shrub", "#ffbb22")]


def test_a_style_is_read_whatever_it_is_called(tmp_path):
    path = tmp_path / "style.xml"
    path.write_text(raster_qml(Legend.parse("water,town")))
    assert legend_of(path) == Legend.parse("water,town")


@pytest.mark.parametrize("line", ["1 2 3", "1 2 3 256", "a 1 2 3", "1.5 1 2 3"])
def test_a_line_that_is_no_colour_is_named(tmp_path, line):
    path = tmp_path / "a.clr"
    path.write_text(f"1 0 0 255 water\n{line}\n")
    with pytest.raises(LegendError, match="a.clr, line 2: holds .* expected value red green blue name"):
        legend_of(path)


@pytest.mark.parametrize("style", [raster_qml, polygon_qml])
def test_a_style_gives_the_legend_that_made_it(tmp_path, style):
    legend = Legend.parse("water=#0000ff,<forest> & 'co',town")
    path = tmp_path / "a.qml"
    path.write_text(style(legend), encoding="utf-8")
    assert legend_of(path) == legend


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<qgis/>", "is not a QGIS style with classes"),
        ("no xml", "is not a QGIS style with classes"),
        ('<!DOCTYPE q [<!ENTITY a "b">]><qgis/>', "is not a QGIS style with classes"),
        (
            raster_qml(Legend.parse("a")).replace('value="1"', 'value="x"'),
            "the value 'x', expected a whole number",
        ),
        (raster_qml(Legend.parse("a,b")).replace('value="2"', 'value="1"'), "repeats a code"),
    ],
)
def test_a_style_without_a_legend_is_refused(tmp_path, text, message):
    path = tmp_path / "a.qml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LegendError, match=message):
        legend_of(path)
