"""A bar for a person who looks on, a line now and then for a log file, nothing with -q."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import click
import pytest
from geoseg_cli.messages import lines, progress, say
from geoseg_cli.verbosity import verbosity_options


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@click.command()
@verbosity_options
def work() -> None:
    with progress() as bar:
        if bar is not None:
            bar(1, 4, "predict")
            bar(4, 4, "predict")
            bar(1, 2, "vectorize")
    say("done")


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *arguments: str) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    work.main(list(arguments), standalone_mode=False)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal())
    for stage in ("predict:  25%", "predict: 100%", "vectorize:  50%"):
        assert stage in text
    assert text.endswith("\rdone\n")


def test_a_log_file_gets_the_summary_and_a_line_every_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == "done\n"
    now = 0.0

    @click.command()
    @verbosity_options
    def long() -> None:
        nonlocal now
        tell = lines(clock=lambda: now)
        for done in range(1, 10):
            now += 12
            tell(done, 10, "predict")

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    long.main([], standalone_mode=False)
    assert stream.getvalue() == "predict: 30%\npredict: 60%\npredict: 90%\n"


def test_a_terminal_without_a_size_gets_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = os.openpty()  # of 0 x 0
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work.main([], standalone_mode=False)
        terminal.flush()
        os.set_blocking(outer, False)
        seen = b""
        with suppress(BlockingIOError):
            while piece := os.read(outer, 65536):  # a terminal hands on what it has in pieces
                seen += piece
        assert "predict:  25%" in seen.decode()
    os.close(outer)


def test_quiet_is_quiet_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), "-q") == ""
