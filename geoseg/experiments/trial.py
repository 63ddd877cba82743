"""The process of one trial: a training as `geoseg train` runs it, ended when its sweep is.

The sweep writes one line of JSON to stdin and keeps the pipe open: its end, at whatever death of the sweep, ends this
process at once, which a training survives. The last line of stdout says what came of it; stderr is the trial's log.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoseg.errors import GeosegError, OutputBusyError

if TYPE_CHECKING:
    from geoseg.learning.config import Config

_ABANDONED: Final = 70
"""Exit code of a trial whose sweep has died."""
_PATIENCE: Final = 60.0
"""Seconds to wait for the folder of a trial whose earlier process is about to end."""
_FULL: Final = ("allocate memory", "out of memory", "not enough memory", "failed to map segment", "bad_alloc")
TEST_SCORES: Final = "test.json"


def main() -> None:
    """Run what stdin says, and say what came of it."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            os._exit(_ABANDONED)
        line += piece
    order = json.loads(line)
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    warnings.simplefilter("ignore")
    log = logging.getLogger("geoseg")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stderr))
    outcome = _outcome(order)
    sys.stderr.flush()
    sys.stdout.write(f"\n{json.dumps(outcome)}\n")
    sys.stdout.flush()
    os._exit(0)


def _end_with_the_sweep() -> None:
    """End the process when the pipe does."""
    while os.read(0, 1 << 16):
        continue
    os._exit(_ABANDONED)


def _outcome(order: Mapping[str, Any]) -> dict[str, str]:
    """Return status and reason."""
    try:
        _test(order) if order["reveal"] else _train(order)
    except _Paused:
        return {"status": "paused", "reason": ""}
    except (SystemExit, KeyboardInterrupt):
        return {"status": "failed", "reason": "stopped by a signal; its state is saved"}
    except GeosegError as error:
        # A remedy that names keywords is for whoever calls `train`.
        return _failed(error, str(error.problem if error.keywords else error))
    except MemoryError as error:
        return _failed(error, f"out of memory ({error})" if str(error) else "out of memory")
    except Exception as error:  # libraries raise errors of any type, and a trial must not end its sweep
        text = str(error)
        full = any(sign in text.lower() for sign in _FULL)
        first = text.strip().splitlines()[0] if text.strip() else ""
        return _failed(error, f"out of memory ({first})" if full else f"{type(error).__name__}: {first}")
    return {"status": "finished", "reason": ""}


def _failed(error: BaseException, reason: str) -> dict[str, str]:
    traceback.print_exception(error, file=sys.stderr)
    return {"status": "failed", "reason": " ".join(reason.split())}


def _train(order: Mapping[str, Any]) -> None:
    """Train and write the report; begin where an earlier process stopped."""
    from geoseg.assessment.report import report
    from geoseg.learning.training_run import TrainOptions, train_run

    config, folder = _config(order), Path(order["output"])
    options = TrainOptions(skip_bad=order["skip_bad"], score_test=False)
    waited = time.monotonic()
    watch = _Watch(folder, order["until"], config.train.epochs)
    while True:
        try:
            trained = train_run(
                config, folder, options, lambda model: report(model, overwrite=True), progress=watch
            )
        except SystemExit:
            if watch.asked:
                raise _Paused from None
            raise
        except OutputBusyError:
            if time.monotonic() - waited > _PATIENCE:
                raise
            time.sleep(0.5)
            continue
        break
    if trained.before and not (folder / "report.html").exists():
        report(trained.model, overwrite=True)


def _test(order: Mapping[str, Any]) -> None:
    """Score a finished trial on the test images."""
    from geoseg.learning.story import MODEL
    from geoseg.learning.training_run import score_test_images
    from geoseg.storage.durable import write_bytes

    folder = Path(order["output"])
    found = score_test_images(_config(order), folder / MODEL, skip_bad=order["skip_bad"])
    write_bytes(folder / TEST_SCORES, (json.dumps(found, ensure_ascii=False) + "\n").encode())


def _config(order: Mapping[str, Any]) -> Config:
    from geoseg.learning.config import Config
    from geoseg.storage.foreign_yaml import read_yaml

    return Config.of(read_yaml(order["config"]), "trial", Path(order["folder"]), Path(order["root"]))


class _Paused(Exception):  # noqa: N818 - no error
    """The training has stopped where it was to stop."""


class _Watch:
    """Stops the training, with its state saved, after an epoch or where a file asks for it."""

    def __init__(self, folder: Path, until: int | None, epochs: int) -> None:
        self._stop = stop_file(folder)
        self._until = until
        self._epochs = epochs
        self.asked = False

    def __call__(self, done: int, total: int, what: str) -> None:  # noqa: ARG002
        """Look after each step."""
        after = self._until is not None and done * self._epochs > self._until * total
        if not self.asked and (after or self._stop.exists()):
            self.asked = True
            signal.raise_signal(signal.SIGTERM)


def stop_file(folder: Path) -> Path:
    """Return the file that asks a trial to stop."""
    return folder / "stop"


if __name__ == "__main__":
    main()
