"""Importing the library changes nothing of the process: no environment, no option of GDAL, no handler of signals."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.faults

SCRIPT = """
import os, signal, warnings

import pyogrio
import rasterio

NAMES = ("GDAL_SKIP", "OGR_SKIP", "GDAL_CACHEMAX", "GDAL_VRT_ENABLE_PYTHON", "OGR_CURRENT_DATE", "CPL_DEBUG")


def state():
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), handlers, [pyogrio.get_gdal_config_option(n) for n in NAMES], list(warnings.filters)


import torch, lightning, segmentation_models_pytorch, torchgeo  # theirs is not ours

before = state()
import geoseg, geoseg.inference.predict, geoseg.inference.segment, geoseg.vector.vectorize, geoseg.learning.train

assert state() == before, [(a, b) for a, b in zip(before, state()) if a != b]
"""


def test_importing_the_library_leaves_the_process_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
