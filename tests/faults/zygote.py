"""Runs the command line in forked children, so that two hundred runs import torch once.

Reads lines of JSON from stdin, {"arguments": [...], "stderr": path, "environment": {...}}; answers {"pid": n} when
the child runs and {"returncode": n} when it has ended (negative: the signal that ended it). The child is a process of
its own: it is killed, stopped and signalled like any other.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys

from geoseg_cli.main import main
from geoseg_cli.process import prepare_process

import geoseg.inference.run
import geoseg.inference.segment
import geoseg.learning.train
import geoseg.polygons.polygonize
import geoseg.raster.classmap
import geoseg.vector.vectorize  # noqa: F401


def child(request: dict[str, object]) -> None:
    errors = os.open(str(request["stderr"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    faulthandler.enable()  # a test that finds the run hung aborts it, and shows where it was
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    # A test run in the background ignores SIGINT, and its children inherit that; a person's terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["environment"])  # type: ignore[arg-type]
    sys.argv = ["geoseg", *request["arguments"]]  # type: ignore[misc]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    prepare_process([])
    serve()
