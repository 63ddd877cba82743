"""One contract: keywords in Python are the flags of the command line, and nothing is ignored in silence."""

from __future__ import annotations

import importlib
import inspect
import re
import string
import typing
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from geoseg_cli.main import group
from safetensors.numpy import save_file

import geoseg
import geoseg.errors
import geoseg.inference.keywords
from geoseg.errors import GeosegError, OptionError
from geoseg.grid.legend import Legend, LegendClass
from geoseg.inference.options import PredictOptions
from geoseg.pictures.predict_pictures import PicturesReport
from geoseg.vector.options import VectorizeOptions
from tests.oracle import pointwise_model
from tests.small_files import Write
from tests.test_messages import templates

VERBS = {
    "predict": ("predict",),
    "segment": ("segment",),
    "vectorize": ("vectorize",),
    "rasterize": ("rasterize",),
    "check": ("check",),
    "train": ("train",),
    "sweep": ("sweep",),
    "report": ("report",),
    "quantize": ("model", "quantize"),
    "calibrate": ("model", "calibrate"),
    "import_model": ("model", "import"),
    "design_sample": ("accuracy", "design"),
    "estimate_accuracy": ("accuracy", "estimate"),
}
# Flags that Python says by another kind of value.
SAID_OTHERWISE = {
    "fresh": "resume",  # a flag is off by default, and --no-resume would say less
    "verbose": "progress",  # -v and -q also say how much is logged, as they do in most programs
    "quiet": "progress",
}
ARGUMENTS = {"stack", "model"}
"""Options of commands that are positional in Python, as all arguments are."""
ONLY_COMMANDS = {
    "segment": {"ending"},  # of the files in a folder
    "predict": {"submission", "size", "content", "sample"},  # those of predict_pictures
    "train": {"print_config"},
    "check": {"as_json"},  # what Python returns has `to_dict`
    "estimate_accuracy": {"as_json"},  # Python returns an object, whose `to_dict` it is
    "calibrate": {"output", "overwrite"},
    "quantize": {"output", "overwrite"},  # Python returns the model, whose `save` takes both
    "import_model": {"output", "overwrite"},
}
ONLY_PYTHON = {"vectorize": {"rows"}}  # which nothing depends on but the memory


def command_of(path: tuple[str, ...]) -> click.Command:
    found: click.Command = group
    for name in path:
        assert isinstance(found, click.Group)
        command = found.get_command(click.Context(found), name)
        assert command is not None
        found = command
    return found


def flags(verb: str) -> set[str]:
    options = {p.name or "" for p in command_of(VERBS[verb]).params if isinstance(p, click.Option)}
    known = options - {"help", *ARGUMENTS, *ONLY_COMMANDS.get(verb, ())}
    return {SAID_OTHERWISE.get(name, name) for name in known} - {"progress"}


def keywords(verb: str) -> set[str]:
    parameters = inspect.signature(getattr(geoseg, verb)).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"progress", *ONLY_PYTHON.get(verb, ())}


@pytest.mark.parametrize("verb", VERBS)
def test_keywords_are_the_flags_of_the_command(verb: str) -> None:
    assert keywords(verb) == flags(verb)


@pytest.mark.parametrize("verb", ["predict", "segment", "vectorize", "rasterize"])
def test_typed_overloads_have_all_keywords_with_the_types_of_the_function(verb: str) -> None:
    """mypy checks what they return (`typed_calls.py`); here, that no keyword is left out or is of another type."""
    function = getattr(geoseg, verb)
    expected = {name: each.annotation for name, each in inspect.signature(function).parameters.items()}
    said: dict[str, set[str]] = {}
    for overload in typing.get_overloads(function):
        for name, parameter in inspect.signature(overload).parameters.items():
            shared = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
            if shared is None:
                said.setdefault(name, set()).add(parameter.annotation)
                continue
            for key, kind in getattr(geoseg.inference.keywords, shared[1]).__annotations__.items():
                said.setdefault(key, set()).add(kind.__forward_arg__)
    assert set(said) == set(expected)
    own = {"output", "probabilities"}  # which tell the overloads apart
    assert {name: {kind} for name, kind in expected.items() if name not in own} == {
        name: kinds for name, kinds in said.items() if name not in own
    }


@pytest.mark.parametrize("verb", sorted({*VERBS, "predict_pictures"}))
def test_whatever_takes_long_shows_its_progress(verb: str) -> None:
    assert inspect.signature(getattr(geoseg, verb)).parameters["progress"].default is None


