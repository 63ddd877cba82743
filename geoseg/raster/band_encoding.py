"""Encodings of probabilities and confidence in files."""

from __future__ import annotations

from typing import Literal

Storage = Literal["uint8", "float16", "float32"]
"""``uint8``: steps of 1/254 with 255 for no data, as for confidence. ``float16``, or ``float32`` in memory: NaN for
no data."""
STORAGES: tuple[Storage, ...] = ("uint8", "float16")
"""Encodings that files may have."""
CONFIDENCE_STEPS = 254
"""Stored confidence is round(254 * probability); 255 is no data."""
