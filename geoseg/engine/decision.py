"""Decide the class code and confidence of each pixel from its stitched probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from geoseg.grid.legend import NODATA, THRESHOLD, Task
from geoseg.raster.band_encoding import CONFIDENCE_STEPS, Storage

_STRIP = 2**18
"""Pixels that the CPU decides at once, so that intermediate arrays stay in its cache."""


class Decision:
    """Class codes and confidence from stitched probabilities.

    Multiclass: the code of the most probable channel, and its probability. Binary: 1 where the probability is
    above the threshold, else 0. Multilabel: the same for every class, a layer each, in ascending order of
    their codes. Where 0 is written, the confidence is 1 - p.

    Parameters
    ----------
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
        One a channel, for binary and multilabel; `THRESHOLD` by default.
    device : torch.device
        Device of the probabilities.
    """

    def __init__(
        self, task: Task, channels: Sequence[int], thresholds: Sequence[float] | None, device: torch.device
    ) -> None:
        self._task = task
        self._codes = torch.tensor(list(channels), dtype=torch.uint8, device=device)
        above = [THRESHOLD] * len(channels) if thresholds is None else list(thresholds)
        self._thresholds = torch.tensor(above, dtype=torch.float32, device=device).view(-1, 1, 1)
        order = sorted(range(len(channels)), key=lambda i: channels[i])
        self._order = None if order == list(range(len(channels))) else torch.tensor(order, device=device)

    def __call__(self, probabilities: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decide every pixel without waiting for the device.

        Parameters
        ----------
        probabilities : Tensor of float32, shape (channel, row, col)
            Stitched probabilities in the network's channel order.
        valid : Tensor of bool, shape (row, col)
            Pixels that get a code.

        Returns
        -------
        codes, confidence : Tensor of uint8
            Confidence * 254; 255 where not valid. (row, col), of a multilabel task (layer, row, col).
        has_nan : Tensor of bool, no axes
            Whether the probability of a valid pixel is NaN; codes and confidence are meaningless then.
        """
        codes, confidence, has_nan = zip(
            *(self._strip(each, known) for each, known in _strips(probabilities, valid)), strict=True
        )
        return _joined(codes), _joined(confidence), torch.stack(has_nan).any()

    def stored(self, probabilities: Tensor, valid: Tensor, storage: Storage) -> Tensor:
        """Return probabilities as files hold them: one layer per class of the legend, in ascending order of
        codes.

        Parameters
        ----------
        probabilities : Tensor of float32, shape (channel, row, col)
            Stitched probabilities in the network's channel order.
        valid : Tensor of bool, shape (row, col)
            Pixels that get probabilities; the others become no data.
        storage : str
            Data type of the files: ``uint8``, ``float16`` or ``float32``.

        Returns
        -------
        Tensor of uint8, float16 or float32, shape (class, row, col)
            For a binary task 1 - p and p, of the codes 0 and 1.
        """
        return _joined([self._stored(each, known, storage) for each, known in _strips(probabilities, valid)])

    def codes(self, probabilities: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Decide every pixel of several images of one shape, without waiting for the device.

        Parameters
        ----------
        probabilities : Tensor of float32, shape (image, channel, row, col)
            Probabilities in the network's channel order.
        valid : Tensor of bool, shape (image, row, col)
            Pixels that get a code.

        Returns
        -------
        codes : Tensor of uint8, shape (image, row, col), or (image, layer, row, col) for a multilabel task
            As returned by calling the object.
        has_nan : Tensor of bool, shape (image,)
            Whether the probability of a valid pixel is not a number.
        """
        codes, _, has_nan = self._decided(probabilities)
        has_nan = (valid & has_nan).flatten(1).any(dim=1)
        if self._task == "multilabel":
            valid = valid.unsqueeze(1)
        return torch.where(valid, codes, NODATA).to(torch.uint8), has_nan

    def _strip(self, probabilities: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decide some of the rows, as `__call__` does."""
        codes, share, has_nan = self._decided(probabilities)
        codes = torch.where(valid, codes, NODATA)
        return codes.to(torch.uint8), _steps(share, valid), (valid & has_nan).any()

    def _stored(self, probabilities: Tensor, valid: Tensor, storage: Storage) -> Tensor:
        """Return some of the rows, as `stored` does."""
        if self._task == "binary":
            probabilities = torch.cat([1 - probabilities, probabilities])
        elif self._order is not None:
            probabilities = probabilities.index_select(0, self._order)
        if storage == "uint8":
            return _steps(probabilities, valid)
        return torch.where(valid, probabilities.half() if storage == "float16" else probabilities, torch.nan)

    def _decided(self, probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return codes, their probabilities and where these are NaN, for probabilities (..., channel, row, col)."""
        if self._task == "multiclass":
            share, channel = probabilities.max(dim=-3)
            return self._codes[channel], share, share.isnan()
        present = probabilities > self._thresholds
        share = torch.where(present, probabilities, 1 - probabilities)
        codes = present.to(torch.uint8)
        has_nan = probabilities.isnan().any(dim=-3)
        if self._task == "binary":
            return codes.squeeze(-3), share.squeeze(-3), has_nan
        if self._order is not None:
            return codes.index_select(-3, self._order), share.index_select(-3, self._order), has_nan
        return codes, share, has_nan


def _steps(share: Tensor, valid: Tensor) -> Tensor:
    """Return probabilities in steps of 1/254 as uint8, 255 where not valid."""
    return torch.where(valid, (share * CONFIDENCE_STEPS).round_().clamp_(0, CONFIDENCE_STEPS), NODATA).to(
        torch.uint8
    )


def _strips(probabilities: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Split both tensors into strips of rows that are decided together; on GPUs there is one strip."""
    rows, cols = valid.shape
    together = max(_STRIP // max(cols, 1), 1) if valid.device.type == "cpu" else max(rows, 1)
    return zip(torch.split(probabilities, together, dim=-2), torch.split(valid, together), strict=True)


def _joined(strips: Sequence[Tensor]) -> Tensor:
    """Concatenate strips of rows."""
    return strips[0] if len(strips) == 1 else torch.cat(list(strips), dim=-2)
