"""Labels as rasters of codes."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, LegendError, Message, OptionError, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.labels.alignment import Alignment
from geoseg.labels.contradiction import Names, refuse_contradiction
from geoseg.labels.label import UNKNOWN, Codes, FoundClass, Meanings, finished, on_image, one_hot, translated
from geoseg.raster.attribute_table import KnownClasses
from geoseg.raster.cache import limited_cache
from geoseg.raster.known_classes import known_classes
from geoseg.raster.scene import Scene
from geoseg.storage.printable import listed

_log = logging.getLogger("geoseg")

_MOST: Final = NODATA
"""Most classes of a class map; a raster with more distinct values is not one of codes."""


_STRANGE: Final = -1
_TABLE: Final = 4096
"""Longest lookup table of label values that is made for a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedLabels:
    """A raster of codes on any grid; see `Labels`.

    Pixels outside the raster, no-data pixels and masked pixels are unlabelled, even if the no-data value is also the
    label value of a class.

    Parameters
    ----------
    aligned : Alignment
        One band of codes; for layered labels, one source per class, with 0, 1, and 255 for unknown.
    meanings : Meanings
        Meaning of the label values.
    layered : bool
        Whether `read` returns one layer per class.
    names : mapping of int to str
        Names that the raster itself gives its label values.
    """

    aligned: Alignment
    meanings: Meanings
    layered: bool = False
    names: Names = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        grid: Grid,
        meanings: Meanings,
        *,
        layered: bool = False,
        band: int = 1,
    ) -> CodedLabels:
        """Open a raster of codes for an image on `grid`.

        Parameters
        ----------
        path : path-like
            Raster file.
        grid : Grid
            Grid of the image.
        meanings : Meanings
            Meaning of the label values, which are whole numbers, even if the raster stores floats.
        layered : bool
            Whether to return one layer per class: the bands of 0 and 1 of a raster that has one per class in the
            order of the codes, or one layer for each code of `band`.
        band : int
            Number from 1 of the band of codes.

        Raises
        ------
        DataError
            If it is not a raster of codes, does not overlap the image, or says itself that its codes mean other
            classes.
        """
        scene = _open(path)
        count = len(scene.file.dtypes)
        if layered and len(meanings.codes) in (scene.count, count) and scene.count > 1:
            names = _in_order(_known(scene, 1).names, meanings.codes)
            by_band = replace(meanings, code_of={code: code for code in meanings.codes})
            refuse_contradiction(path, names, by_band)
            return cls(
                aligned=Alignment.of(_layers(scene, meanings), grid),
                meanings=meanings,
                layered=True,
                names=names,
            )
        if layered and scene.count > 1 and band == 1:
            raise DataError(
                f"{path}: has {plural(scene.count, 'band')}, expected one band of label codes, or "
                f"{len(meanings.codes)}, "
                "one for each class"
            )
        if not _numbers(meanings):
            raise DataError(
                f"{path}: no label value is a whole number ({meanings.words}), expected label codes"
            )
        aligned = Alignment.of((_band(scene, band),), grid)
        names = _known(scene, band).names
        refuse_contradiction(path, names, meanings)
        nodata = scene.file.nodata[band - 1]
        if nodata is not None and meanings.code(nodata) not in (None, UNKNOWN, meanings.unlabelled):
            _log.warning(
                "%s: %g is its no-data value and also the label of a class; pixels that hold it are unlabelled",
                path,
                nodata,
            )
        return cls(aligned=aligned, meanings=meanings, layered=layered, names=names)

    @property
    def path(self) -> str:
        """Name as given by the user."""
        return self.aligned.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        pixels, known = self.aligned.read(window)
        if window.within(self.aligned.grid.shape) == window:
            inside: npt.NDArray[np.bool_] = np.True_  # type: ignore[assignment]  # all of it, at no cost
        else:
            inside = on_image(window, self.aligned.grid.shape)
        if self.layered and len(pixels) > 1:
            layers = self._checked(pixels, known & inside)
            layers[~known] = self.meanings.unlabelled
            layers[:, ~inside] = UNKNOWN
            return layers
        codes = self._codes(pixels[0], known[0] & inside)
        read = one_hot(codes, self.meanings.codes) if self.layered else codes
        return finished(read, known[0], inside, self.meanings)

    def _codes(self, values: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> Codes:
        """Convert label values to legend codes (row, col); the codes of unknown pixels are arbitrary."""
        numbers = _numbers(self.meanings)
        stored = np.array(sorted(numbers))
        table = np.array([numbers[value] for value in sorted(numbers)], dtype=np.int16)

        def look_up(asked: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
            at = np.searchsorted(stored, asked).clip(max=len(stored) - 1)
            return np.where(stored[at] == asked, table[at], np.int16(_STRANGE))

        if values.dtype == np.uint8:
            every = look_up(np.arange(256))
            # An unused code marks values without a meaning.
            spare = next((byte for byte in range(UNKNOWN) if byte not in every), None)
            if spare is not None:
                read = translated(values, np.where(every == _STRANGE, spare, every))
                self._tell(read == spare, values, known, stored)
                return read
        low, high = values.min(), values.max()
        if values.dtype.kind in "iu" and int(high) - int(low) < _TABLE and int(high) < 2**62:
            # In a short range of integers each value is looked up once, which takes a tenth of the time.
            every = look_up(np.arange(int(low), int(high) + 1))
            codes = every.take(values.astype(np.intp) - int(low))
        else:
            codes = look_up(values)
        self._tell(codes == _STRANGE, values, known, stored)
        return codes.astype(np.uint8)

    def _tell(
        self,
        strange: npt.NDArray[np.bool_],
        values: npt.NDArray[Any],
        known: npt.NDArray[np.bool_],
        stored: npt.NDArray[np.int64],
    ) -> None:
        """Raise DataError if valid pixels have values without a meaning."""
        if strange.any() and (strange & known).any():
            raise DataError(
                f"{self.path}: holds label codes {listed(np.unique(values[strange & known]))}, expected "
                f"{listed(stored)}",
                self.meanings.remedy,
            )

    def _checked(self, layers: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> Codes:
        """Convert layers to uint8, after checking that known pixels have only 0, 1 and 255."""
        strange = known & (layers != 0) & (layers != 1) & (layers != UNKNOWN)
        if strange.any():
            raise DataError(
                f"{self.path}: its bands hold {listed(np.unique(layers[strange]))}, expected 1 where the class of the "
                "band is present, 0 where it is absent and 255 where it is unknown"
            )
        return np.where(known, layers, 0).astype(np.uint8)


def found_classes(path: str | os.PathLike[str], *, band: int = 1) -> tuple[FoundClass, ...]:
    """Return the classes of a raster of codes: those that occur and those that `known_classes` names.

    Codes are ascending; the raster is read in strips.

    Parameters
    ----------
    path : path-like
        Raster file.
    band : int
        Number from 1 of the band of codes.

    Raises
    ------
    DataError
        If it cannot be read, or is not a raster of codes.
    """
    scene = _band(_open(path), band)
    known = _known(scene, band)
    present: set[int] = set()
    for values in _values(scene):
        present.update(int(value) for value in values)
        wrong = values[values != np.floor(values)]
        if wrong.size:
            raise DataError(f"{path}: holds {wrong[0]:g}, expected whole numbers; is it a raster of codes?")
        if len(present) > _MOST:
            raise DataError(
                f"{path}: holds more than {_MOST} different numbers, expected label codes; is it an image?"
            )
    names = {code: known.names.get(code, f"class {code}") for code in sorted(present | known.names.keys())}
    often = Counter(names.values())  # attribute tables may give several codes the same name
    return tuple(
        FoundClass(
            value=code,
            name=name if often[name] == 1 else f"{name} ({code})",
            color=known.colors.get(code),
            held=code in present,
        )
        for code, name in names.items()
    )


def _known(scene: Scene, band: int) -> KnownClasses:
    """Return the names and colours that a raster itself gives the codes of a band."""
    try:
        return known_classes(scene.file, band)
    except LegendError as error:
        raise error.into(DataError, scene.path) from error


def _in_order(names: Names, codes: Sequence[int]) -> Names:
    """Return the names of the bands of a raster with a band for each class, by the codes that these are taken for."""
    if len(names) != len(codes):
        return {}
    return {code: names[own] for code, own in zip(codes, sorted(names), strict=True)}


def _values(scene: Scene) -> Iterator[npt.NDArray[Any]]:
    """Yield the distinct valid values of one strip after the other."""
    height, width = scene.grid.shape
    block = scene.block_shape[0]
    step = min(height, max(block, 512 // block * block))
    with limited_cache():
        for row in range(0, height, step):
            try:
                chip = scene.read(Window(row=row, col=0, height=min(step, height - row), width=width))
            except SceneError as error:
                raise error.into(DataError) from error
            yield np.unique(chip.pixels[0][chip.valid])


def _open(path: str | os.PathLike[str]) -> Scene:
    try:
        return Scene.open(path, palette_as_codes=True, allow_remote=None)
    except SceneError as error:
        raise error.into(DataError) from error


def _band(scene: Scene, band: int) -> Scene:
    """Choose one band of codes, with alpha as its validity."""
    if band == 1 and scene.count == 3 and scene.dtype == np.uint8:
        raise DataError(
            f"{scene.path}: has 3 bands of bytes like a picture, expected one band of label codes; colour-coded labels "
            "have the form colors (data.labels.form)"
        )
    validity = scene.validity_band if scene.validity_band != band else None
    try:
        return scene.select([band], validity_band=validity)
    except OptionError as error:
        raise DataError(
            error.message, Message("say which band holds the codes ({band}, data.labels.band)")
        ) from error


def _layers(scene: Scene, meanings: Meanings) -> tuple[Scene, ...]:
    """Return one source per class, so that no data in one does not affect the others.

    If there are as many bands as classes, a band tagged alpha is a class, too.
    """
    every = len(scene.file.dtypes) == len(meanings.codes)
    bands = range(1, len(scene.file.dtypes) + 1) if every else scene.bands
    validity = None if every else scene.validity_band
    return tuple(scene.select([band], validity_band=validity) for band in bands)


def _numbers(meanings: Meanings) -> dict[int, int]:
    """Return the legend code of each label value that is a whole number."""
    return {
        int(value): code
        for value, code in meanings.code_of.items()
        if isinstance(value, int) or value.lstrip("-").isdecimal()
    }
