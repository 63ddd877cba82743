"""Check images and labels by reading each of them once, before training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.datasets.block_split import Counts, Lattice
from geoseg.datasets.dataset import Pair
from geoseg.datasets.undeclared import undeclared_in
from geoseg.engine.resized import ResizedSource
from geoseg.errors import DataError, GeosegError, Message, SceneError, Text, plural
from geoseg.grid.window import Window
from geoseg.labels.label import Codes
from geoseg.raster.chip import Chip
from geoseg.raster.look import partly_notes
from geoseg.raster.sample import share_words
from geoseg.raster.undeclared import Watch
from geoseg.storage.printable import listed

_ROWS, _COLS = 512, 2048  # px of a window: a few MB of most images, whole rows of most pictures
_MOST_THREADS: Final = 4
_NAMED: Final = 3

Kind = Literal["image", "labels", "missing", "scale", "empty", "unlabelled", "nodata", "mask"]
"""What is wrong with an image, for programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A reason why an image cannot be used.

    Parameters
    ----------
    key : str
        Key of the image.
    path : str
        The faulty file.
    what : str
        Description of the problem.
    amount : str
        How much of the image is affected, if known; problems that differ only in this are reported together.
    kind : str
        ``image`` or ``labels`` that cannot be opened or read, ``missing`` labels, unlike tags of ``scale``, an
        ``empty`` image, an ``unlabelled`` one, ``nodata`` that is not declared, ``mask`` of several images.
    shared_by : tuple of str
        Keys of the images that have the same mask.
    """

    key: str
    path: str
    what: Text
    amount: str = ""
    kind: Kind = "image"
    shared_by: tuple[str, ...] = ()

    @property
    def line(self) -> Message:
        """The file and what is wrong with it."""
        return Message("{}: {}", self.where, self.what)

    @property
    def where(self) -> str:
        """The file, and how much of it is affected."""
        return f"{self.path}, {self.amount}" if self.amount else self.path

    @classmethod
    def of(cls, key: str, path: str, error: GeosegError, kind: Kind = "image") -> Problem:
        """Create the problem of an error, whose message already names the file."""
        return cls(key=key, path=path, what=error.message.without_start(path), kind=kind)


class Watcher(Protocol):
    """Is shown the pixels of one image as they are inspected, by one thread."""

    def add(self, window: Window, chip: Chip, codes: Codes) -> None:
        """Look at the next window: pixels, and labels as `Labels.read` returns them; windows come row by row."""

    def close(self) -> None:
        """Finish, after the last window or an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Results of `inspect`.

    Parameters
    ----------
    problems : tuple of Problem
        Problems in the order of the pairs.
    counts : mapping of str to ndarray of int64
        Valid labelled pixels (block row, block col, class) by key, of the images with a lattice.
    partly : tuple of str
        Notes for the user on no data in some bands only, one line each.
    doubts : tuple of Problem
        What may be wrong with images that can be used.
    """

    problems: tuple[Problem, ...]
    counts: Mapping[str, Counts]
    partly: tuple[Text, ...] = ()
    doubts: tuple[Problem, ...] = ()

    @property
    def notes(self) -> tuple[Text, ...]:
        """Notes for the user, one line each."""
        return (*self.partly, *_doubts(self.doubts))


def inspect(
    pairs: Sequence[Pair],
    lattices: Mapping[str, Lattice],
    groups: Mapping[str, str] | None = None,
    watchers: Mapping[str, Watcher] | None = None,
) -> Findings:
    """Read every pixel and label of some images once, window by window, several images in parallel.

    Statistics need another pass, since images may be excluded because of the findings.

    It finds: files that cannot be read completely; labels with unknown values; images without a
    valid pixel, with a single value, or without labels; undeclared no-data values; and one mask
    used for several images, if it has two or more values and the images do not show the same ground (one grid,
    or, for images without georeference, one group).

    Parameters
    ----------
    pairs : sequence of Pair
        Images and labels with different names, without areas.
    lattices : mapping of str to Lattice
        Blocks in which labels are counted, by image name.
    groups : mapping of str to str, optional
        Group that the user assigned to an image, by image name.
    watchers : mapping of str to Watcher, optional
        Who else looks at the pixels of an image, by image name.
    """
    watching = watchers or {}
    threads = min(_MOST_THREADS, os.cpu_count() or 1, max(1, len(pairs)))
    with ThreadPoolExecutor(threads, thread_name_prefix="inspect") as pool:
        looks = list(
            pool.map(lambda pair: _look(pair, lattices.get(pair.name), watching.get(pair.name)), pairs)
        )
    problems = {
        pair.name: look.problem for pair, look in zip(pairs, looks, strict=True) if look.problem is not None
    }
    for problem in _repeated(pairs, looks, groups or {}):
        problems.setdefault(problem.key, problem)
    return Findings(
        problems=tuple(problems[pair.name] for pair in pairs if pair.name in problems),
        counts={
            pair.name: look.counts for pair, look in zip(pairs, looks, strict=True) if look.counts is not None
        },
        partly=tuple(_partly(pairs, looks)),
        doubts=tuple(look.doubt for look in looks if look.doubt is not None),
    )


def _doubts(doubts: Sequence[Problem]) -> Iterator[Text]:
    """Yield warnings about images that stay in the data set."""
    files_of: dict[Text, list[str]] = {}
    for doubt in doubts:
        files_of.setdefault(doubt.what, []).append(doubt.where)
    for what, files in files_of.items():
        yield Message("{}: {}", _and_others(files), what)


def _partly(pairs: Sequence[Pair], looks: Sequence[_Look]) -> list[Text]:
    """Return notes on how many pixels the rules of no data differ."""
    found = [
        (pair, look.watch)
        for pair, look in zip(pairs, looks, strict=True)
        if look.watch and look.watch.partly
    ]
    if not found:
        return []
    partly, pixels = (sum(getattr(watch, name) for _, watch in found) for name in ("partly", "pixels"))
    images = plural(len(found), "image")
    amount = f"{partly:,} px ({share_words(partly / pixels)} of {images})"
    return partly_notes(found[0][0].image.no_data, amount)


def refusal(
    problems: Sequence[Problem], images: int, *, skip_bad: bool = False
) -> tuple[Message, Message | None]:
    """Return how many images cannot be used and why, and what to do where that is not said with each.

    Parameters
    ----------
    problems : sequence of Problem
        The problems.
    images : int
        Number of images.
    skip_bad : bool
        Whether bad images were already skipped.
    """
    files_of: dict[Text, list[str]] = {}
    for problem in problems:
        files_of.setdefault(problem.what, []).append(problem.where)
    reasons = [
        Message("{}: {}", _and_others(list(dict.fromkeys(files))), what) for what, files in files_of.items()
    ]
    if len(reasons) > 1:
        reasons = [Message("({}) {}", number, each) for number, each in enumerate(reasons[:_NAMED], start=1)]
    if len(files_of) > _NAMED:
        reasons.append(Message("and {} of problems", plural(len(files_of) - _NAMED, "more kind")))
    them, remedy = "it" if len(problems) == 1 else "them", None
    if len(problems) < images and not skip_bad:
        remedies = "correct {}, name {} in data.exclude, or go on without {} with {skip_bad}"
        remedy = Message(remedies, them, them, them, skip_bad=True)
    elif not all(";" in str(what) for what in files_of):  # else each has its own
        remedy = Message("correct {}", them)
    count = plural(images, "image")
    return Message("{} of {} cannot be used: {}", len(problems), count, Message.joined("; ", reasons)), remedy


def _and_others(files: Sequence[str]) -> str:
    """Name the first of some files and count the others."""
    more = len(files) - 1
    return f"{files[0]} (and {more} {'other' if more == 1 else 'others'})" if more else files[0]


@dataclass(slots=True)
class _Look:
    """Findings about one image."""

    problem: Problem | None = None
    digest: str | None = None
    counts: Counts | None = None
    low: npt.NDArray[Any] | None = None
    high: npt.NDArray[Any] | None = None
    labelled: int = 0
    valid: int = 0
    watch: Watch | None = None
    doubt: Problem | None = None
    codes: set[int] = field(default_factory=set)

    @property
    def constant(self) -> bool:
        return self.low is not None and self.high is not None and bool((self.low == self.high).all())


def _look(pair: Pair, lattice: Lattice | None, watcher: Watcher | None) -> _Look:
    look, digest = _Look(watch=Watch(pair.image.no_data)), hashlib.sha256(repr(pair.grid.shape).encode())
    if lattice is not None:
        kinds = pair.channels.count + 1 if pair.labels.layered else pair.channels.kinds
        look.counts = np.zeros((*lattice.blocks, kinds), dtype=np.int64)
    try:
        for window in windows(pair.grid.shape):
            chip, codes = pair.image.read(window), pair.labels.read(window)
            if watcher is not None:
                watcher.add(window, chip, codes)
            digest.update(np.ascontiguousarray(codes).tobytes())
            look.codes.update(np.flatnonzero(np.bincount(codes.ravel(), minlength=256)).tolist())
            mask = pair.channels.mask(codes)
            mask[..., ~chip.valid] = -1
            look.labelled += int((mask >= 0).sum())
            look.valid += int(chip.valid.sum())
            _widen(look, chip.pixels, chip.valid)
            if look.watch is not None and not isinstance(pair.image, ResizedSource):
                look.watch.add(chip.pixels, chip.valid)
            if lattice is not None and look.counts is not None:
                look.counts += _counted(mask, window, lattice, look.counts.shape[2])
    except SceneError as error:
        look.problem = Problem.of(pair.name, pair.image.path, error)
    except DataError as error:
        look.problem = Problem.of(pair.name, pair.labels.path, error, kind="labels")
    else:
        look.digest = digest.hexdigest() if len(look.codes) > 1 else None
        look.problem = _judged(pair, look) or _undeclared(pair, look)
    finally:
        if watcher is not None:
            watcher.close()
    return look


def _undeclared(pair: Pair, look: _Look) -> Problem | None:
    """Find undeclared no-data values, which would spoil the statistics; the user's declarations are respected."""
    assert look.watch is not None
    finding = undeclared_in(pair.image, look.watch)
    if finding is None:
        return None
    problem = Problem(
        key=pair.name, path=pair.image.path, what=finding.what, amount=finding.amount, kind="nodata"
    )
    if finding.sure:
        return problem
    look.doubt = problem
    return None


