"""Report on a training as one self-contained HTML page."""

from __future__ import annotations

from geoseg.assessment.report.page import report

__all__ = ["report"]
