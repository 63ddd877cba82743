"""What an installation without torch does, against a whole one (`make test-wheel`): the same bytes, or one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data" / "korea"
SCENE, LABELS = DATA / "202309_patchN_16.tif", DATA / "202309_patchN_16_labels.tif"
MODEL = DATA / "korea.safetensors"
PREDICT = (str(SCENE), "-m", str(MODEL), "-b", "1,2,3", "--device", "cpu")

SAME = {
    "polygons.gpkg": ("vectorize", str(LABELS), "-o", "polygons.gpkg"),
    "drawn.parquet": (
        *("vectorize", str(LABELS), "--min-area", "10px", "--smooth", "--simplify", "1px"),
        *("-o", "drawn.parquet"),
    ),
    "codes.tif": ("rasterize", "polygons.gpkg", "--like", str(SCENE), "-o", "codes.tif"),
    "map.tif": ("predict", *PREDICT, "-o", "map.tif"),
    "map.gpkg": ("segment", *PREDICT, "-o", "map.gpkg", "--min-area", "10px"),
    "demo/zion_preview.png": ("demo", "-o", "demo"),
    f"masks/{SCENE.stem}.png": ("predict", "../pictures", *PREDICT[1:], "-o", "masks"),
    "rows.csv": ("predict", "../pictures", *PREDICT[1:], "--submission", "rows.csv", "--size", "200x300"),
    "exported.tif": ("predict", str(SCENE), "-m", "../model.xml", "-b", "1,2,3", "-o", "exported.tif"),
}
"""Commands by the file that they write."""
EXPORTED = ("model", "export", str(MODEL), "-o", "model.xml")
DESCRIBED = (("info", str(SCENE)), ("info", str(MODEL)), ("info", "polygons.gpkg"), ("info",), ("cache",))
REFUSED = (
    ("train", str(SCENE), str(LABELS), "-o", "m.safetensors"),
    ("model", "new", "--bands", "red,green,blue", "--classes", "a,b", "-o", "m.safetensors"),
)
"""Commands that need torch."""


def run(venv: Path, folder: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    # Both see one folder of converted networks and kernels: the whole installation makes what the other one reads.
    kept = {name: str(folder.parent / "kept") for name in ("GEOSEG_CACHE_DIR", "NUMBA_CACHE_DIR")}
    environment = {**os.environ, **kept, "PYTHONPATH": ""}
    return subprocess.run(
        [str(venv / "bin" / "geoseg"), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def main(whole: Path, small: Path, folder: Path) -> None:
    """Run the commands in both and stop at the first difference."""
    if not run(small, folder, ("model", "export", str(MODEL), "-o", "none.xml")).returncode:
        sys.exit(f"{small} has torch")
    if (done := run(whole, folder, EXPORTED)).returncode:
        sys.exit(f"geoseg {' '.join(EXPORTED)}: {done.stderr}")
    (folder / "pictures").mkdir(exist_ok=True)
    shutil.copy(SCENE, folder / "pictures")
    for name, arguments in SAME.items():
        for venv in (whole, small):
            done = run(venv, folder / venv.name, arguments)
            if done.returncode:
                sys.exit(f"{venv.name}: geoseg {' '.join(arguments)}: {done.stderr}")
        first, second = ((folder / venv.name / name).read_bytes() for venv in (whole, small))
        if first != second:
            sys.exit(f"{name} has other bytes without torch: {folder}")
        print(f"{name}: {len(first):,} bytes, the same without torch")
    for arguments in DESCRIBED:
        done = run(small, folder / small.name, arguments)
        if done.returncode:
            sys.exit(f"geoseg {' '.join(arguments)}: {done.stderr}")
    for arguments in REFUSED:
        done = run(small, folder / small.name, arguments)
        said = done.stderr.count(
            "this needs the package torch, which is not installed: pip install geoseg installs"
        )
        if (done.returncode, said) != (1, 1) or "Traceback" in done.stderr:
            sys.exit(f"geoseg {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
    print(f"{len(REFUSED)} commands say in one line that they need torch")


if __name__ == "__main__":
    main(*(Path(each).absolute() for each in sys.argv[1:]))
