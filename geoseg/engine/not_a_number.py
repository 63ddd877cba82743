"""Why a network's output is not a number."""

from __future__ import annotations

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.look import Remedy
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Watch
from geoseg.raster.validity import number_words

OF_NETWORK = (
    "is not a number in fp32, where the scene holds nothing unusual; train or convert the model again"
)
"""What is said where the network itself is to blame."""


def not_a_number(source: Source, window: Window, precision: str) -> str:
    """Say what made it and what to do, as the end of a sentence.

    Parameters
    ----------
    source : Source
    window : Window
        What the network saw.
    precision : str
        What it computed with.
    """
    watch = Watch(source.no_data)
    try:
        chip = source.read(window)
    except SceneError:
        pass
    else:
        watch.add(chip.pixels, chip.valid)
    if suspects := watch.suspects():
        values = " and ".join(number_words(suspect.value) for suspect in suspects)
        return (
            f"is not a number: the scene holds {values} there, which counts as data; pass "
            f"{Remedy.of(suspects, source).flags}"
        )
    if precision != "fp32":
        return f"is not a number at precision {precision}; pass --precision fp32, or mend the model"
    return OF_NETWORK
