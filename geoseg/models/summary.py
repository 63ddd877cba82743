"""What a model is, as text for a terminal and as a table for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.grid.html import html_table
from geoseg.storage.printable import printable

if TYPE_CHECKING:
    from geoseg.models.card import Card


def summary(card: Card, network: str) -> str:
    """Describe a model, one line per subject.

    Parameters
    ----------
    card : Card
        The model's card.
    network : str
        How large the network is.
    """
    gsd = f", {card.gsd_m:g} m per px" if card.gsd_m else ""
    low, high = card.value_range
    seen = f"tile     {card.tile.size} px, overlap {card.tile.overlap} px"
    if card.image_size:
        seen = f"image    whole, resized to {card.image_size[0]} x {card.image_size[1]} px"
    lines = [
        f"Model {card.name!r} ({card.created_by}, format {card.format})",
        f"  network  {card.architecture} {card.encoder}, {network}, {card.task}",
        f"  bands    {', '.join(card.band_names)}: {card.dtype} from {low:g} to {high:g}{gsd}",
        f"  {seen}",
        *(f"  class    {c.code:>3} {c.color} {c.name}" for c in card.legend),
        *_beginning_and_end(card),
    ]
    return printable("\n".join(lines))


def summary_html(card: Card, network: str) -> str:
    """Describe a model as `summary` does, for a notebook: the classes are a table with their colours."""
    title, *about = summary(card, network).splitlines()
    subjects = (line.strip().partition(" ") for line in about if not line.startswith("  class "))
    table = html_table((), ((subject, said.strip()) for subject, _, said in subjects), title)
    return table + card.classes._repr_html_()


def _beginning_and_end(card: Card) -> list[str]:
    """Say which weights training began with, and what was done to the model after it."""
    lines = []
    if card.beginning:
        lines.append(f"  begun    {card.beginning}")
    if card.thresholds:
        lines.append(f"  above    {', '.join(f'{value:g}' for value in card.thresholds)}")
    if card.temperature is not None or card.calibration is not None:
        divisors = card.divisor if isinstance(card.divisor, tuple) else (card.divisor,)
        said = "" if card.calibration is None else f"; {card.calibration}"
        lines.append(f"  divided  by {', '.join(f'{each:.4g}' for each in divisors)}{said}")
    if card.quantization:
        lines.append(f"  int8     {card.quantization}")
    if card.weights_sha256:
        lines.append(f"  sha256   {card.weights_sha256}")
    return lines
