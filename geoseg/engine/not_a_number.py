"""Explain why the output of a network is NaN."""

from __future__ import annotations

from geoseg.errors import Message, SceneError, Text
from geoseg.grid.window import Window
from geoseg.raster.look import Remedy
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Watch
from geoseg.raster.validity import number_words

OF_NETWORK = (
    "is not a number in fp32, where the scene holds nothing unusual; train or convert the model again"
)
"""Explanation if the network itself is the cause."""


def not_a_number(source: Source, window: Window, precision: str) -> Text:
    """Return the cause of a NaN output and its remedy, as the end of a sentence.

    Parameters
    ----------
    source : Source
        The scene.
    window : Window
        Pixels that the network saw.
    precision : str
        Precision of the network's arithmetic.
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
        found = f"is not a number: the scene holds {values} there, which counts as data"
        return Message("{}; pass {}", found, Remedy.of(suspects, source).declared)
    if precision != "fp32":
        remedy = Message("pass {precision}, or mend the model", precision="fp32")
        return Message("is not a number at precision {}; {}", precision, remedy)
    return OF_NETWORK
