"""What a long run has finished, so that the same command can go on after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError, ResumeError

JOURNAL = "journal.jsonl"


class Journal:
    """A file of JSON lines: the fingerprint of the work, then one line per finished piece.

    A line counts once it is whole: a kill can tear only the last one, which is cut off on opening.

    Parameters
    ----------
    folder : Path
        Scratch folder of the output.
    fingerprint : mapping
        Everything the result depends on, as plain JSON values.

    Raises
    ------
    ResumeError
        If the folder holds unfinished work of another command, with the differences named, or its journal
        cannot be read.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = folder / JOURNAL
        self.entries: list[dict[str, Any]] = []
        if self.path.exists():
            self._load()
        if self.entries:
            self._compare(self.entries.pop(0), json.loads(json.dumps(dict(fingerprint))))
        else:
            self._write(dict(fingerprint))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Record a finished piece; on return it is on the disk."""
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
                f"{self.path}: is damaged, its unfinished work cannot go on ({error}); pass --fresh to start anew"
            ) from error

    def _compare(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key) != wanted.get(key):
                raise ResumeError(
                    f"{self.path.parent}: holds unfinished work with {key} {found.get(key)!r}, this command has "
                    f"{wanted.get(key)!r}; run the first command again to finish it, or pass --fresh to start anew"
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