def test_pictures_have_the_keywords_of_predict_and_of_its_table() -> None:
    pictures, predict = (
        set(inspect.signature(each).parameters) for each in (geoseg.predict_pictures, geoseg.predict)
    )
    scenes = {"scene", "confidence", "probabilities", "storage", "bounds", "clip", "resolution", "devices"}
    assert predict - pictures == scenes
    assert pictures - predict == {"pictures", *ONLY_COMMANDS["predict"]}


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("predict", PredictOptions), ("segment", PredictOptions), ("predict_pictures", PredictOptions),
        ("vectorize", VectorizeOptions),
    ],
)  # fmt: skip
def test_defaults_are_those_of_the_options_behind_them(verb: str, options: Any) -> None:
    parameters = inspect.signature(getattr(geoseg, verb)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.name in options.__slots__}
    if verb == "segment":
        defaults.pop("probabilities", None)
    assert options.of(defaults) == options() or options is VectorizeOptions
    if options is VectorizeOptions:
        assert defaults == {name: getattr(options(), name) for name in options.__slots__}


def test_the_types_of_public_signatures_are_public() -> None:
    """What an annotation names is public, of another package, or an alias that the reference describes."""
    aliases = {"ShowProgress", "Nodata", "NodataRule", "Storage", "Overlap", "Factors", "Task", "Paths"}
    aliases |= {"LegendLike", "Source", "Confidence", "Like", "_Name", "GeoDataset", "Method", "Allocation"}
    foreign = {
        "Any",
        "Callable",
        "DataFrame",
        "Client",
        "Iterator",
        "Literal",
        "Mapping",
        "Path",
        "PathLike",
        "Sequence",
        "None",
        "True",
        "False",
    }
    for name in geoseg.__all__:
        verb = getattr(geoseg, name)
        if not inspect.isfunction(verb):
            continue
        signature = inspect.signature(verb)
        said = [str(p.annotation) for p in signature.parameters.values()] + [str(signature.return_annotation)]
        words = set(re.findall(r"(?<![.\w'\"])([A-Z_]\w*)\b(?!\.)", " ".join(said)))
        assert words <= {*geoseg.__all__, *aliases, *foreign}, name


def test_every_error_is_public() -> None:
    raised = {
        name
        for name, each in vars(geoseg.errors).items()
        if inspect.isclass(each) and issubclass(each, GeosegError)
    }
    assert raised <= set(geoseg.__all__)
    for name in raised:
        assert getattr(geoseg, name) is getattr(importlib.import_module("geoseg.errors"), name)


