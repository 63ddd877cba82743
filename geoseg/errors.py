"""The errors that geoseg raises on purpose.

::

    GeosegError                 exit code 1
    ├── OptionError             2   an option's value cannot be used
    ├── SceneError              1   a raster cannot be read as a scene
    ├── LegendError             1   codes, names or colours that do not go together
    ├── ClassMapError           1   a raster cannot be used as a class map
    ├── ModelError              1   a model file or its card cannot be used
    │   └── MismatchError       1   scene and card do not fit each other
    ├── StitchError             1   a pixel was left without a probability
    ├── ConfigError             1   a training configuration is wrong
    ├── DataError               1   training data is wrong
    ├── ResumeError             1   unfinished work belongs to another command
    └── OutputError             1   an output cannot be written
        ├── OutputExistsError   4   the output is already there
        └── OutputBusyError     4   another process is writing it

A message is one line: what was found, what was expected, what to do. What to do is kept apart as `remedy`, and
names the choices of the caller as data (`Message`): in Python it reads ``pass overwrite=True``, on the command line
``pass --overwrite``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import TypeVar

Raised = TypeVar("Raised", bound="GeosegError")
Spelling = Callable[[str, object], str]
"""Writes a keyword and its value (None: for the person to choose) as whoever called would type them."""


def as_keyword(name: str, value: object = None) -> str:
    """Write a keyword as Python does: ``overwrite=True``, ``alpha="none"``, ``bounds=`` without a value."""
    text = f'"{value}"' if isinstance(value, str) else "" if value is None else repr(value)
    return f"{name}={text}"


class Message:
    """A sentence that names keywords of the function that was called.

    It is a text in Python's spelling wherever a text is wanted; `written` spells the keywords otherwise.

    Parameters
    ----------
    template : str
        Fixed text, in which ``{}`` stands for the next of `values` and ``{name}`` for the keyword of that name.
    *values : object
        Texts, and messages or errors, whose own keywords are spelled alike.
    **keywords : object
        Values of keywords; one that the template names alone is for the person to choose.

    Examples
    --------
    >>> str(Message("pass {overwrite} to replace {}", "a.tif", overwrite=True))
    'pass overwrite=True to replace a.tif'
    """

    __slots__ = ("_given", "template", "values")

    def __init__(self, template: str, /, *values: object, **keywords: object) -> None:
        self.template, self.values, self._given = template, values, keywords

    @classmethod
    def joined(cls, separator: str, parts: Iterable[object]) -> Message:
        """Return one message of several texts, messages or errors."""
        parts = tuple(parts)
        return cls(separator.replace("{", "{{").replace("}", "}}").join(["{}"] * len(parts)), *parts)

    def changed(self, change: Callable[[str], str]) -> Message:
        """Return the message with each of its values changed as a text."""
        values = (
            each.changed(change)
            if isinstance(each, Message)
            else each.message.changed(change)
            if isinstance(each, GeosegError)
            else change(str(each))
            for each in self.values
        )
        return Message(self.template, *values, **self._given)

    def without_start(self, start: str) -> Message:
        """Return the message without a text that it begins with, such as the name of a file, and the colon after."""
        if not self.values or not self.template.startswith("{}"):
            return self
        first, *rest = self.values
        if isinstance(first, GeosegError):
            first = first.message
        if isinstance(first, Message):
            return Message(self.template, first.without_start(start), *rest, **self._given)
        if str(first) == start:
            return Message(self.template.removeprefix("{}").lstrip(":, "), *rest, **self._given)
        shorter = str(first).removeprefix(start).lstrip(":, ")
        return Message(
            self.template, shorter if str(first).startswith(start) else first, *rest, **self._given
        )

    @property
    def keywords(self) -> dict[str, object]:
        """The keywords that are named, with the values that are advised; None where the person chooses."""
        found: dict[str, object] = {}
        for inner in self.values:
            if isinstance(inner, Message | GeosegError):
                found |= inner.keywords
        fields = [name for _, name, _, _ in string.Formatter().parse(self.template) if name]
        return found | {name: self._given.get(name) for name in fields}

    def written(self, spell: Spelling = as_keyword) -> str:
        """Return the sentence with its keywords spelled."""
        values, pieces = iter(self.values), []
        for text, name, _, _ in string.Formatter().parse(self.template):
            pieces.append(text)
            if name:
                pieces.append(spell(name, self._given.get(name)))
            elif name is not None:
                pieces.append(written(next(values), spell))
        return "".join(pieces)

    def __str__(self) -> str:
        return self.written()

    def __contains__(self, text: str) -> bool:
        return text in str(self)

    def __repr__(self) -> str:
        return f"Message({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | Message) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.template, self.values, self._given)


def _restored(template: str, values: tuple[object, ...], keywords: dict[str, object]) -> Message:
    """Restore a pickled message."""
    return Message(template, *values, **keywords)


Text = str | Message

REPLACE = Message("pass {overwrite} to replace it", overwrite=True)
ANEW = Message("pass {resume} to start anew", resume=False)
ELSEWHERE = Message("choose another {output}")
ON_CPU = Message("pass {device}", device="cpu")
SMALLER_TILES = Message("pass a smaller {tile_size}")
"""Remedies that many errors have."""


def written(thing: object, spell: Spelling = as_keyword) -> str:
    """Return the text of anything; keywords in it are spelled where it is a message or an error of geoseg."""
    return thing.written(spell) if isinstance(thing, Message | GeosegError) else str(thing)


def plural(count: int, thing: str) -> str:
    """Return a count with its noun in singular or plural: ``1 band``, ``2 classes``, ``1,234 polygons``."""
    if count == 1:
        return f"1 {thing}"
    hissing = thing.endswith(("s", "x", "ch", "sh")) and not thing.endswith("epoch")
    return f"{count:,} {thing}{'es' if hissing else 's'}"


class GeosegError(Exception):
    """Base of all errors of geoseg; the command line prints its message and exits with `exit_code`.

    Parameters
    ----------
    problem : str or Message
        What was found and what was expected.
    remedy : str or Message, optional
        What to do; where it names keywords, `keywords` has them as data.
    """

    exit_code = 1

    def __init__(self, problem: Text, remedy: Text | None = None) -> None:
        super().__init__(*([problem] if remedy is None else [problem, remedy]))
        self.problem, self.remedy = problem, remedy

    @property
    def keywords(self) -> dict[str, object]:
        """The keywords that the message names, with the values that are advised; None where the person chooses."""
        return self.message.keywords

    @property
    def message(self) -> Message:
        """Problem and remedy as one sentence."""
        return Message.joined("; ", [self.problem] if self.remedy is None else [self.problem, self.remedy])

    def into(self, kind: type[Raised], where: object = None) -> Raised:
        """Return an error of another class with this one's problem and remedy.

        Parameters
        ----------
        kind : type
            Class of errors.
        where : object, optional
            What the problem is in, to be said before it.
        """
        return kind(self.problem if where is None else Message("{}: {}", where, self.problem), self.remedy)

    def written(self, spell: Spelling = as_keyword) -> str:
        """Return the message with its keywords spelled."""
        return self.message.written(spell)

    def __str__(self) -> str:
        return self.written()


class OptionError(GeosegError):
    """An option's value cannot be used."""

    exit_code = 2


