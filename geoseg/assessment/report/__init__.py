"""What a training came to, as one page that needs nothing beside it."""

from __future__ import annotations

from geoseg.assessment.report.page import report

__all__ = ["report"]
