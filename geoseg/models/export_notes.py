"""Metadata that geoseg writes into the files of exported models, whatever their format."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from geoseg.errors import ModelError
from geoseg.models.card import CARD_KEY

ABOUT_KEY: Final = "geoseg_export"
DIGEST_KEY: Final = "geoseg_sha256"


def require_notes(path: Path, notes: dict[str, str], remedy: str = "") -> dict[str, str]:
    """Return the metadata of a file that geoseg exported; raise ModelError with a remedy for any other file.

    Raises
    ------
    ModelError
    """
    if any(key not in notes for key in (CARD_KEY, ABOUT_KEY, DIGEST_KEY)):
        raise ModelError(
            f"{path}: is not a model that geoseg exported, it holds no card (bands, classes, normalisation); expected "
            f"what `geoseg model export` wrote{remedy}"
        )
    return notes
