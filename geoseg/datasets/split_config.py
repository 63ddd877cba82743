"""The ``split`` section of the data configuration: images for training, validation and testing."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from geoseg.datasets.quantities import STRICT, Count, Offset, Pixels, Seed, Share

SPLITS: Final = ("train", "val", "test")
METHOD_NAMES: Final = ("given", "column", "every", "fraction", "folds", "blocks", "block_folds")
GroupName = int | str
FEWEST_FOLDS: Final = 3
"""Folds of which one is scored, one validates and the others train."""


class GivenSplit(BaseModel):
    """Groups of each split, by name.

    A name is the value in the table's column, the index (from 0) of a list in `groups`, or the key of an
    image without a group.
    """

    model_config = STRICT

    method: Literal["given"] = "given"
    train: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    val: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    test: tuple[GroupName, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        everything = [str(group) for group in (*self.train, *self.val, *self.test)]
        twice = sorted({group for group in everything if everything.count(group) > 1})
        if twice:
            raise ValueError(f"group {twice[0]} stands in two splits, expected one: scores would be too good")
        return self


class ColumnSplit(BaseModel):
    """Split given by the table's column ``split``: train, val (also valid, validation) or test; empty: not used."""

    model_config = STRICT

    method: Literal["column"] = "column"


class EverySplit(BaseModel):
    """Every n-th group in the order of names is used for validation, the rest for training; `first` counts from
    0.
    """

    model_config = STRICT

    method: Literal["every"] = "every"
    n: Annotated[Count, Field(ge=2)]
    first: Offset = 0


class _SharedOut(BaseModel):
    """Shares for validation and testing; the rest is for training."""

    model_config = STRICT

    val: Annotated[Share, Field(gt=0)] = 0.2
    test: Share = 0.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing to train on")
        return self


class FractionSplit(_SharedOut):
    """Random shares of the groups; at least one group for a share above 0."""

    method: Literal["fraction"] = "fraction"


class InFolds(BaseModel):
    """Random folds: number `fold` (from 0) of `k` is for validation, the rest for training.

    Attributes
    ----------
    k, fold
        Number of folds, and the one that is held back.
    test
        Whether that fold is scored once at the end, as test; the next one, cyclically, is then for validation, so that
        what is scored chooses nothing.
    seed
        Seed of the folds.
    """

    model_config = STRICT

    k: Annotated[Count, Field(ge=2)]
    fold: Offset = 0
    test: bool = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _there(self) -> Self:
        if self.fold >= self.k:
            raise ValueError(f"fold {self.fold} of {self.k} does not exist, expected 0 to {self.k - 1}")
        if self.test and self.k < FEWEST_FOLDS:
            raise ValueError(
                f"k is {self.k}, expected {FEWEST_FOLDS} or more with test: true: one fold is scored, the next one "
                "validates, the others train"
            )
        return self

    def split_of(self, fold: int) -> str:
        """Return the split of a fold."""
        if fold == self.fold:
            return "test" if self.test else "val"
        return "val" if self.test and fold == (self.fold + 1) % self.k else "train"


class FoldSplit(InFolds):
    """Random folds of the groups."""

    method: Literal["folds"] = "folds"


class InBlocks(BaseModel):
    """Square blocks of every image, so that a single scene is enough.

    Attributes
    ----------
    size
        Edge of a block, px; a sixth of the image's shorter edge by default.
    """

    model_config = STRICT

    size: Pixels | None = None


class BlockFoldSplit(InFolds, InBlocks):
    """Folds of square blocks: the labelled blocks of every image in `k` parts that are alike in their classes.

    Attributes
    ----------
    buffer
        Labelled pixels within this many rows and columns of a block of another split are not used; a tenth of the
        block's edge by default.
    """

    method: Literal["block_folds"] = "block_folds"
    buffer: Offset | None = None


class BlockSplit(_SharedOut, InBlocks):
    """Random shares of square blocks of every image.

    Attributes
    ----------
    buffer
        Labelled pixels within this many rows and columns of a block of another split are not used.
    val, test
        Shares of the labelled pixels of each class, as nearly as whole blocks allow; every class stays in training.
    """

    method: Literal["blocks"] = "blocks"
    buffer: Offset = 0


def _split(value: object) -> object:
    """Interpret lists of groups without a method as a given split."""
    if isinstance(value, dict) and "method" not in value:
        return value | {"method": "given"}
    return value


SplitConfig = Annotated[
    GivenSplit | ColumnSplit | EverySplit | FractionSplit | FoldSplit | BlockSplit | BlockFoldSplit,
    Field(discriminator="method"),
    BeforeValidator(_split),
]
