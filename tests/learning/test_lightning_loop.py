"""Lightning is imported without what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.long
def test_lightning_does_not_load_signal_processing_and_who_asks_for_it_gets_it() -> None:
    """If torchmetrics asks it for more while it is imported: a training takes two seconds longer to start."""
    script = """
import sys
from geoseg.learning.fitting import fit
assert sys.modules["torchmetrics"]
assert "scipy.signal" not in sys.modules
import scipy.signal
assert scipy.signal.__file__
print(scipy.signal.convolve([1, 2], [1, 1]).tolist())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "[1, 3, 2]\n"), run.stderr
