"""Parameters of tests that the default run takes only a few of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Leave all but the first values of a parameter to ``make test-long``."""
    return [
        value if number < count else pytest.param(value, marks=pytest.mark.long)
        for number, value in enumerate(values)
    ]
