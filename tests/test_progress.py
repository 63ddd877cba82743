"""Progress: a bar where a person looks on, lines in a log that asked for them, a function of the caller's."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from geoseg.errors import OptionError
from geoseg.progress import Bar, Lines, shown, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Stderr = Callable[[io.StringIO], io.StringIO]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Stderr:
    """Puts a stream in the place of stderr, from within a test: pytest has its own there until then."""

    def put(stream: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def test_a_bar_follows_the_stages_and_goes_away(stderr: Stderr) -> None:
    terminal = stderr(Terminal())
    with shown(True) as told:
        assert told is not None
        for call in ((1, 4, "predict"), (4, 4, "predict"), (1, 2, "vectorize"), (1, 2, "\x1b[2Jx")):
            told(*call)
    text = terminal.getvalue()
    for stage in ("predict:  25%", "predict: 100%", "vectorize:  50%", r"\x1b[2Jx:  50%"):
        assert stage in text
    assert text.endswith("\r")


def test_by_default_short_work_shows_no_bar_and_long_work_does(stderr: Stderr) -> None:
    terminal = stderr(Terminal())
    now = 0.0
    bar = Bar(patience=2.0, clock=lambda: now)
    bar(1, 4, "predict")
    assert terminal.getvalue() == ""
    now = 2.5
    bar(2, 4, "predict")
    assert "predict:  50%" in terminal.getvalue()
    bar.close()
    with shown() as told:
        assert isinstance(told, Bar)
        told(1, 2, "predict")
        assert "predict:  50%" not in terminal.getvalue().rpartition("\r")[2]


def test_where_nobody_looks_on_there_is_nothing_unless_it_is_asked_for(stderr: Stderr) -> None:
    log = stderr(io.StringIO())
    with shown() as told:
        assert told is None
    with shown(True) as told:
        assert isinstance(told, Lines)
    assert log.getvalue() == ""


def test_a_notebook_is_looked_at(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr(io.StringIO())

    def running(**config: Any) -> SimpleNamespace:
        return SimpleNamespace(get_ipython=lambda: SimpleNamespace(config=config))

    monkeypatch.setitem(sys.modules, "IPython", running())
    assert not watched(), "IPython in a pipe"
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not watched(), "imported, and not running"
    monkeypatch.setitem(sys.modules, "IPython", running(IPKernelApp={}))
    assert watched()


def test_a_function_is_called_and_false_is_nothing(stderr: Stderr) -> None:
    terminal = stderr(Terminal())
    calls: list[tuple[int, int, str]] = []
    with shown(lambda *call: calls.append(call)) as told:
        assert told is not None
        told(1, 2, "predict")
    with shown(False) as told:
        assert told is None
    assert (calls, terminal.getvalue()) == ([(1, 2, "predict")], "")


def test_anything_else_is_refused() -> None:
    with (
        pytest.raises(OptionError, match="progress is 'yes', expected True, False or a function"),
        shown("yes"),
    ):  # type: ignore[arg-type]
        pass


def test_a_log_gets_a_line_every_half_a_minute_with_what_is_left(stderr: Stderr) -> None:
    log = stderr(io.StringIO())
    now = 0.0
    lines = Lines(clock=lambda: now)
    for done in range(300, 361):  # a second each: a run that goes on
        lines(done, 1200, "epoch 4 of 12, loss 0.25")
        now += 1
    for done in (0, 10):
        now += 31
        lines(done, 20, "vectorize")
    assert log.getvalue().splitlines() == [
        "epoch 4 of 12, loss 0.25: 28%, about 14 min left",
        "epoch 4 of 12, loss 0.25: 30%, about 14 min left",
        "vectorize: 0%",
        "vectorize: 50%, about 31 s left",
    ]


def test_a_terminal_without_a_size_gets_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = os.openpty()  # of 0 x 0
    with os.fdopen(inner, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with shown(True) as told:
            assert told is not None
            told(1, 4, "predict")
        stream.flush()
        os.set_blocking(outer, False)
        seen = b""
        with suppress(BlockingIOError):
            while piece := os.read(outer, 65536):  # a terminal hands on what it has in pieces
                seen += piece
        assert "predict:  25%" in seen.decode()
    os.close(outer)
