"""The group: lazy commands, one-line errors, exit codes, logging."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from geoseg_cli.main import COMMANDS, group

from geoseg.errors import GeosegError, OptionError, OutputBusyError, OutputExistsError, SceneError


def run(*arguments: str, **options: object) -> Result:
    return CliRunner().invoke(group, list(arguments), **options)


def every_command(
    command: click.Command = group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Path and command of the group and of everything below it."""
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                below = command.get_command(ctx, name)
                assert below is not None
                yield from every_command(below, (*path, name))


each_command = pytest.mark.parametrize(
    ("path", "command"),
    [pytest.param(*found, id=" ".join(found[0]) or "geoseg") for found in every_command()],
)


@each_command
def test_every_command_has_help_with_every_option_explained(
    path: tuple[str, ...], command: click.Command
) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts} is not explained"
    assert "..." not in result.output.split("Commands:")[-1] or path, "a summary is cut off"


@each_command
def test_examples_in_help_are_commands_that_parse(path: tuple[str, ...], command: click.Command) -> None:
    """Each example reaches its command with options that exist; files it names need not."""
    for line in (command.epilog or "").splitlines()[2:]:
        words = line.split("|")[-1].split(">")[0].split()
        assert words[0] == "geoseg"
        names, here = words[1:], group
        while isinstance(here, click.Group):
            with click.Context(here) as ctx:
                found = here.get_command(ctx, names.pop(0))
            assert found is not None, line
            here = found
        with click.Context(here) as ctx:
            options = {flag for p in here.params if isinstance(p, click.Option) for flag in p.opts}
        assert {word for word in names if word.startswith("-") and word != "-"} <= options, line


def test_help_loads_nothing_heavy() -> None:
    script = """
import gc, sys
from geoseg_cli.main import main
sys.argv = ["geoseg", "--help"]
try:
    main()
except SystemExit:
    assert gc.get_freeze_count(), "the end takes a tenth of a command's time otherwise"
    print(*sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)
    loaded = {name.split(".")[0] for name in result.stdout.splitlines()[-1].split()}
    assert not loaded & {"torch", "rasterio", "geopandas", "numpy", "pyogrio", "numba", "pydantic", "yaml"}


@pytest.mark.long
def test_the_end_of_a_training_says_nothing() -> None:
    """What Lightning loads complains of objects that are left over at the end of the process."""
    script = (
        "import lightning, sys\nfrom geoseg_cli.main import main\nsys.argv = ['geoseg', '--version']\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (result.stdout.startswith("geoseg"), result.stderr) == (True, "")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> object:
    """A command that raises what it is given, through the real group."""

    def add(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(type(group), "get_command", lambda self, ctx, name: command)

    return add


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (GeosegError("plain"), 1, "plain"),
        (GeosegError("\x1b]0;title\x07 of a\x9b2J.tif \udcff"), 1, r"\x1b]0;title\x07 of a\x9b2J.tif \udcff"),
        (SceneError("a.tif: is damaged"), 1, "a.tif: is damaged"),
        (SceneError("two\nlines"), 1, "two lines"),
        (OptionError("overlap is 9"), 2, "overlap is 9"),
        (OutputExistsError("o.tif: exists"), 4, "o.tif: exists"),
        (OutputBusyError("o.tif: busy"), 4, "o.tif: busy"),
        (click.UsageError("no scene"), 2, "no scene (see geoseg anything --help)"),
        (click.BadParameter("bad"), 2, "Invalid value: bad (see geoseg anything --help)"),
        (PermissionError(13, "Permission denied", "x.tif"), 1, "x.tif: Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (ValueError("odd"), 1, "unexpected ValueError: odd; this is a bug, -vv shows where"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
def test_an_error_is_one_line_and_an_exit_code(failing, error: Exception, exit_code: int, line: str) -> None:
    failing(error)
    result = run("anything")
    assert (result.exit_code, result.stderr, result.stdout) == (exit_code, f"Error: {line}\n", "")


def test_less_memory_is_advised_with_options_that_the_command_has(failing) -> None:
    failing(MemoryError())
    assert run("segment").stderr.endswith("out of memory; a smaller --tile-size or --batch-size needs less\n")
    assert run("train").stderr.endswith("a smaller train.batch_size or train.chip_size needs less\n")


def test_a_traceback_is_shown_for_vv_only(failing) -> None:
    failing(SceneError("a.tif: is damaged"))
    assert "Traceback" not in run("-v", "anything").stderr
    result = run("-vv", "anything")
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("Error: a.tif: is damaged\n")
    assert result.exit_code == 1


def test_ctrl_c_is_130(failing) -> None:
    failing(KeyboardInterrupt())
    result = run("anything")
    assert (result.exit_code, result.stderr) == (130, "Interrupted\n")


def test_a_broken_pipe_is_quiet(failing) -> None:
    failing(BrokenPipeError(32, "Broken pipe"))
    assert run("anything").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ([], ["said", "Warning: odd", "Error: bad"]),
        (["-q"], ["Error: bad"]),
        (["-v"], ["whispered", "said", "Warning: odd", "Error: bad"]),
        (["-v", "-q"], ["said", "Warning: odd", "Error: bad"]),
    ],
)
def test_verbosity_chooses_what_is_said(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], lines: list[str]
) -> None:
    @click.command()
    def command() -> None:
        log = logging.getLogger("geoseg.somewhere")
        log.debug("whispered")
        log.info("said")
        log.warning("odd")
        log.error("bad")

    monkeypatch.setattr(type(group), "get_command", lambda self, ctx, name: command)
    before = logging.getLogger("geoseg").handlers[:], logging.getLogger("geoseg").level
    assert run(*arguments, "anything").stderr.splitlines() == lines
    assert (logging.getLogger("geoseg").handlers, logging.getLogger("geoseg").level) == before


def test_the_version_is_printed() -> None:
    import geoseg

    assert run("--version").output.strip().endswith(geoseg.__version__)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_GEOSEG_COMPLETE" in result.output


def test_sigterm_ends_what_does_not_return_to_python() -> None:
    """Key derivation of a billion rounds is one step for Python."""
    script = """
import hashlib, sys
from geoseg_cli import process
process._GRACE = 0.05
process.prepare_process([])
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        os.kill(started.pid, signal.SIGTERM)
        assert started.wait(30) == 143


def test_sigterm_unwinds_and_exits_143(tmp_path: Path) -> None:
    """`python -m geoseg_cli`, the environment it prepares, and SIGTERM, in one process."""
    script = f"""
import os, sys
from contextlib import contextmanager
import click
from geoseg_cli import main

@contextmanager
def guarded():
    try:
        yield
    finally:
        open({str(tmp_path / "cleaned")!r}, "w").close()

@click.command()
def command():
    with guarded():
        print(os.environ["GDAL_SKIP"], os.environ["OGR_SKIP"], os.environ["GDAL_VRT_ENABLE_PYTHON"], end=" ")
        print(os.environ["THP_MEM_ALLOC_ENABLE"], "torch" in sys.modules, flush=True)
        sys.stdin.read()

main.Commands.get_command = lambda self, ctx, name: command
sys.argv = ["geoseg", "anything"]
main.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "VRT OGR_VRT NO 1 False\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 143
    assert (tmp_path / "cleaned").exists()
