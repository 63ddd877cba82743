"""What is to become of a job, and what the same command left when it ran before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.engine.storage import Storage
from geoseg.inference.prepare import Job
from geoseg.inference.summary import Report
from geoseg.storage.journal import JOURNAL
from geoseg.storage.output import clear_leftovers, scratch_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to become of a job.

    Parameters
    ----------
    outputs : tuple of Path
        The main output, which owns the scratch folder and the journal, then further products.
    identity : dict
        What the products depend on beside the pixels (layer names, further paths), as plain JSON values.
    storage : str, optional
        How probabilities are stored, where they are wanted.
    overwrite, fresh : bool
        As in `claim`.
    """

    outputs: tuple[Path, ...]
    identity: dict[str, Any]
    storage: Storage | None = None
    overwrite: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier run of the same command left.

    Parameters
    ----------
    report : Report
        Of that run.
    there : frozenset of Path
        Its products that are still there: the main one, which a person may have edited since, and further ones of
        the size that they had.
    """

    report: Report
    there: frozenset[Path]

    @classmethod
    def of(cls, asked: Asked, fingerprint: Mapping[str, Any]) -> Earlier | None:
        """Read the run.json of the main output; None where it does not speak of this very work."""
        main, *others = asked.outputs
        report = Report.read(main)
        if report is None or report.fingerprint != json.loads(json.dumps(dict(fingerprint))):
            return None
        same = {path for path in others if path.is_file() and path.stat().st_size == report.size_of(path)}
        return cls(report=report, there=frozenset(same | ({main} if main.is_file() else set())))


def finished_before(job: Job, asked: Asked) -> Report | None:
    """Return the report of an earlier run of the same command whose products are all there.

    None also where unfinished work lies beside them: of this command, which a kill ended before it had cleaned up,
    or of another. And of a network of one's own: nobody can tell whether its code is what it was.
    """
    from geoseg.inference.fingerprint import fingerprint_of

    main = asked.outputs[0]
    if getattr(job.model, "wrapped", False):
        return None
    if not main.is_file() or (scratch_folder(main) / JOURNAL).exists():
        return None
    found = Earlier.of(asked, fingerprint_of(job) | asked.identity)
    if found is None or found.there != set(asked.outputs):
        return None
    for path in asked.outputs:
        clear_leftovers(path)
    return replace(found.report, before=True)
