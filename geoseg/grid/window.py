"""A rectangle of whole pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels, which may extend beyond the raster.

    Parameters
    ----------
    row, col : int
        Top-left pixel; may be negative.
    height, width : int
        Edges in px, at least 1.

    Examples
    --------
    >>> Window(row=10, col=0, height=5, width=8).row_stop
    15
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse anything that is not a non-empty rectangle of integers."""
        for name in ("row", "col", "height", "width"):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"Window.{name} is {value!r}, expected an int")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"{self} is empty: height and width must be at least 1")

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self.height, self.width

    def intersection(self, other: Window) -> Window | None:
        """Return the pixels that lie in both windows, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_stop, other.row_stop) - row
        width = min(self.col_stop, other.col_stop) - col
        if height < 1 or width < 1:
            return None
        return Window(row=row, col=col, height=height, width=width)

    def within(self, shape: tuple[int, int]) -> Window | None:
        """Return the part of the window that lies on a raster of `shape`, or None."""
        return self.intersection(Window(row=0, col=0, height=shape[0], width=shape[1]))

    def shifted(self, rows: int, cols: int) -> Window:
        """Return the window moved down by `rows` and right by `cols` px."""
        return Window(row=self.row + rows, col=self.col + cols, height=self.height, width=self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window's rows and columns as slices of an array.

        Raises
        ------
        IndexError
            If the window starts before the array, where a negative slice would count from its end.
        """
        if self.row < 0 or self.col < 0:
            raise IndexError(f"{self} starts outside the array")
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)
