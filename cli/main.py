"""The command ``geoseg``: imports the subcommand, and turns every error into one line and an exit code.

Exit codes: 0 done, 1 error, 2 usage, 3 done with replaced areas, failed scenes or failed trials or, of a
check, with errors in what was checked, 4 output exists or is in use, 130 and 143 for SIGINT and SIGTERM.
"""

from __future__ import annotations

import errno
import gc
import logging
import sys
import threading
import traceback
from importlib import import_module
from typing import Any

import click

from geoseg.errors import GeosegError
from geoseg.storage.printable import printable

from .flags import spelled
from .options import examples
from .process import abandon_full_stdout, prepare_process, unfailing
from .verbosity import verbosity, verbosity_options

COMMANDS = (
    "segment",
    "predict",
    "map",
    "vectorize",
    "rasterize",
    "check",
    "model",
    "train",
    "sweep",
    "report",
    "evaluate",
    "compare",
    "accuracy",
    "labels",
    "rle",
    "info",
    "demo",
    "warmup",
    "cache",
    "completion",
)
"""Subcommands in the order of the help; each is the object ``command`` in the module of its name."""


_log = logging.getLogger("geoseg")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Commands(click.Group):
    """A group that imports subcommands on demand and translates all errors in one place."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the subcommands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; tracebacks are shown only with ``-vv``."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.NoArgsIsHelpError, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click handles these itself
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            raise click.exceptions.Exit(130) from None
        except Exception as error:  # the outermost place to report an error
            if verbosity(ctx) >= 2:
                click.echo(printable(traceback.format_exc()), err=True, nl=False)
            message, exit_code = _translated(error, ctx.invoked_subcommand)
            click.echo(printable("Error: " + " ".join(message.split())), err=True)
            raise click.exceptions.Exit(exit_code) from error


_LESS_MEMORY = {
    "predict": "; a smaller --tile-size or --batch-size needs less",
    "segment": "; a smaller --tile-size or --batch-size needs less",
    "map": "; a smaller --cell needs less",
    "train": "; a smaller train.batch_size or train.chip_size needs less",
}


def _translated(error: Exception, command: str | None = None) -> tuple[str, int]:
    """Return one line that describes an error, and the exit code."""
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "geoseg"
        return f"{error.format_message()} (see {where} --help)", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, GeosegError):
        return spelled(error), error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"nothing more can be written ({error.strerror}); make room where stdout and the outputs go", 1
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        # The CUDA context is lost: this process cannot use the GPU any more.
        reason = str(error).splitlines()[0]
        return (
            f"the GPU failed ({reason}); what is finished is kept, run the same command again to continue",
            1,
        )
    if isinstance(error, MemoryError):
        return f"out of memory{_LESS_MEMORY.get(command or '', '')}", 1
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("geoseg"):
        return _missing(error.name), 1
    if isinstance(error, ImportError) and not (error.name or "").startswith("geoseg"):
        return f"a library cannot be loaded ({error}); {_remedy(str(error))}", 1
    return f"unexpected {type(error).__name__}: {error}; this is a bug, -vv shows where", 1


def _missing(module: str) -> str:
    """Explain that a package is not installed; with only requirements/predict.txt installed, many are not."""
    package, _, part = module.partition(".")
    if part:
        return (
            f"the package {package} lacks {part}, it is not whole or of another version; install geoseg anew"
        )
    return f"this needs the package {package}, which is not installed: pip install geoseg installs all that it needs"


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """Log the traceback of a library's thread instead of printing it: whoever waits for it reports the error."""
    _log.debug("a thread failed", exc_info=args.exc_value)


def _remedy(message: str) -> str:
    """Return the remedy for a library that could not be loaded."""
    if "map segment" in message or "allocate" in message:
        return "the memory is limited to less than it needs: raise the limit (ulimit -v)"
    return "install geoseg anew"


@click.group(
    "geoseg",
    cls=Commands,
    epilog=examples(
        "geoseg demo",
        "geoseg segment scene.tif -m model.safetensors -o landcover.gpkg",
        "geoseg vectorize classes.tif -o landcover.gpkg",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="geoseg")
@verbosity_options
def group() -> None:
    """Land cover from georeferenced rasters: scenes in, styled land-cover polygons out."""


def main() -> None:
    """Run the command line in this process."""
    prepare_process(sys.argv[1:])
    sys.stderr = unfailing(sys.stderr)
    threading.excepthook = _thread_failed
    try:
        group(prog_name="geoseg")
    except OSError as error:  # from text that click prints before a command runs
        click.echo(f"Error: {_translated(error)[0]}", err=True)
        sys.exit(1)
    finally:
        abandon_full_stdout()
        # Python's garbage collection at exit is skipped, since the end of the process frees all memory. But
        # Triton, which comes with torch and is loaded by Lightning, prints warnings without it.
        if "triton" not in sys.modules:
            gc.freeze()
