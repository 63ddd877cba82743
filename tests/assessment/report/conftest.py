"""A finished run that tests share and leave as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assessment.report.runs import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two classes, its learning rate found by a range test."""
    return make_run(tmp_path_factory.mktemp("finished"), {})
