"""torch's optimizers by name, with their own options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    import torch

from geoseg.errors import plural

_CLASSES: Final = {
    name.lower(): name
    for name in (
        "Adam", "AdamW", "RMSprop", "SGD", "Adagrad", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "ASGD",
        "Rprop",
    )
}  # fmt: skip
_NOT_OPTIONS: Final = ("params", "foreach", "maximize", "capturable", "differentiable", "fused")
"""Arguments about how a step is computed, which are not options of the optimizer."""
_ELSEWHERE: Final = {"lr": "learning_rate", "weight_decay": "weight_decay"}
_WITHOUT_DECAY: Final = ("rprop",)
_ADAMW_DECAY: Final = 0.01


class OptimizerConfig(BaseModel):
    """One of torch's optimizers; text alone is its `name`.

    Further keys are its options, as torch.optim calls them: ``momentum``, ``betas``, ``alpha``, ``eps``,
    ``nesterov``. Learning rate and weight decay are separate settings, ``train.learning_rate`` and
    ``train.weight_decay``.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "adamw"

    @model_validator(mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | OptimizerConfig):
            raise ValueError("expected the name of an optimizer, or its name and options")
        fields = {"name": value} if isinstance(value, str) else value
        if isinstance(fields, dict) and isinstance(fields.get("name"), str):
            return fields | {"name": fields["name"].lower()}
        return fields

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.name not in _CLASSES:
            raise ValueError(f"no optimizer is called {self.name!r}, expected one of {', '.join(_CLASSES)}")
        if self.model_extra:
            import torch

            try:
                self.build([torch.nn.Parameter(torch.zeros(1))], 1e-3, 0.0)
            except ValueError as error:
                raise ValueError(f"{self.name}: {str(error)[:1].lower()}{str(error)[1:]}") from error
        return self

    def decay(self, wanted: float | None) -> float:
        """Return the requested weight decay, or the optimizer's default.

        Raises
        ------
        ValueError
            If the optimizer has no weight decay.
        """
        if wanted and self.name in _WITHOUT_DECAY:
            raise ValueError(f"train.weight_decay is {wanted:g}, and {self.name} has none; remove it")
        if wanted is None:
            return _ADAMW_DECAY if self.name == "adamw" else 0.0
        return wanted

    @property
    def cycles_momentum(self) -> bool:
        """Whether a one-cycle schedule also changes the momentum: only of the default betas."""
        return "betas" in self._defaults() and "betas" not in (self.model_extra or {})

    def build(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        learning_rate: float,
        weight_decay: float,
    ) -> torch.optim.Optimizer:
        """Create the optimizer for parameters, or for groups with their own rate and decay.

        Raises
        ------
        ValueError
            If an option is wrong; one line that names it.
        """
        import torch

        defaults = self._defaults()
        options = {key: _value(key, value, defaults) for key, value in (self.model_extra or {}).items()}
        if self.name not in _WITHOUT_DECAY:
            options["weight_decay"] = weight_decay
        optimizer: torch.optim.Optimizer = getattr(torch.optim, _CLASSES[self.name])(
            parameters, lr=learning_rate, **options
        )
        return optimizer

    def _defaults(self) -> dict[str, Any]:
        """Return the options of the optimizer in torch, with their defaults."""
        import torch

        signature = inspect.signature(getattr(torch.optim, _CLASSES[self.name]))
        return {
            key: parameter.default
            for key, parameter in signature.parameters.items()
            if key not in _NOT_OPTIONS and key not in _ELSEWHERE
        }


def parameter_groups(
    network: torch.nn.Module, *, learning_rate: float, weight_decay: float, encoder_rate: float
) -> list[dict[str, Any]]:
    """Group the parameters of a network by learning rate and decay; the first group has the full rate.

    Normalisation weights and biases, which have one axis, do not decay: their inputs are normalised anyway, and
    decay would shrink the scale itself (He et al. 2019, doi:10.1109/CVPR.2019.00065).

    Parameters
    ----------
    network : Module
        The network, whose encoder's parameters begin with ``encoder.``.
    learning_rate, weight_decay : float
        Learning rate and weight decay of the first group.
    encoder_rate : float
        Factor of the learning rate for the encoder.
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": groups[encoder, decays],
            "lr": learning_rate * (encoder_rate if encoder else 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for encoder, decays in sorted(groups)
    ]


def _value(key: str, value: Any, defaults: dict[str, Any]) -> Any:
    """Check the type of an option against its default; torch checks its range."""
    if key in _ELSEWHERE:
        raise ValueError(f"{key} is not an option of the optimizer; set train.{_ELSEWHERE[key]}")
    if key not in defaults:
        raise ValueError(f"{key} is none of its options, expected {', '.join(defaults)}")
    default = defaults[key]
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise ValueError(f"{key} is {value!r}, expected {plural(len(default), 'number')}")
        return tuple(_number(key, v, d) for v, d in zip(value, default, strict=True))
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{key} is {value!r}, expected true or false")
        return value
    return _number(key, value, default)


def _number(key: str, value: Any, default: Any) -> Any:
    if value is None and default is None:
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)  # YAML reads 1e-8 as text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} has {value!r}, expected a number")
    return value
