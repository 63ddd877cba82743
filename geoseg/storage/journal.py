"""The journal of a long run: what is finished, so that the same command can resume after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ANEW, Message, OutputError, ResumeError, plural

JOURNAL = "journal.jsonl"
_NAMED: Final = 3
"""Most differences that a message lists."""
_LENGTH: Final = 80
"""Most characters of a value in a message; a legend could take a page."""


class Journal:
    """A file of JSON lines: the fingerprint of the work, then one line per finished piece.

    A line counts once it is complete: a kill can only truncate the last one, which is removed on opening.

    Parameters
    ----------
    folder : Path
        Scratch folder of the output.
    fingerprint : mapping
        Everything the result depends on, as plain JSON values.
    what : str
        What the folder holds, for messages.

    Raises
    ------
    ResumeError
        If the folder holds unfinished work of another command, with the differences named, or its journal
        cannot be read.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], what: str = "unfinished work") -> None:
        self._what = what
        self.path = folder / JOURNAL
        self.entries: list[dict[str, Any]] = []
        if self.path.exists():
            self._load()
        if self.entries:
            self._compare(self.entries.pop(0), json.loads(json.dumps(dict(fingerprint))))
        else:
            self._write(dict(fingerprint))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Record a finished piece durably: on return it is on the disk."""
        self._write(dict(entry))
        self.entries.append(dict(entry))

    def last(self, kind: str) -> dict[str, Any] | None:
        """Return the newest entry that has the key `kind`."""
        return next((entry for entry in reversed(self.entries) if kind in entry), None)

    def _load(self) -> None:
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self.path, len(whole))
        try:
            self.entries = [dict(json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError, RecursionError) as error:
            raise ResumeError(
                f"{self.path}: is damaged, its unfinished work cannot go on ({error})", ANEW
            ) from error

    def _compare(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        found, wanted = flat(found), flat(wanted)
        other = [key for key in sorted(found.keys() | wanted.keys()) if found.get(key) != wanted.get(key)]
        if other:
            theirs, ours = (
                ", ".join(
                    f"{key.removeprefix('options.')} {_words(values.get(key))}" for key in other[:_NAMED]
                )
                for values in (found, wanted)
            )
            more = f" (and {plural(len(other) - _NAMED, 'more difference')})" if len(other) > _NAMED else ""
            raise ResumeError(
                f"{self.path.parent}: holds {self._what} with {theirs}{more}, this command has {ours}",
                Message("run the first command again to finish it, or {}", ANEW),
            )

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, sort_keys=True) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); make room and run again"
            ) from error


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Flatten nested settings into dot-separated keys, so that a difference can be named by its key.

    Parameters
    ----------
    values : mapping
        Plain JSON values and nested mappings; an empty mapping yields no key.
    before : str
        Prefix of the keys.
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{before}{key}.")
        else:
            result[before + str(key)] = value
    return result


def _words(value: Any) -> str:
    """Format a value as given on the command line: numbers without .0, lists with commas."""
    text = _text(value, ",")
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"


def _text(value: Any, joint: str) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return joint.join(_text(each, "/") for each in value) or "none"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return repr(value) if isinstance(value, str) else str(value)
