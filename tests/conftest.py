"""What every test shares: the header, Hypothesis profiles, the folder of real data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.small_files import model_file, scene_file, write  # noqa: F401 - fixtures
from tests.toys import model, small, toy, write_raster  # noqa: F401 - fixtures

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Workers of pytest-xdist ignore it, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Networks that tests convert are kept from run to run, and apart from a person's own.
os.environ.setdefault("GEOSEG_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "geoseg"))

REQUIRED = frozenset(filter(None, os.environ.get("GEOSEG_REQUIRE", "").split(",")))


def skip_without(what: str, present: bool) -> None:
    """Skip the test where `what` is absent; fail where GEOSEG_REQUIRE says that it must be there."""
    if present:
        return
    if what in REQUIRED:
        pytest.fail(f"{what} is required by GEOSEG_REQUIRE and is not there")
    pytest.skip(f"{what} is not on this machine")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data sets that are not part of the project; tests skip without it."""
    folder = Path(os.environ.get("GEOSEG_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    skip_without("shared", folder.is_dir())
    return folder
