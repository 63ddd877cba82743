"""Orders of names that are the same on every machine: the natural one, and seeded ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which ``2`` stands before ``10``, and texts that differ are never equal."""
    parts = [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]
    return (*parts, (2, text))


def shuffled(names: Iterable[str], seed: int, salt: str = "") -> list[str]:
    """Bring names into an order that depends on a seed; it keeps when other names are added."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{salt}/{name}".encode()).digest())
