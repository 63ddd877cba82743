"""A bar for a person who looks on, a line now and then for a log file, nothing with -q."""

from __future__ import annotations

import io
import sys

import click
import pytest
from geoseg_cli.messages import progress, say
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
    say("done")


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *arguments: str) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    work.main(list(arguments), standalone_mode=False)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_at_once_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal())
    assert "predict:  25%" in text
    assert text.endswith("\rdone\n")


def test_a_log_file_gets_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == "done\n"


def test_quiet_is_quiet_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), "-q") == ""
