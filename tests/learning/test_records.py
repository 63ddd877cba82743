"""How far a training is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest

from geoseg.learning.records import Bar, Extent, Lines, shown

EXTENT = Extent(epochs=12, steps=100)


def test_lines_come_every_half_a_minute_and_say_epoch_and_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "geoseg")
    now = 0.0
    lines = Lines(EXTENT, 300, clock=lambda: now)
    for step in range(301, 361):  # a second each
        now += 1
        lines.step(step, {"loss": "0.25"})
    lines.scoring(4, 1, 3)
    now += 40
    lines.scoring(4, 2, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 4 of 12, step 330 of 1200: loss 0.25, about 14 min left",
        "epoch 4 of 12, step 360 of 1200: loss 0.25, about 14 min left",
        "epoch 4 of 12: 2 of 3 images scored",
    ]


def test_where_there_is_no_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(shown(EXTENT, 0), Lines)


def test_a_terminal_without_a_size_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = os.openpty()  # of 0 x 0
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        bar = shown(EXTENT, 0)
        assert isinstance(bar, Bar)
        bar.step(330, {"loss": "0.25"})
        bar.scoring(4, 1, 3)
        bar.close()
        terminal.flush()
        drawn = os.read(outer, 65536).decode()
    os.close(outer)
    assert "epoch 4 of 12, scoring 1/3:  28%" in drawn
    assert "330/1200" in drawn
