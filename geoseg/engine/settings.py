"""How a model runs on this machine: what ``auto`` means, above all the batch size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from geoseg.engine.devices import choose_device, choose_precision, cpu_threads
from geoseg.engine.plan import rows_together
from geoseg.errors import OptionError, ResumeError

Runtime = Literal["openvino", "torch"]
_LARGEST_BATCH = {"cpu": 8, "cuda": 32, "mps": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the model runs; equal settings on one machine give equal bytes.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``mps``.
    precision : str
        ``fp32``, ``bf16``, ``fp16`` or ``int8``, which is for networks that are `Quantized`.
    batch_size : int
        Tiles a call; every batch is filled to it.
    threads : int
        CPU threads of the network, which change the order of its sums.
    tta : bool
        Whether every tile is seen in its 8 symmetries.
    compile : bool
        Whether the network is compiled.
    runtime : str
        What computes the network: ``openvino`` on CPUs, or ``torch``.
    """

    device: str
    precision: str
    batch_size: int
    threads: int
    tta: bool = False
    compile: bool = False
    runtime: Runtime = "torch"

    @classmethod
    def choose(cls, device: str, precision: str, batch_size: int | None, tiles: tuple[int, int]) -> Settings:
        """Resolve ``auto``.

        Parameters
        ----------
        device, precision : str
            As in `PredictOptions`.
        batch_size : int or None
            None chooses by `fitting_batch`; `with_fastest_batch` tries others.
        tiles : tuple of int
            Rows and columns of the tiling.
        """
        device = choose_device(device)
        precision = choose_precision(precision, device)
        # Batches are filled: one of more tiles than there are would only compute zeros.
        batch_size = min(batch_size or fitting_batch(*tiles, _LARGEST_BATCH[device]), tiles[0] * tiles[1])
        return cls(device=device, precision=precision, batch_size=batch_size, threads=cpu_threads())

    @property
    def together(self) -> int:
        """Tiles that bands are made for: a batch of torch; OpenVINO computes tile by tile, across bands."""
        return 1 if self.runtime == "openvino" else self.batch_size

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Return the settings of a run to go on with; its device must be there again."""
        settings = cls(**values)
        try:
            choose_device(settings.device)
        except OptionError as error:
            raise ResumeError(
                f"the unfinished run cannot go on here, {error}; or pass --fresh to start anew"
            ) from error
        return settings


def fitting_batch(rows: int, columns: int, largest: int) -> int:
    """Batch size that runs a tiling cheapest in bands of as few rows as fill it, the largest of equals.

    Batches do not cross bands, and what is left over of one is computed for nothing; other sizes need more rows at
    once (`rows_together`), which costs memory. A call is reckoned as half a tile more than its tiles, so that
    eleven columns do not become eleven batches of one.
    """

    def cost(batch: int) -> float:
        return _calls((rows, columns), batch, -(-batch // columns)) * (batch + 0.5)

    return min(range(1, largest + 1), key=lambda batch: (cost(batch), -batch))


def calls(rows: int, columns: int, batch: int) -> int:
    """How many batches a tiling takes."""
    return _calls((rows, columns), batch, rows_together(columns, batch))


def _calls(tiles: tuple[int, int], batch: int, together: int) -> int:
    """Count batches in bands of so many tile rows."""
    bands, rest = divmod(tiles[0], together)
    return bands * -(-together * tiles[1] // batch) + -(-rest * tiles[1] // batch)


def batch_sizes(tiles: tuple[int, int], device: str) -> set[int]:
    """Sizes worth trying: what fits a tiling best up to each power of 2, to twice what is taken untried."""
    powers = (2**i for i in range((2 * _LARGEST_BATCH[device]).bit_length()))
    return {fitting_batch(*tiles, power) for power in powers}
