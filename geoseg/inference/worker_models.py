"""Send the model of a prediction to worker processes once, and load it there once."""

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
    """A small cache of expensive objects; threads wait for each other instead of making one twice."""

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
    """A model file that every process of a cluster finds under the same path.

    Parameters
    ----------
    path : Path
        The file.
    weights : str
        Checksum of its weights when the prediction was requested.
    """

    path: Path
    weights: str

    @property
    def key(self) -> str:
        """Key of the model in the cache."""
        return f"{self.path} {self.weights}"

    def load(self) -> Model:
        """Open the file, once per process.

        Raises
        ------
        ModelError
            If the file is missing or has changed.
        """
        return _MODELS.get(self.key, self._opened)

    def _opened(self) -> Model:
        model = Model.open(self.path, build=False)
        if model.card.weights_sha256 != self.weights:
            raise ModelError(
                f"{self.path}: holds other weights than when the prediction was requested "
                f"(sha256 {(model.card.weights_sha256 or 'none')[:12]}, expected {self.weights[:12]}); ask anew"
            )
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInMemory:
    """A model without a file: its card and weights are sent to other processes, which keep them.

    Parameters
    ----------
    model : Model
        The model.
    key : str
        Key of the model in the cache of every process.
    """

    model: Model
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def load(self) -> Model:
        """Return the model."""
        return self.model

    def __reduce__(self) -> tuple[Callable[[str, bytes], ModelInMemory], tuple[str, bytes]]:
        """Pickle the model such that a process that already has it need not unpack it."""
        import cloudpickle  # type: ignore[import-untyped]  # dask requires it

        try:
            return _unpacked, (self.key, cloudpickle.dumps(self.model))
        except Exception as error:  # a network of one's own may hold anything
            raise ModelError(
                f"the model {self.model.card.name} cannot be sent to other processes ({type(error).__name__}: "
                f"{error}); compute it in this one, with dask's scheduler 'threads'"
            ) from error


def _unpacked(key: str, packed: bytes) -> ModelInMemory:
    """Return a model that another process of the cluster has sent."""
    import cloudpickle

    return ModelInMemory(model=_MODELS.get(key, lambda: cloudpickle.loads(packed)), key=key)


def sendable(model: Path | str | Model) -> ModelFile | ModelInMemory:
    """Return the form of a model in which it is sent to workers.

    Raises
    ------
    ModelError
        If the file cannot be read, or its card does not name its weights.
    """
    from geoseg.models.card_file import read_card

    given = given_model(model)
    if not isinstance(given, Path):
        return ModelInMemory(model=given)
    path = given.resolve()
    return ModelFile(path=path, weights=read_card(path).weights_sha256 or "")
