"""Show how far long work is: a bar in a terminal or notebook, lines in a log, or a function of the caller's."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, TypeAlias

from geoseg.errors import OptionError
from geoseg.storage.printable import printable

OnProgress: TypeAlias = Callable[[int, int, str], object]
"""Called with (done, total, what) while work goes on."""

ShowProgress: TypeAlias = bool | OnProgress | None
"""The keyword ``progress``: False shows nothing, True always shows something, a function is called with (done, total,
what); None, the default, draws a bar where a person looks on, in a terminal or a notebook, once the work takes long."""

_PATIENCE: Final = 2.0
"""Seconds that work goes on before a bar is drawn for it that nobody has asked for."""
_EVERY: Final = 30.0
"""Seconds between two lines, where no bar is drawn."""
_LAYOUT: Final = "{l_bar}{bar}| {elapsed}<{remaining}"
"""No rate: a resumed run starts far along, and rows are not what a person counts in."""

Clock: TypeAlias = Callable[[], float]


@contextmanager
def shown(progress: ShowProgress = None) -> Iterator[OnProgress | None]:
    """Yield the function to call as work proceeds, or None if no progress is shown; remove the bar at the end.

    Parameters
    ----------
    progress : bool or callable, optional
        The keyword of the public functions, as `ShowProgress` has it.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise OptionError(
            f"progress is {progress!r}, expected True, False or a function that takes (done, total, what)"
        )
    if callable(progress):
        yield progress
    elif progress is False or (progress is None and not watched()):
        yield None
    elif not watched():
        yield Lines()
    else:
        with closing(Bar(patience=0.0 if progress else _PATIENCE)) as bar:
            yield bar


class Steps:
    """Count the steps of work whose steps are few, and tell of each one that is done.

    Parameters
    ----------
    told : callable or None
        What `shown` yields.
    total : int
        Number of steps.
    what : str
        Name of the work.
    """

    def __init__(self, told: OnProgress | None, total: int, what: str) -> None:
        self._told, self._total, self._what, self._done = told, total, what, 0

    def __call__(self) -> None:
        """Tell that the next step is done."""
        self._done += 1
        if self._told is not None:
            self._told(self._done, self._total, self._what)


def watched() -> bool:
    """Return whether somebody is watching: stderr is a terminal, or Python runs in a notebook."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    ipython = sys.modules.get("IPython")  # not loaded: this is no notebook
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class Bar:
    """A bar on stderr, which a notebook shows under the cell.

    Parameters
    ----------
    patience : float
        Seconds of work before it is drawn.
    clock : callable
        Seconds.
    """

    def __init__(self, *, patience: float = 0.0, clock: Clock = time.monotonic) -> None:
        self._patience, self._clock, self._begun = patience, clock, clock()
        self._bar: Any = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Draw the progress; another total, or less done than before, means that other work has begun."""
        if self._bar is None:
            if self._clock() - self._begun < self._patience:
                return
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, file=sys.stderr, leave=False, bar_format=_LAYOUT, **_size()
            )
        if total != self._bar.total or done < self._bar.n:
            self._bar.reset(total=total)
            self._bar.initial = done
        self._bar.set_description(printable(what), refresh=False)
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _size() -> dict[str, Any]:
    """Return the size of a bar: as wide as the terminal, or 80 columns if the terminal reports no width."""
    with suppress(OSError, ValueError, AttributeError):
        if os.get_terminal_size(sys.stderr.fileno()).columns == 0:
            return {"ncols": 80, "nrows": 24}
    return {"dynamic_ncols": True}


class Lines:
    """A line on stderr every 30 s, for log files and simple terminals.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._said = clock, clock()
        self._stage: tuple[int, int, float] | None = None  # total, first done, when

    def __call__(self, done: int, total: int, what: str) -> None:
        """Write the progress, and the remaining time at this speed."""
        now = self._clock()
        if self._stage is None or self._stage[0] != total or done < self._stage[1]:
            self._stage = total, done, now
        if now - self._said < _EVERY:
            return
        self._said = now
        _, first, began = self._stage
        left = ""
        if done > first:
            left = f", about {_minutes((now - began) / (done - first) * (total - done))} left"
        if sys.stderr is not None:
            sys.stderr.write(printable(f"{what}: {done / max(total, 1):.0%}{left}\n"))
            sys.stderr.flush()


def _minutes(seconds: float) -> str:
    """Format a remaining time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
