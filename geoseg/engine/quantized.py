"""Networks whose layers multiply integers of 8 bits."""

from __future__ import annotations

import importlib.util
import logging
import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.engine.compiled import check_compiler, compiled
from geoseg.errors import ModelError, OptionError

Ranges = Mapping[str, tuple[float, int]]
"""Step and zero point of tensors inside a network, by their names in its graph, in the graph's order: the integer i
of 0 to 255 stands for ``(i - zero point) * step``."""

_SOURCES: Mapping[Any, Any] = {
    torch.ops.aten.conv2d: nn.Conv2d,
    torch.ops.aten.add: operator.add,
    torch.ops.aten.add_: operator.add,
    torch.ops.aten.relu: nn.ReLU,
    torch.ops.aten.relu_: nn.ReLU,
    torch.ops.aten.hardtanh: nn.Hardtanh,
    torch.ops.aten.hardtanh_: nn.Hardtanh,
    torch.ops.aten.hardswish: nn.Hardswish,
    torch.ops.aten.hardswish_: nn.Hardswish,
    torch.ops.aten.silu: nn.SiLU,
    torch.ops.aten.silu_: nn.SiLU,
}
"""What the quantizer puts into one layer, by the names that it knows them under."""


def check_int8(device: str) -> None:
    """Refuse what cannot compute in int8, before any work is done.

    Raises
    ------
    OptionError
    """
    if device != "cpu":
        raise OptionError(
            f"precision int8 is for the CPU, found {device}; pass --device cpu, or choose bf16 or fp16"
        )
    # Without these instructions sums of products overflow at 16 bits.
    if not torch.cpu._is_vnni_supported():
        raise OptionError("precision int8 needs a CPU with AVX-512 VNNI, which this one lacks; choose fp32")
    check_installed()
    check_compiler(device, "--precision int8")


def check_installed() -> None:
    """Refuse to go on without the package that converts networks.

    Raises
    ------
    OptionError
    """
    if importlib.util.find_spec("torchao") is None:
        raise OptionError("int8 needs the package torchao, which is not installed: pip install torchao")


def measured(network: nn.Module, inputs: Iterable[Tensor]) -> dict[str, tuple[float, int]]:
    """Return the ranges of the tensors inside a network on some inputs.

    Each range is the one that loses least of the values seen, in the squares of the errors (torchao's
    `HistogramObserver`).

    Parameters
    ----------
    network : nn.Module
        Maps (n, band, row, col) to logits (n, channel, row, col); on the CPU, in float32.
    inputs : iterable of Tensor of float32, shape (n, band, row, col)
        As the network gets them, all of one shape.
    """
    watched: Any = None
    for each in inputs:
        with torch.inference_mode(mode=False), torch.no_grad():
            batch = each.clone(memory_format=torch.contiguous_format)
            if watched is None:
                watched = _prepared(network, batch)
            watched(batch)
    if watched is None:
        raise ValueError("no inputs to measure ranges on")
    found = {}
    for name, observer in _observers(watched):
        step, zero = observer.calculate_qparams()
        found[name] = float(step), int(zero)
    return found


