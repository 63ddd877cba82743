"""The words of a map's options."""

from __future__ import annotations

from typing import Final, Literal

PREFERENCES: Final = ("order", "newest", "clearest", "nearest", "confidence")
"""Which scene owns a pixel that several have valid data of."""
RESAMPLINGS: Final = ("nearest", "bilinear")
"""How the results of a scene come onto another lattice."""
Resampling = Literal["nearest", "bilinear"]
