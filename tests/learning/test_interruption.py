"""Signals wait for the end of a step; the second one does not."""

from __future__ import annotations

import signal
import threading

import pytest

from geoseg.learning.process_state import Interruption, listening


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_remembered_and_handlers_come_back(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with listening() as interruption:
        assert interruption.signum is None
        signal.raise_signal(signum)
        assert interruption.signum == signum
    assert signal.getsignal(signum) is before


def test_the_second_signal_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), listening():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_that_others_set_meanwhile_are_set_aside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with listening() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interruption.listen()
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    assert Interruption().signum is None