class Quantized(nn.Module):
    """A network that computes in int8: (n, band, row, col) float32 to logits (n, channel, row, col) float32.

    Weights have a step for each of their output channels, tensors between layers one step and zero point; sums are
    integers of 32 bits. The network is converted and compiled for each shape of input when it first comes.

    Parameters
    ----------
    network : nn.Module
        On the CPU, in float32; it is left as it is.
    ranges : Ranges
        As `measured` returns them.
    simulated : bool
        Whether the same roundings are made in float32 instead, which needs no compiler, and takes longer.
    """

    def __init__(self, network: nn.Module, ranges: Ranges, *, simulated: bool = False) -> None:
        super().__init__()
        # Not a part of this module: what is moved or folded is the network as it is computed.
        self._network, self._ranges, self._simulated = (network,), ranges, simulated
        self._converted: dict[torch.Size, nn.Module] = {}

    @property
    def shapes(self) -> Set[torch.Size]:
        """Shapes of input that it was converted for."""
        return self._converted.keys()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits.

        Raises
        ------
        ModelError
            If the ranges are those of another graph.
        OptionError
            If the network cannot be converted or compiled here.
        """
        if inputs.shape not in self._converted:
            self._converted[inputs.shape] = self._convert(inputs.shape)
        with torch.no_grad():
            result: Tensor = self._converted[inputs.shape](inputs)
        return result

    def _convert(self, shape: torch.Size) -> nn.Module:
        with torch.inference_mode(mode=False), torch.no_grad():
            prepared = _prepared(self._network[0], torch.zeros(shape))
            _set_ranges(prepared, self._ranges)
            prepared(torch.zeros(shape))  # the weights get their ranges as they are used
            with _quiet():
                from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

                converted: nn.Module = convert_pt2e(prepared)
            _round_early(converted)
        if self._simulated:
            return converted
        return compiled(converted, torch.device("cpu"), "choose another --precision than int8")


def _prepared(network: nn.Module, example: Tensor) -> Any:
    """Return the network's graph with an observer behind each tensor that int8 layers take.

    Raises
    ------
    OptionError
        If the network is none that can be traced.
    """
    with _quiet():
        from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
        try:
            graph = torch.export.export(network.eval(), (example,)).module()
            _tell_calls_apart(graph)
            return prepare_pt2e(graph, quantizer)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be computed in int8: {reason[:200]}; choose another precision"
            ) from error


def _round_early(converted: Any) -> None:
    """Turn into integers before pixels are repeated and features joined what is turned into integers after it.

    The numbers are the same, and an integer is copied in a quarter of the time of a float. Decoders join features that
    were made larger so with others: in float32 that is a quarter of a network's time.
    """
    graph, to_integers = converted.graph, torch.ops.quantized_decomposed.quantize_per_tensor.default
    waiting = [node for node in graph.nodes if node.target is to_integers]
    while waiting:
        rounding = waiting.pop()
        moved, *how = rounding.args
        if moved.target not in (torch.ops.aten.cat.default, torch.ops.aten.upsample_nearest2d.vec):
            continue
        if len(moved.users) > 1:  # somebody else takes the floats
            continue
        source, *rest = moved.args
        with graph.inserting_before(rounding):
            parts = source if isinstance(source, list | tuple) else [source]
            rounded = [graph.call_function(to_integers, (part, *how)) for part in parts]
            early = rounded if parts is source else rounded[0]
            later = graph.call_function(moved.target, (early, *rest), moved.kwargs)
        rounding.replace_all_uses_with(later)
        graph.erase_node(rounding)
        graph.erase_node(moved)
        waiting += later.all_input_nodes
    graph.lint()
    converted.recompile()


def _tell_calls_apart(graph: Any) -> None:
    """Say of what a layer can be made up where each call comes from.

    The quantizer goes by modules otherwise, and refuses those that are called twice, as ResNet's blocks do with their
    activation; sums that no module made it does not know at all.
    """
    for node in graph.graph.nodes:
        kind = _SOURCES.get(getattr(node.target, "overloadpacket", None))
        if kind is not None:
            node.meta["source_fn_stack"] = [(node.name, kind)]


def _observers(prepared: Any) -> Iterator[tuple[str, Any]]:
    """Observers of what the network computes, each once, by the name of the tensor; those of weights are left out."""
    from torchao.quantization.pt2e.observer import ObserverBase

    seen = set()
    for node in prepared.graph.nodes:
        if node.op != "call_module" or node.args[0].op == "get_attr":
            continue
        observer = prepared.get_submodule(node.target)
        if isinstance(observer, ObserverBase) and id(observer) not in seen:  # one may stand behind several
            seen.add(id(observer))
            yield node.args[0].name, observer


def _set_ranges(prepared: Any, ranges: Ranges) -> None:
    """Put measured ranges in place of observers.

    Raises
    ------
    ModelError
        If the graph is not the one that they were measured in.
    """
    from torchao.quantization.pt2e.observer import FixedQParamsObserver

    observers = dict(_observers(prepared))
    if list(observers) != list(ranges):
        raise ModelError(
            "the model's int8 ranges were measured with another version of torch, torchao or geoseg; measure them "
            "again with `geoseg model quantize`"
        )
    fixed = {
        id(observer): FixedQParamsObserver(
            *ranges[name],
            dtype=observer.dtype,
            qscheme=observer.qscheme,
            quant_min=observer.quant_min,
            quant_max=observer.quant_max,
        )
        for name, observer in observers.items()
    }
    for target, module in list(prepared.named_modules(remove_duplicate=False)):
        if id(module) in fixed:
            prepared.set_submodule(target, fixed[id(module)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torchao says of its own use of torch."""
    logger = logging.getLogger("torch.utils._pytree")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
