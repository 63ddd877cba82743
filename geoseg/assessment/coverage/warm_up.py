"""Compile the kernels of a check in advance."""

from __future__ import annotations

import numpy as np

from geoseg.assessment.coverage.arrangement import arranged
from geoseg.assessment.coverage.edges import match
from geoseg.assessment.coverage.ground import Ground
from geoseg.assessment.coverage.regions import regions_of
from geoseg.assessment.coverage.singles import looked_at


def compile_kernels() -> None:
    """Check three polygons with every kind of fault."""
    import shapely

    shapes = np.array([shapely.box(0, 0, 9, 1), shapely.box(3, 1, 5, 9), shapely.box(2, 4, 8, 6)], object)
    singles = looked_at(shapely.to_wkb(shapes), 0, Ground(crs=None), 1.9)
    regions_of(arranged(match(singles.edges).left, 1e-9).edges)
