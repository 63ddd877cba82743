"""The network on its device: stored pixel values in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.engine.clock import Clock
from geoseg.engine.compiled import compiled
from geoseg.engine.folded import folded
from geoseg.engine.memory import check_memory
from geoseg.engine.settings import Settings
from geoseg.engine.symmetries import averaged
from geoseg.grid.legend import Task

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
"""Data type of the network's arithmetic by precision; for int8, of the values between the integer products."""


class Network:
    """A segmentation network that takes the stored pixel values of a scene.

    Parameters
    ----------
    module : nn.Module
        Maps (n, band, row, col) to logits (n, channel, row, col). It is folded, which takes a moment: to make several
        of one module, fold it before.
    gain, bias : sequence of float
        Per band; network input = stored * gain + bias.
    settings : Settings
        Device, precision, batch size and test-time augmentation.
    temperature : float, or tuple of float
        Divides the logits: one number, or one for each channel.
    task : str
        Multiclass: the channels' probabilities sum to 1 (softmax); binary and multilabel: each stands for
        itself (sigmoid).

    Attributes
    ----------
    clock : Clock
        Measures the stages; off by default.
    """

    def __init__(
        self,
        module: nn.Module,
        gain: Sequence[float],
        bias: Sequence[float],
        settings: Settings,
        temperature: float | tuple[float, ...] = 1.0,
        task: Task = "multiclass",
    ) -> None:
        self.task = task
        self.device = torch.device(settings.device)
        self.settings = settings
        self.clock = Clock()
        self._dtype = DTYPES[settings.precision]
        self._module = folded(module).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile:
            self._module = compiled(self._module)
        self._gain = torch.tensor(gain, dtype=torch.float32, device=self.device).view(-1, 1, 1)
        self._bias = torch.tensor(bias, dtype=torch.float32, device=self.device).view(-1, 1, 1)
        self._temperature: float | Tensor = (
            torch.tensor(temperature, dtype=torch.float32, device=self.device).view(-1, 1, 1)
            if isinstance(temperature, tuple)
            else temperature
        )
        self._fits: tuple[int, ...] | None = None

    @torch.inference_mode()
    def probabilities(self, chips: Sequence[Tensor], valid: Sequence[Tensor | None]) -> list[Tensor]:
        """Return the probabilities of a batch of chips.

        Parameters
        ----------
        chips : sequence of Tensor, each (band, row, col)
            Stored pixel values on the device, any real dtype. At most a batch; the rest is filled with zeros,
            because some kernels round differently for other batch sizes.
        valid : sequence of Tensor of bool, each (row, col), or None where all pixels are valid
            Valid pixels of each chip; the others become 0 in the network's input.

        Returns
        -------
        list of Tensor of float32, each (channel, row, col)
        """
        with self.clock.stage("upload"):
            inputs = self.normalised(chips, valid)
        if self.settings.tta:
            return averaged(lambda turned: self._shares(turned, len(chips)), inputs, self.clock)
        return self._shares(inputs, len(chips))

    def _shares(self, inputs: Tensor, count: int) -> list[Tensor]:
        """Return the probabilities of the first `count` images of a batch."""
        with self.clock.stage("model"):
            logits = self.logits(inputs)[:count]
        with self.clock.stage("stitch"):
            # On the CPU tile by tile: the system first clears the memory of a large tensor page by page, which
            # takes as long as the softmax. On GPUs every call has a cost, and memory is pooled.
            at_once = 1 if self.device.type == "cpu" else count
            return [each for part in torch.split(logits, at_once) for each in self._activated(part)]

    def _activated(self, logits: Tensor) -> Tensor:
        """Return float32 probabilities of logits (n, channel, row, col), by softmax or sigmoid."""
        if isinstance(self._temperature, Tensor) or self._temperature != 1:
            logits = logits.float() / self._temperature
        # Back to contiguous planes while the numbers are still 16 bits: the softmax is a third faster there.
        logits = logits.contiguous()
        if self.task == "multiclass":
            return torch.softmax(logits, dim=1, dtype=torch.float32)
        return torch.sigmoid(logits.float())

    def compile(self, bands: int, shape: tuple[int, int]) -> None:
        """Compile the network for batches of tiles by running one."""
        self.try_out(bands, shape)

    def try_out(self, bands: int, shape: tuple[int, int]) -> None:
        """Run a batch of empty tiles and wait for it, to compile the network or to measure it.

        The clock does not measure it.
        """
        chips = [
            torch.zeros((bands, *shape), dtype=torch.uint8, device=self.device)
        ] * self.settings.batch_size
        clock, self.clock = self.clock, Clock()
        try:
            self.probabilities(chips, [None] * len(chips))[-1].sum().item()
        finally:
            self.clock = clock

    def logits(self, inputs: Tensor) -> Tensor:
        """Run the folded network at the chosen precision: (n, band, row, col) to logits (n, channel, row, col)."""
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not torch.float32):
            result: Tensor = self._module(inputs)
        return result

    def normalised(self, chips: Sequence[Tensor], valid: Sequence[Tensor | None]) -> Tensor:
        """Return the network's input: float32, channels last, invalid pixels 0, filled to the batch size."""
        # OpenVINO computes tile by tile: its batches need not be filled.
        filled = self.settings.runtime != "openvino"
        count = max(len(chips), self.settings.batch_size if filled else 0)
        shape = (count, *chips[0].shape)
        if shape != self._fits:
            check_memory(lambda: self._module, shape, self.settings)
            self._fits = shape
        inputs = torch.empty(
            shape,
            dtype=torch.float32,
            device=self.device,
            memory_format=torch.channels_last,
        )
        # Chip by chip and in place: what was just written is still in the cache, and nothing is allocated twice.
        for place, chip, known in zip(inputs, chips, valid, strict=False):
            place.copy_(chip).mul_(self._gain).add_(self._bias)
            if known is not None:
                # Filled, not multiplied: NaN * 0 is NaN.
                place.masked_fill_(~known, 0.0)
        inputs[len(chips) :] = 0.0
        return inputs
