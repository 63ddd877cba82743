"""The page of a sweep of 50 trials and 200 epochs: how large it is, how long it takes to write and until it answers."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, for the makers of the tests' sweeps

from geoseg.experiments.dashboard import write_dashboard
from geoseg.models.model import Model
from tests.chromium import CHROMIUM, browser
from tests.experiments.dashboard.sweeps import GRID, planned, with_runs, write_sweep
from tests.toys import SMALL


def main() -> None:
    """Write the page twice, and load it five times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sweep"
        trials = planned(GRID, (1, 2, 3))[:50]
        write_sweep(folder, trials, 200)
        with_runs(folder, trials, Model.new(**SMALL))
        for words in ("first", "again, as after each trial"):
            begun = time.perf_counter()
            page = write_dashboard(folder)
            print(f"written {words}: {time.perf_counter() - begun:.1f} s")
        print(f"page: {page.stat().st_size / 1e6:.2f} MB")
        if CHROMIUM is None:
            print("no Chromium here")
            return
        with browser(Path(name)) as tab:
            taken = []
            for _ in range(5):
                tab.open(page, width=1400)
                taken.append(float(tab.evaluate(
                    "new Promise(done => { const look = () => document.documentElement.dataset.ready"
                    " ? done(document.documentElement.dataset.ready) : setTimeout(look, 5); look(); })"
                )))  # fmt: skip
            print(f"all charts drawn after {sorted(taken)[2]:.0f} ms (median of 5: {sorted(taken)})")


if __name__ == "__main__":
    main()
