"""Estimates from a stratified sample, with their standard errors.

One estimator serves all designs. Every quantity is a ratio of two totals, estimated as Stehman does (2014,
"Estimating area and map accuracy for stratified random sampling when the strata are different from the map classes",
International Journal of Remote Sensing 35(13), equations 2, 3 and 25 to 28)::

    R = Y / X,    V(R) = 1 / X² Σ_h W_h² (1 - n_h / N_h) s²_h(y - R x) / n_h

where W_h is the share of a stratum in the area, n_h its points and N_h its pixels. Where strata are the map's classes
this is algebraically the estimator of Olofsson et al. (2013, 2014), whose formulas leave out the correction for finite
populations, 1 - n_h / N_h.

Pixels of one grid may cover different areas. A pixel then counts with its area divided by the mean of the sampled
pixels in its stratum: a ratio within the stratum, whose total is the stratum's known area. Where all pixels are equal,
this is the estimator above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Z = 1.96
"""Standard errors on either side of an estimate in a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """Values with their standard errors; NaN where nothing can be said.

    Parameters
    ----------
    value : ndarray of float64
        Estimates.
    se : ndarray of float64
        Standard errors, of the same shape.
    """

    value: Floats
    se: Floats

    @property
    def low(self) -> Floats:
        """Lower end of the 95 % interval; it is not clipped, so it may lie below 0."""
        return self.value - Z * self.se

    @property
    def high(self) -> Floats:
        """Upper end of the 95 % interval; it is not clipped, so it may lie above 1."""
        return self.value + Z * self.se


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledSample:
    """A sample with its labels.

    Parameters
    ----------
    share : (stratum,) float64
        Share of each stratum in the total area, W_h.
    pixels : (stratum,) float64
        Pixels of each stratum, N_h; infinite to leave out the correction for finite populations.
    stratum : (point,) int64
        Index of each point's stratum.
    mapped, reference : (point,) int64
        Index of the class that the map has at each point, and of the class on the ground.
    area : (point,) float64
        Ground area of each point's pixel, in any unit, above 0.
    classes : int
        Number of classes.
    """

    share: Floats
    pixels: Floats
    stratum: Ints
    mapped: Ints
    reference: Ints
    area: Floats
    classes: int

    @property
    def points(self) -> Ints:
        """Points of each stratum, n_h."""
        return np.bincount(self.stratum, minlength=len(self.share))

    def ratio(self, above: Floats, below: Floats) -> Estimate:
        """Estimate the ratio of two totals.

        Parameters
        ----------
        above, below : (point, quantity) float64
            Value of each point in either total.

        Returns
        -------
        Estimate
            Of each quantity; NaN where the lower total is 0.
        """
        n = self.points.astype(np.float64)[:, np.newaxis]
        heavy, share = self._heavy[:, np.newaxis], self.share[:, np.newaxis]
        total = (share * self._sums(heavy * below) / n).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (share * self._sums(heavy * above) / n).sum(axis=0) / total
            off = above - value * below
            off = heavy * (off - (self._sums(heavy * off) / n)[self.stratum])
            spread = self._sums(off**2) / (n - 1)
            whole = n >= self.pixels[:, np.newaxis]
            each = share**2 * (1 - n / self.pixels[:, np.newaxis]) * spread / n
            variance = np.where(whole, 0.0, each).sum(axis=0) / total**2
        variance[np.isnan(value)] = np.nan
        return Estimate(value=value, se=np.sqrt(variance))

    def overall(self) -> Estimate:
        """Estimate the overall accuracy, the share of the area whose class is right: one value."""
        return self.ratio((self.mapped == self.reference)[:, np.newaxis].astype(float), self._ones(1))

    def users(self) -> Estimate:
        """Estimate the user's accuracy of each class: the share of its area on the map that is right."""
        return self.ratio(self._both(), self._of(self.mapped))

    def producers(self) -> Estimate:
        """Estimate the producer's accuracy of each class: the share of its area on the ground that the map has."""
        return self.ratio(self._both(), self._of(self.reference))

    def areas(self) -> Estimate:
        """Estimate the share of each class in the area on the ground."""
        return self.ratio(self._of(self.reference), self._ones(self.classes))

    def matrix(self) -> Floats:
        """Estimate the error matrix: shares of the area by (map, reference)."""
        weight = self._heavy * (self.share / self.points)[self.stratum]
        cell = self.mapped * self.classes + self.reference
        shares = np.bincount(cell, weight, self.classes**2).astype(np.float64)
        return shares.reshape(self.classes, self.classes)

    def counts(self) -> Ints:
        """Count the points by (map, reference)."""
        cell = self.mapped * self.classes + self.reference
        return np.bincount(cell, minlength=self.classes**2).reshape(self.classes, self.classes)

    @property
    def _heavy(self) -> Floats:
        """Area of each point's pixel, as a multiple of the mean in its stratum's points."""
        mean = np.bincount(self.stratum, self.area, len(self.share)) / self.points
        return self.area / mean[self.stratum]

    def _of(self, index: Ints) -> Floats:
        return np.eye(self.classes)[index]

    def _both(self) -> Floats:
        return self._of(self.mapped) * self._of(self.reference)

    def _ones(self, quantities: int) -> Floats:
        return np.ones((len(self.stratum), quantities))

    def _sums(self, values: Floats) -> Floats:
        """Sum values over the points of each stratum, (stratum, quantity)."""
        sums = np.zeros((len(self.share), values.shape[1]))
        np.add.at(sums, self.stratum, values)
        return sums
