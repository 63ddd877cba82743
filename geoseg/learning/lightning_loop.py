"""Import Lightning without loading scipy's signal processing.

Lightning imports torchmetrics, and torchmetrics imports ``scipy.signal`` only to give it back a name that it once had,
for the metrics of sound. With what that loads it is a sixth of the time to the first step of a training. So a
stand-in takes its place while Lightning is imported; who asks for it later gets the real one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from geoseg.storage.stand_in import StandIn, standing_in

_SIGNAL, _OLD_NAME = "scipy.signal", "hamming"


def _without_signal() -> AbstractContextManager[None]:
    """Let modules import ``scipy.signal`` without loading it."""
    signal = StandIn(_SIGNAL)
    setattr(signal, _OLD_NAME, None)  # torchmetrics sets it where it is missing
    return standing_in(signal)


with _without_signal():
    import lightning

__all__ = ["lightning"]