def _judged(pair: Pair, look: _Look) -> Problem | None:
    if not look.valid:
        return Problem(key=pair.name, path=pair.image.path, what="has no valid pixel", kind="empty")
    if look.constant:
        alike = "is empty: all its valid pixels are alike"
        return Problem(key=pair.name, path=pair.image.path, what=alike, kind="empty")
    if not look.labelled:
        what = f"has no label on a valid pixel of image {pair.name}"
        return Problem(key=pair.name, path=pair.labels.path, what=what, kind="unlabelled")
    return None


def _widen(look: _Look, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> None:
    """Update the value ranges with a window, until two pixels differ."""
    if not valid.any() or (look.low is not None and not look.constant):
        return
    values = pixels[:, valid]
    low, high = values.min(axis=1), values.max(axis=1)
    look.low = low if look.low is None else np.minimum(look.low, low)
    look.high = high if look.high is None else np.maximum(look.high, high)


def _counted(mask: npt.NDArray[np.int64], window: Window, lattice: Lattice, kinds: int) -> Counts:
    """Return the labelled pixels of a window, (block row, block col, class).

    For several layers, the pixels of each class, and last those without any class.
    """
    rows = lattice.block(np.arange(window.row, window.row_stop), 0)
    cols = lattice.block(np.arange(window.col, window.col_stop), 1)
    place = (rows[:, None] * lattice.blocks[1] + cols) * kinds
    if mask.ndim == 2:
        found = [place[mask >= 0] + mask[mask >= 0]]
    else:
        found = [place[layer == 1] + number for number, layer in enumerate(mask)]
        found.append(place[(mask == 0).all(axis=0)] + kinds - 1)
    total = lattice.blocks[0] * lattice.blocks[1] * kinds
    return np.bincount(np.concatenate(found), minlength=total).reshape(*lattice.blocks, kinds)


def _repeated(pairs: Sequence[Pair], looks: Sequence[_Look], groups: Mapping[str, str]) -> Iterator[Problem]:
    """Yield problems of masks that several images share: a picture was labelled with another one's mask."""
    by_digest: dict[str, list[Pair]] = {}
    for pair, look in zip(pairs, looks, strict=True):
        if look.digest is not None:
            by_digest.setdefault(look.digest, []).append(pair)
    for same in by_digest.values():
        if len(same) > 1 and not _one_ground(same, groups):
            for pair in same:
                others = listed(other.name for other in same if other is not pair)
                what = f"gives image {pair.name} the mask that {others} has; at most one of them is right"
                keys = tuple(each.name for each in same)
                yield Problem(key=pair.name, path=pair.labels.path, what=what, kind="mask", shared_by=keys)


def _one_ground(pairs: Sequence[Pair], groups: Mapping[str, str]) -> bool:
    """Return whether images show the same ground (at different times), so that one mask can be right for all."""
    first, *rest = (pair.grid for pair in pairs)
    if first.crs is not None:
        return not any(grid.differs_from(first) for grid in rest)
    found = {groups.get(pair.name) for pair in pairs}
    return len(found) == 1 and None not in found and all(grid.crs is None for grid in rest)


def windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Cut an image into windows that depend only on its shape, so that equal masks are read alike."""
    height, width = shape
    for row in range(0, height, _ROWS):
        for col in range(0, width, _COLS):
            yield Window(row=row, col=col, height=min(_ROWS, height - row), width=min(_COLS, width - col))
