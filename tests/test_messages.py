"""Messages as data: keywords in Python, flags on the command line, and the plural where there are several."""

from __future__ import annotations

import ast
import pickle
import re
import string
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from geoseg_cli.flags import flag_of, spelled
from geoseg_cli.main import group
from geoseg_cli.predict import command as predict_command
from geoseg_cli.train import command as train_command
from geoseg_cli.vectorize import command as vectorize_command

from geoseg import errors
from geoseg.errors import (
    DataError,
    GeosegError,
    Message,
    NotANumberError,
    OptionError,
    OutputExistsError,
    plural,
)
from tests.cli.test_main import every_command

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/**/*.py")])
PRINTS_COMMANDS = {"geoseg/demo/run.py"}
"""Shows commands to type, whoever called it."""


def flags(thing: object, command: click.Command) -> str:
    """The text that a command says."""
    with click.Context(command) as ctx:
        return spelled(thing, ctx)


def test_a_message_is_in_the_words_of_whoever_called() -> None:
    error = OutputExistsError("a.tif: already exists", Message("pass {overwrite}", overwrite=True))
    assert str(error) == "a.tif: already exists; pass overwrite=True"
    assert flags(error, predict_command) == "a.tif: already exists; pass --overwrite"
    assert error.keywords == {"overwrite": True}, "a program that catches it can do what it says"
    assert (error.problem, str(error.remedy)) == ("a.tif: already exists", "pass overwrite=True")


@pytest.mark.parametrize(
    ("message", "python", "flag"),
    [
        (Message("cut it with {bounds}"), "cut it with bounds=", "cut it with --bounds"),
        (Message("{alpha}", alpha="none"), 'alpha="none"', "--alpha none"),
        (Message("{alpha}", alpha=4), "alpha=4", "--alpha 4"),
        (Message("{bands}", bands=(3, 2, 1)), "bands=(3, 2, 1)", "--bands 3,2,1"),
        (Message("{tile_size}", tile_size=256), "tile_size=256", "--tile-size 256"),
        (Message("{resume}", resume=False), "resume=False", "--fresh"),
        (Message("another {output}"), "another output=", "another -o"),
        (Message("{confidence}", confidence="c.tif"), 'confidence="c.tif"', "--save-confidence c.tif"),
        (Message("{{}} {}", "{bands}"), "{} {bands}", "{} {bands}"),
    ],
)
def test_a_keyword_and_its_value_are_spelled_as_they_are_typed(
    message: Message, python: str, flag: str
) -> None:
    assert (str(message), flags(message, predict_command)) == (python, flag)


def test_a_keyword_is_the_flag_of_the_command_that_ran() -> None:
    """Classes are chosen one by one where polygons are written, and all together where a model learns them."""
    message = Message("say {classes}")
    assert flags(message, vectorize_command) == "say --class"
    assert flags(message, train_command) == "say --classes"
    assert flags(Message("{changes}", changes=["a=b"]), train_command) == "--set a=b"


def test_messages_in_messages_are_spelled_alike() -> None:
    inner = OptionError("no band 4", Message("pass {alpha}", alpha="none"))
    outer = inner.into(DataError, "a{b}.tif")
    assert isinstance(outer, DataError)
    assert str(outer) == 'a{b}.tif: no band 4; pass alpha="none"'
    both = Message.joined(", or ", [Message("{}: {}", "x", outer), Message("{force}", force=True)])
    assert flags(both, predict_command) == "x: a{b}.tif: no band 4; pass --alpha none, or --force"
    assert both.keywords == {"alpha": "none", "force": True}
    assert both == str(both)
    assert hash(both) == hash(str(both)), "what was said once is not said again"
    assert str(outer.message.without_start("a{b}.tif")) == 'no band 4; pass alpha="none"'
    assert str(outer.message.changed(str.upper)) == 'A{B}.TIF: NO BAND 4; PASS ALPHA="NONE"'.replace(
        'PASS ALPHA="NONE"', 'pass alpha="none"'
    )


def test_errors_come_back_whole_from_other_processes() -> None:
    error = NotANumberError("a", Message("pass {precision}", precision="fp32"), of_network=True)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == 'a; pass precision="fp32"'
    assert again.keywords == {"precision": "fp32"}
    assert again.of_network


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Texts of a module that are no docstrings and stand alone for nothing."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-[omb](?= [A-Z]|[ ,;.)\"']|$))", re.MULTILINE)
"""A flag in a text, or in the source that writes it."""


