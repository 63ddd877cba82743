"""The products that an earlier run of the same command left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.inference.prepare import Job
from geoseg.storage.journal import JOURNAL
from geoseg.storage.output import clear_leftovers, scratch_folder
from geoseg.storage.run_record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier run of the same command left.

    Parameters
    ----------
    report : RunRecord
        Record of that run.
    there : frozenset of Path
        Its products that still exist: the main one, which the user may have edited since, and further ones of
        the size that they had.
    """

    report: RunRecord
    there: frozenset[Path]

    @classmethod
    def of(cls, job: Job, fingerprint: Mapping[str, Any]) -> Earlier | None:
        """Read the run.json of the main output; None if it does not describe exactly this work."""
        main, *others = job.outputs
        report = RunRecord.read(main)
        if report is None or report.fingerprint != json.loads(json.dumps(dict(fingerprint))):
            return None
        same = {path for path in others if path.is_file() and path.stat().st_size == report.size_of(path)}
        return cls(report=report, there=frozenset(same | ({main} if main.is_file() else set())))


def finished_before(job: Job) -> RunRecord | None:
    """Return the record of an earlier run of the same command if all its products exist, else None.

    None also if unfinished work lies beside them, of this command (killed before it had cleaned up)
    or of another one; and for a network of the user's own, whose code may have changed.
    """
    from geoseg.inference.fingerprint import fingerprint_of

    main = job.outputs[0]
    if getattr(job.model, "wrapped", False):
        return None
    if not main.is_file() or (scratch_folder(main) / JOURNAL).exists():
        return None
    found = Earlier.of(job, fingerprint_of(job) | job.identity)
    if found is None or found.there != set(job.outputs):
        return None
    for path in job.outputs:
        clear_leftovers(path)
    return replace(found.report, before=True)
