"""Modules that are stood in for: answered by what they were given, and otherwise the real ones."""

from __future__ import annotations

import importlib
import sys

import pytest

from geoseg.storage.stand_in import StandIn, standing_in

NAME = "wave"  # of the standard library, and of no use to anybody here


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)


def test_it_answers_what_it_was_given_and_loads_the_module_for_the_rest() -> None:
    module = StandIn(NAME)
    module.__version__ = "1.2"  # type: ignore[attr-defined]
    with standing_in(module):
        found = importlib.import_module(NAME)
        assert found is module
        assert found.__version__ == "1.2"
        assert not hasattr(found, "__file__"), "nothing was loaded"
        assert found.Wave_read.__module__ == NAME
        assert sys.modules[NAME] is not module, "the real one took its place"
    assert sys.modules[NAME].__file__


def test_it_goes_when_the_import_is_over() -> None:
    with pytest.raises(ZeroDivisionError), standing_in(StandIn(NAME)):
        raise ZeroDivisionError
    assert NAME not in sys.modules


def test_a_module_that_is_loaded_stays() -> None:
    real = importlib.import_module(NAME)
    with standing_in(StandIn(NAME)):
        assert importlib.import_module(NAME) is real
    assert sys.modules[NAME] is real
