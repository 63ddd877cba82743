"""Orders of names that are the same on every machine: natural and seeded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key for which ``2`` precedes ``10``; different texts never have equal keys."""
    parts = [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]
    return (*parts, (2, text))


def shuffled(names: Iterable[str], seed: int, salt: str = "") -> list[str]:
    """Return names in a seeded random order, which adding other names does not change."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{salt}/{name}".encode()).digest())
