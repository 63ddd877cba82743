"""How files hold probabilities and confidence."""

from __future__ import annotations

from typing import Literal

Storage = Literal["uint8", "float16", "float32"]
"""In steps of 1/254 with 255 for no data, as confidence is; or as half or, in memory, whole floats with NaN for it."""
STORAGES: tuple[Storage, ...] = ("uint8", "float16")
"""Those of files."""
CONFIDENCE_STEPS = 254
"""Stored confidence is probability * 254, rounded; 255 is no data."""