def test_the_library_names_no_flags() -> None:
    for path in (p for p in SOURCES if p.is_relative_to(ROOT / "geoseg")):
        name, source = str(path.relative_to(ROOT)), path.read_text()
        if name in PRINTS_COMMANDS or not FLAG.search(source.replace("\\n", " ")):
            continue
        for text in literals(ast.parse(source)):
            found = FLAG.search(str(text.value))
            command = "`geoseg " in str(text.value)  # a command to type, as a whole
            assert command or found is None or "var(--" in str(text.value), (
                f"{name}:{text.lineno} names a flag"
            )


ERRORS = {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, GeosegError)
}


def test_errors_are_handed_on_with_their_keywords() -> None:
    """An f-string or ``str`` of a caught error would lose what it names; only what is no error of ours gets a text."""
    for path in SOURCES:
        text = path.read_text()
        if not re.search(r"^ *except .*Error.* as ", text, re.MULTILINE):
            continue
        for handler in ast.walk(ast.parse(text)):
            if not isinstance(handler, ast.ExceptHandler) or handler.type is None or handler.name is None:
                continue
            if not ERRORS & {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)}:
                continue
            for node in ast.walk(handler):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    ours = isinstance(node.exc.func, ast.Name) and node.exc.func.id in ERRORS
                    made = [n for n in ast.walk(node.exc) if isinstance(n, ast.FormattedValue)]
                    made += [
                        n
                        for n in ast.walk(node.exc)
                        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "str"
                    ]
                    lost = [
                        n
                        for each in made
                        for n in ast.walk(each)
                        if isinstance(n, ast.Name) and n.id == handler.name
                    ]
                    assert not (ours and lost), f"{path.name}:{node.lineno} turns an error into a text"


def templates() -> Iterator[tuple[str, str]]:
    """Place and template of every message."""
    for path, source in ((path, path.read_text()) for path in SOURCES):
        for node in ast.walk(ast.parse(source)) if "Message(" in source else ():
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Message"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", str(node.args[0].value)


def test_every_keyword_that_a_message_names_has_a_flag() -> None:
    known = {option for _, command in every_command() for param in command.params for option in param.opts}
    found = list(templates())
    assert len(found) > 80
    for place, template in found:
        for _, name, _, _ in string.Formatter().parse(template):
            if name:
                options = {flag_of(command, name) for _, command in every_command(group)}
                assert options & known, f"{place} names {name}, which no command has"


def test_how_many_are_counted_in_words() -> None:
    assert [plural(n, "band") for n in (0, 1, 2, 1234)] == ["0 bands", "1 band", "2 bands", "1,234 bands"]
    assert (plural(1, "small class"), plural(3, "small class")) == ("1 small class", "3 small classes")
    assert (plural(2, "epoch"), plural(2, "batch")) == ("2 epochs", "2 batches")


COUNTED = (
    "bands|classes|images|values|numbers|pixels|rows|columns|files|scenes|tensors|tiles|groups|layers|features|polygons|"
    "bytes|characters|cells|paths|regions|convolutions|weights|networks|processes|times|dimensions|epochs|digits|masks|"
    "parts|areas|names|channels|pictures"
)


NUMBER = re.compile(r"\{(len\(|count|n[}:])|count[}:]")
"""What a source that writes a number into a text has somewhere."""


def test_one_thing_is_not_called_several() -> None:
    """``{len(bands)} bands`` says "1 bands": `plural` says how many there are."""
    for path, source in ((path, path.read_text()) for path in SOURCES):
        for text in ast.walk(ast.parse(source)) if NUMBER.search(source) else ():
            if not isinstance(text, ast.JoinedStr):
                continue
            for value, after in zip(text.values, text.values[1:], strict=False):
                if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                    continue
                counted = ast.unparse(value.value)
                number = value.format_spec is None or ast.unparse(value.format_spec) == "f','"
                number &= (
                    bool(re.search(r"\blen\(|\.?count$|^count|^n$", counted)) and "plural(" not in counted
                )
                word = re.match(rf" (?:(?!under|with|in|of)[a-z]+ )?({COUNTED})\b", str(after.value))
                assert not number or word is None, f"{path.name}:{text.lineno} {ast.unparse(text)}"
