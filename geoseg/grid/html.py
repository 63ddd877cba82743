"""Small tables that a notebook shows in place of a value's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_MOST: Final = 40
"""Rows; of a longer table only their number is said."""


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return a table as HTML; everything in it is text and escaped, but for patches of colours.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : iterable of sequence of str
        Cells; one that is ``#rrggbb`` is shown as a patch of that colour.
    title : str
        What stands above, a line of it for each line of the text.
    """
    every = list(rows)
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"] if any(head) else []
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in every[:_MOST]]
    if len(every) > _MOST:
        lines.append(f'<tr><td colspan="{len(every[0])}">and {len(every) - _MOST:,} more</td></tr>')
    above = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{above}{''.join(lines)}</table>"


def _cell(text: str) -> str:
    if len(text) == 7 and text[0] == "#" and all(letter in "0123456789abcdef" for letter in text[1:]):
        patch = f"background:{text};border:1px solid #888;display:inline-block;height:1em;width:2em"
        return f'<td><span style="{patch}" title="{text}"></span></td>'
    return f'<td style="text-align:left">{escape(text)}</td>'
