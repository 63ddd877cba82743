"""Every error geoseg raises on purpose.

::

    GeosegError                 exit code 1
    ├── OptionError             2   an option's value cannot be used
    ├── SceneError              1   a raster cannot be read as a scene
    ├── LegendError             1   codes, names or colours that do not go together
    ├── ClassMapError           1   a raster cannot be used as a class map
    ├── ModelError              1   a model file or its card cannot be used
    │   └── MismatchError       1   scene and card do not fit each other
    ├── StitchError             1   a pixel was left without a probability
    ├── ConfigError             1   a training configuration is wrong
    ├── DataError               1   training data is wrong
    ├── ResumeError             1   unfinished work belongs to another command
    └── OutputError             1   an output cannot be written
        ├── OutputExistsError   4   the output is already there
        └── OutputBusyError     4   another process is writing it

A message is one line: what was found, what was expected, what to do.
"""

from __future__ import annotations


class GeosegError(Exception):
    """Root of the tree; the command line turns it into one line and `exit_code`."""

    exit_code = 1


class OptionError(GeosegError):
    """An option's value cannot be used."""

    exit_code = 2


class SceneError(GeosegError):
    """A raster cannot be read as a scene."""


class LegendError(GeosegError):
    """Codes, names or colours of a legend do not go together."""


class ClassMapError(GeosegError):
    """A raster cannot be used as a class map."""


class ModelError(GeosegError):
    """A model file or its card cannot be used."""


class MismatchError(ModelError):
    """A scene does not fit the card of a model."""


class NotANumberError(GeosegError):
    """A network's output is not a number.

    Parameters
    ----------
    message : str
    of_network : bool
        Whether the network itself is to blame: neither what it was shown nor the precision.
    """

    def __init__(self, message: str, *, of_network: bool = False) -> None:
        super().__init__(message)
        self.of_network = of_network


class StitchError(GeosegError):
    """A pixel was left without a probability: a bug of geoseg, never hidden."""


class ConfigError(GeosegError):
    """A training configuration is wrong."""


class DataError(GeosegError):
    """Training data is wrong."""


class ResumeError(GeosegError):
    """Unfinished work beside the output belongs to another command."""


class OutputError(GeosegError):
    """An output cannot be written."""


class OutputExistsError(OutputError):
    """The output is already there and was not to be replaced."""

    exit_code = 4


class OutputBusyError(OutputError):
    """Another process is writing the same output."""

    exit_code = 4
