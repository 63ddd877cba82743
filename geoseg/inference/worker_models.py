"""The model of a prediction in the processes that compute it: sent once, loaded once."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from geoseg.errors import ModelError
from geoseg.inference.prepare import given_model
from geoseg.models.model import Model

T = TypeVar("T")


class Kept(Generic[T]):
    """The newest few things that took long to make; threads wait for each other instead of making one twice."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._things: OrderedDict[object, T] = OrderedDict()

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return the value stored under a key; make and store it first if it is missing."""
        with self._lock:
            if key not in self._things:
                self._things[key] = make()
                while len(self._things) > self._most:
                    self._things.popitem(last=False)
            self._things.move_to_end(key)
            return self._things[key]


_MODELS: Kept[Model] = Kept(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that every process of a cluster finds under the same name.

    Parameters
    ----------
    path : Path
    weights : str
        Checksum of its weights when the prediction was asked for.
    """

    path: Path
    weights: str

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.path} {self.weights}"

    def load(self) -> Model:
        """Open the file, once a process.

        Raises
        ------
        ModelError
            If it is not there, or another one by now.
        """
        return _MODELS.get(self.key, self._opened)

    def _opened(self) -> Model:
        model = Model.open(self.path, build=False)
        if model.card.weights_sha256 != self.weights:
            raise ModelError(
                f"{self.path}: holds other weights than when the prediction was asked for "
                f"(sha256 {(model.card.weights_sha256 or 'none')[:12]}, expected {self.weights[:12]}); ask anew"
            )
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInMemory:
    """A model that has no file: other processes are sent its card and its weights, and keep them.

    Parameters
    ----------
    model : Model
    key : str
        What tells it from others, in every process.
    """

    model: Model
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def load(self) -> Model:
        """Return the model."""
        return self.model

    def __reduce__(self) -> tuple[Callable[[str, bytes], ModelInMemory], tuple[str, bytes]]:
        """Pack the model such that a process that has it already need not unpack it."""
        import cloudpickle  # type: ignore[import-untyped]  # dask requires it

        try:
            return _unpacked, (self.key, cloudpickle.dumps(self.model))
        except Exception as error:  # a network of one's own may hold anything
            raise ModelError(
                f"the model {self.model.card.name} cannot be sent to other processes ({type(error).__name__}: "
                f"{error}); compute it in this one, with dask's scheduler 'threads'"
            ) from error


def _unpacked(key: str, packed: bytes) -> ModelInMemory:
    """Return a model that another process of the same cluster has sent."""
    import cloudpickle

    return ModelInMemory(model=_MODELS.get(key, lambda: cloudpickle.loads(packed)), key=key)


def sendable(model: Path | str | Model) -> ModelFile | ModelInMemory:
    """Return what stands for a model in the processes that compute.

    Raises
    ------
    ModelError
        If the file cannot be read, or holds no weights that its card names.
    """
    from geoseg.models.card import read_card

    given = given_model(model)
    if not isinstance(given, Path):
        return ModelInMemory(model=given)
    path = given.resolve()
    return ModelFile(path=path, weights=read_card(path).weights_sha256 or "")