PIXELS = np.ones((3, 40, 40), np.uint8)
CODES = np.ones((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"confidence": "c.tif"}, "confidence is about files that are written; pass output, too, or leave"),
        ({"overwrite": True}, "overwrite is about files"),
        ({"resume": False}, "resume is about files"),
        ({"profile": True}, "profile is about files"),
        ({"storage": "float16"}, "storage is 'float16' and no file of probabilities is written"),
        ({"probabilities": "p.tif"}, "probabilities is a file to write, and no output is named"),
        ({"output": "m.tif", "probabilities": True}, "probabilities is True, expected the path of a file to write"),
        ({"output": "m.tif", "storage": "float16"}, "no file of probabilities is written"),
        ({"output": "m.tif", "progress": "yes"}, "progress is 'yes', expected True, False or a function"),
        ({"bands": "red"}, r"bands is 'red', expected a list of names or numbers, \['red'\]"),
        ({"batch_size": 0}, "batch_size is 0, expected auto or a number from 1 to"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected auto"),
    ],
)  # fmt: skip
def test_predict_refuses_what_it_would_ignore(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        geoseg.predict(PIXELS, "no.safetensors", **keywords)


def test_other_verbs_refuse_what_they_would_ignore() -> None:
    refusals: tuple[tuple[Any, tuple[Any, ...], dict[str, Any], str], ...] = (
        (geoseg.segment, (PIXELS, "no.safetensors"), {"raster": "m.tif"}, "raster is about files"),
        (geoseg.segment, (PIXELS, "no.safetensors"), {"layer": "a"}, "layer is about files"),
        (geoseg.vectorize, (CODES,), {"append": True}, "append is about files"),
        (
            geoseg.vectorize,
            (CODES,),
            {"classes": "water"},
            r"classes is 'water', expected a list .*\['water'\]",
        ),
        (geoseg.rasterize, ("no.gpkg",), {"overwrite": True}, "overwrite is about files"),
        (geoseg.predict_pictures, (".", "m"), {}, "found neither, expected one of them"),
        (geoseg.predict_pictures, (".", "m"), {"output": "a", "submission": "b.csv"}, "found both"),
        (
            geoseg.predict_pictures,
            (".", "m"),
            {"output": "a", "size": (3, 4)},
            "size is for a table of run lengths",
        ),
        (geoseg.quantize, ("m", [PIXELS]), {"max_drop": 0.5}, "max_drop is about the mean IoU on labels"),
    )
    for verb, arguments, keywords, said in refusals:
        with pytest.raises(OptionError, match=said):
            verb(*arguments, **keywords)


HOSTILE = "<script>alert('1')</script>&"


def test_values_look_well_in_a_notebook_whatever_they_are_called() -> None:
    legend = Legend(
        classes=(
            LegendClass(code=1, name=HOSTILE, color="#228b22"),
            LegendClass(code=2, name="b", color="#123456"),
        )
    )
    model = pointwise_model(3, (1, 2), name=HOSTILE, legend=legend.classes)
    report = PicturesReport(
        output=Path(HOSTILE), done=("a",), skipped=0, failed=((HOSTILE, HOSTILE),), damaged=(), pixels=1,
        seconds=1.0, settings={"device": "cpu"}, shrunk=(),
    )  # fmt: skip
    for value in (legend, model, report):
        text = value._repr_html_()
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert len(text) < 6000
        assert text.count("<table>") == text.count("</table>") > 0
    assert "background:#228b22" in legend._repr_html_()
    many = Legend.made_up(range(200))
    assert "and 160 more" in many._repr_html_()


REMOTE_VRT = (
    "<VRTDataset rasterXSize='4' rasterYSize='4'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
    "<SourceFilename>/vsicurl/http://127.0.0.1:9/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)


def test_an_error_names_only_keywords_of_the_function_that_was_called(
    write: Write, model_file: Path, tmp_path: Path
) -> None:
    """The same code serves several functions, and advice of a keyword that one of them lacks leads nowhere."""
    there, vrt, wide = (
        tmp_path / "there.gpkg",
        tmp_path / "remote.vrt",
        write("w.tif", PIXELS.astype("uint16")),
    )
    there.touch()
    vrt.write_text(REMOTE_VRT)
    codes = write("codes.tif", CODES[None])
    palette = write("p.tif", CODES[None], setup=lambda file: file.write_colormap(1, {1: (0, 255, 0)}))
    calls: tuple[tuple[Any, tuple[Any, ...], dict[str, Any], set[str]], ...] = (
        (geoseg.predict, (vrt, model_file), {}, {"allow_remote"}),
        (geoseg.quantize, (model_file, [vrt]), {}, {"allow_remote"}),
        (geoseg.vectorize, (vrt,), {}, set()),
        (geoseg.vectorize, (codes,), {"confidence": vrt}, set()),
        (geoseg.rasterize, (there,), {"like": vrt}, set()),
        (geoseg.train, (codes, vrt), {"output": tmp_path / "m.safetensors"}, set()),
        (geoseg.predict, (palette, model_file), {}, {"expand_palette"}),
        (geoseg.quantize, (model_file, [palette]), {}, {"expand_palette"}),
        (geoseg.train, (palette, codes), {"output": tmp_path / "m.safetensors"}, set()),
        (geoseg.predict, (wide, model_file), {}, {"force"}),
        (geoseg.segment, (wide, model_file), {}, {"force"}),
        (geoseg.quantize, (model_file, [wide]), {}, {"force"}),
        (geoseg.predict, (write("s.tif", PIXELS), model_file), {"output": codes, "device": "cpu"}, {"overwrite"}),
        (geoseg.recolor, (model_file, model_file), {}, {"overwrite"}),
        (geoseg.import_model, (tmp_path / "w.safetensors",), {"bands": ["a"], "classes": "a,b"}, {"architecture"}),
    )  # fmt: skip
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "w.safetensors")
    for verb, arguments, keywords, named in calls:
        with pytest.raises(GeosegError) as caught:
            verb(*arguments, **keywords)
        assert set(caught.value.keywords) == named, f"{verb.__name__}: {caught.value}"
        assert named <= set(inspect.signature(verb).parameters), verb.__name__


def test_every_keyword_that_a_message_names_is_one_of_a_public_function_or_of_a_command_without_one() -> None:
    functions = [getattr(geoseg, name) for name in geoseg.__all__]
    methods = [method for each in functions if inspect.isclass(each) for method in vars(each).values()]
    known = {
        name
        for each in [*functions, *(getattr(method, "__func__", method) for method in methods)]
        if inspect.isfunction(each)
        for name in inspect.signature(each).parameters
    }
    for place, template in templates():
        for _, name, _, _ in string.Formatter().parse(template):
            assert not name or name in known | {"stack", "layered", "lossy"}, f"{place} names {name}"
