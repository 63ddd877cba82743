"""What is said of training data: for people, for programs, and as tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.assessment.training_data.content import Content, content_of, resolutions
from geoseg.assessment.training_data.finding import SEVERITIES, DataFinding
from geoseg.assessment.training_data.placement import stored_grid
from geoseg.assessment.training_data.survey import DataSurvey
from geoseg.datasets.files import Entry
from geoseg.datasets.split_config import SPLITS
from geoseg.errors import Message, Text, plural
from geoseg.grid.grid import crs_name
from geoseg.grid.html import html_table
from geoseg.raster.sample import share_words

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 12
"""Images named in a line for people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DataQuality:
    """Quality of training data, as `geoseg.check` found it.

    Parameters
    ----------
    name : str
        What was checked.
    survey : DataSurvey
        What was seen.
    found : tuple of DataFinding
        What may be wrong, the worst first.
    """

    name: str
    survey: DataSurvey
    found: tuple[DataFinding, ...]

    @property
    def passed(self) -> bool:
        """Whether a training should start: there is no error; warnings and hints do not count."""
        return not any(each.severity == "error" for each in self.found)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 3 if a training should not start."""
        return 0 if self.passed else 3

    @cached_property
    def content(self) -> Content:
        """What the labels hold."""
        return content_of(self.survey)

    @property
    def findings(self) -> pd.DataFrame:
        """What may be wrong, the worst first: check, severity, what was found, what to do, and the images."""
        import pandas as pd

        columns = ["check", "severity", "what", "remedy", "images"]
        return pd.DataFrame([each.to_dict() for each in self.found], columns=columns)

    @property
    def images(self) -> pd.DataFrame:
        """The images: files, split, shape, CRS, resolution, bands, data type, shares of valid and labelled pixels."""
        import pandas as pd

        return pd.DataFrame(self._image_rows()).set_index("image")

    @property
    def bands(self) -> pd.DataFrame:
        """The bands: range, mean and standard deviation of the valid pixels, as they are stored."""
        import pandas as pd

        rows = [{k: v for k, v in row.items() if k != "histogram"} for row in self._band_rows()]
        return pd.DataFrame(rows).set_index("band")

    @property
    def classes(self) -> pd.DataFrame:
        """The classes: pixels, images, objects and their sizes in px, pixels of each split."""
        import pandas as pd

        return pd.DataFrame(self._class_rows()).set_index("class")

    @property
    def cooccurrence(self) -> pd.DataFrame:
        """Number of images in which two classes occur."""
        import pandas as pd

        names = [each.name for each in self.survey.classes]
        return pd.DataFrame(self.content.together, index=names, columns=names)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "name": self.name,
            "passed": self.passed,
            "findings": [each.to_dict() for each in self.found],
            "task": self.survey.data.task,
            "images": self._image_rows(),
            "bands": self._band_rows(),
            "classes": self._class_rows(),
            "cooccurrence": self.content.together.tolist(),
        }

    def lines(self) -> Iterator[str]:
        """Yield a summary for people, line by line."""
        return map(str, self.texts())

    def texts(self) -> Iterator[Text]:
        """Yield the lines, whose keywords a command spells as its flags."""
        yield f"{self.name}: {self.verdict}"
        yield f"  {self.about}"
        yield from _aligned(
            [("band", "lowest", "highest", "mean", "deviation")]
            + [
                (row["band"], *(_number(row[name]) for name in ("min", "max", "mean", "std")))
                for row in self._band_rows()
            ]
        )
        yield from _aligned(
            [("class", "pixels", "share", "images", "objects", "median, px", *self._splits)]
            + [
                (
                    each.name, f"{each.pixels:,}", share_words(each.share), f"{each.images:,}", f"{each.objects:,}",
                    "-" if each.size(0.5) is None else f"{each.size(0.5):,}",
                    *(f"{each.splits[split]:,}" for split in self._splits),
                )
                for each in self.content.classes
            ]
        )  # fmt: skip
        for each in self.found:
            yield Message("  {} {} {}", f"{each.severity:<7}", f"{each.check:<10}", each.line)

    @property
    def verdict(self) -> str:
        """Whether a training should start, with the number of findings."""
        counts = Counter(each.severity for each in self.found)
        said = ", ".join(plural(counts[each], each) for each in SEVERITIES if counts[each])
        begun = "a training can start" if self.passed else "a training should NOT start"
        return f"{begun} ({said or 'nothing found'})"

    @property
    def about(self) -> str:
        """One line on the images."""
        survey = self.survey
        grids = {stored_grid(pair).shape for pair in survey.pairs.values()}
        words = [plural(len(survey.entries), "image")]
        if survey.in_blocks:
            words[0] += ", blocks of each divided"
        elif survey.undivided is None:
            words[0] += (
                f" ({', '.join(f'{len(keys)} {split}' for split, keys in survey.keys.items() if keys)})"
            )
        if grids:
            words.append(_span([f"{rows} x {cols}" for rows, cols in sorted(grids)]) + " px")
        sizes = sorted({f"{size:.3g} m" for size in resolutions(survey).values() if size is not None})
        words += [_span(sizes)] if sizes else []
        systems = {crs_name(image.grid.crs) for image in survey.images.values()}
        words.append(_span(sorted(each or "no CRS" for each in systems)) if systems else "none can be opened")
        kinds = {str(self._dtype(key)) for key in survey.pairs}
        words += [_span(sorted(kinds))] if kinds else []
        pixels, valid, labelled = (
            sum(getattr(watch, name) for watch in survey.watches.values())
            for name in ("pixels", "valid", "known")
        )
        if pixels:
            words.append(f"{share_words(valid / pixels)} of the pixels valid")
            words.append(f"{share_words(labelled / max(valid, 1))} of these labelled")
        return ", ".join(words)

    @property
    def _splits(self) -> list[str]:
        return [split for split in SPLITS if self.survey.parts[split].any()]

    def _dtype(self, key: str) -> str:
        image = self.survey.images.get(key)
        return "" if image is None else str(image.dtype)

    def _image_rows(self) -> list[dict[str, Any]]:
        sizes, split_of = resolutions(self.survey), self.survey.split_of
        rows = []
        for entry in self.survey.entries:
            image, watch = self.survey.images.get(entry.key), self.survey.watches.get(entry.key)
            grid = None if image is None else image.grid
            rows.append(
                {
                    "image": entry.key,
                    "file": entry.name,
                    "labels": _labels(entry),
                    "bytes": _bytes(entry),
                    "split": "blocks" if self.survey.in_blocks else split_of.get(entry.key),
                    "rows": None if grid is None else grid.height,
                    "cols": None if grid is None else grid.width,
                    "crs": None if grid is None else crs_name(grid.crs),
                    "resolution_m": sizes.get(entry.key),
                    "bands": None if image is None else len(image.descriptions),
                    "dtype": self._dtype(entry.key) or None,
                    "valid_share": None if watch is None or not watch.pixels else watch.valid / watch.pixels,
                    "labelled_share": None if watch is None or not watch.valid else watch.known / watch.valid,
                    "objects": None if watch is None else int(watch.objects.sum()),
                }
            )
        return rows

    def _band_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "band": name,
                "min": _finite(tally.low),
                "max": _finite(tally.high),
                "mean": _finite(tally.mean) if tally.count else None,
                "std": _finite(tally.std),
                "pixels": tally.count,
                "histogram": tally.histogram.to_dict(),
            }
            for name, tally in zip(self.survey.data.bands, self.survey.pooled.bands, strict=True)
        ]

    def _class_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "class": each.name,
                "code": each.code,
                "pixels": each.pixels,
                "share": each.share,
                "images": each.images,
                "objects": each.objects,
                "smallest_px": each.size(0.0),
                "median_px": each.size(0.5),
                "largest_px": each.size(1.0),
                "places": each.places,
                **each.splits,
            }
            for each in self.content.classes
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Show what may be wrong in a notebook."""
        rows = [(each.severity, each.check, str(each.line)) for each in self.found]
        return html_table(("severity", "check", "what and what to do"), rows, f"{self.name}: {self.verdict}")


def _labels(entry: Entry) -> str | None:
    if entry.labels is None or isinstance(entry.labels, Path):
        return None if entry.labels is None else str(entry.labels)
    return entry.labels.path


def _bytes(entry: Entry) -> int | None:
    """Return the size of an image's file."""
    if not isinstance(entry.image, Path) or not entry.image.is_file():
        return None
    return entry.image.stat().st_size


def _span(words: list[str]) -> str:
    """Say one of several words, or the first and how many others there are."""
    return words[0] if len(words) == 1 else f"{words[0]} to {words[-1]}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.6g}"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield f"  {row[0].ljust(widths[0])}  " + "  ".join(cells)
