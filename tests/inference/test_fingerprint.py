"""Every thing that a result depends on tells two runs apart, and nothing else does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from geoseg.inference.fingerprint import fingerprint_of
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import prepare_job
from tests.oracle import pointwise_model


def test_fingerprints_differ_where_results_would(scene_file: Path, tmp_path: Path) -> None:
    scene, clip = tmp_path / "s.tif", tmp_path / "clip.gpkg"
    shutil.copy(scene_file, scene)
    clip.write_text("a polygon")
    options = PredictOptions(bands=(1, 2, 3), clip=clip)

    def of(model: object = None, options: PredictOptions = options) -> str:
        return str(fingerprint_of(prepare_job(scene, model or pointwise_model(3), options)))  # type: ignore[arg-type]

    seen = [of()]
    assert of() == seen[0]
    assert of(options=PredictOptions(bands=(1, 2, 3), clip=clip, force=True)) == seen[0]
    seen.append(of(pointwise_model(3, tile={"size": 32, "overlap": 4})))
    seen.append(of(pointwise_model(3, temperature=2.0)))
    seen.append(of(pointwise_model(3, seed=1)))
    seen.append(of(options=PredictOptions(bands=(3, 2, 1), clip=clip)))
    clip.write_text("another one")
    seen.append(of())
    os.utime(scene, (1, 1))
    seen.append(of())
    assert len(set(seen)) == len(seen)
