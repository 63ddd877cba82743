"""What may be wrong with training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from geoseg.errors import Message, Text

Severity = Literal["error", "warning", "hint"]
"""A training should not start with an error; a warning should be looked at; a hint may be as it should be."""
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "hint")

CHECKS: Final = {
    "image": "image that cannot be opened, read or used",
    "missing": "image without labels",
    "labels": "labels that cannot be opened, read or used",
    "scale": "images with different tags of scale and offset",
    "empty": "image without a valid pixel, or of one value",
    "unlabelled": "image without a label on a valid pixel",
    "nodata": "no data that is not declared",
    "mask": "one mask of several images",
    "split": "images that cannot be divided",
    "ground": "ground that is in two splits",
    "identical": "images of equal pixels",
    "constant": "band of one value",
    "unlike": "images of different resolution or CRS",
    "absent": "class that a split lacks",
    "few": "class of too few objects",
    "invalid": "labels where the image has no data",
    "outside": "labels outside the image",
    "origin": "labels whose corner is not that of the image",
    "shift": "labels beside the edges of the image",
    "clustered": "class whose labels lie close together",
}
"""Checks in their order, and what a finding of each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding:
    """Something that may be wrong.

    Parameters
    ----------
    check : str
        One of `CHECKS`.
    severity : str
        ``error``, ``warning`` or ``hint``.
    what : str or Message
        What was found.
    remedy : str or Message
        What to do.
    images : tuple of str
        Keys of the images that it is about; empty if it is about all.
    """

    check: str
    severity: Severity
    what: Text
    remedy: Text
    images: tuple[str, ...] = ()

    @property
    def line(self) -> Message:
        """What was found and what to do, in one line."""
        return Message("{}; {}", self.what, self.remedy) if self.remedy else Message("{}", self.what)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "check": self.check,
            "severity": self.severity,
            "what": str(self.what),
            "remedy": str(self.remedy),
            "images": list(self.images),
        }


def worst_first(findings: Sequence[DataFinding]) -> tuple[DataFinding, ...]:
    """Sort findings: errors, warnings, hints; then in the order of the checks."""
    order = list(CHECKS)
    return tuple(
        sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), order.index(each.check)))
    )