class SceneError(GeosegError):
    """A raster cannot be read as a scene."""


class LegendError(GeosegError):
    """Codes, names or colours of a legend do not go together."""


class ClassMapError(GeosegError):
    """A raster cannot be used as a class map."""


class ModelError(GeosegError):
    """A model file or its card cannot be used."""


class MismatchError(ModelError):
    """A scene does not fit the card of a model."""


class NotANumberError(GeosegError):
    """A network's output is not a number.

    Parameters
    ----------
    problem, remedy : str or Message
        As of every `GeosegError`.
    of_network : bool
        Whether the weights themselves give NaN, so that neither other pixels nor a higher precision would help.
    """

    def __init__(self, problem: Text, remedy: Text | None = None, *, of_network: bool = False) -> None:
        super().__init__(problem, remedy)
        self.of_network = of_network


class StitchError(GeosegError):
    """A pixel was left without a probability, which is a bug of geoseg."""


class ConfigError(GeosegError):
    """A training configuration is wrong."""


class DataError(GeosegError):
    """Training data is wrong."""


class ResumeError(GeosegError):
    """Unfinished work beside the output belongs to another command."""


class OutputError(GeosegError):
    """An output cannot be written."""


class OutputExistsError(OutputError):
    """The output exists and replacing it was not asked for."""

    exit_code = 4


class OutputBusyError(OutputError):
    """Another process is writing the same output."""

    exit_code = 4
