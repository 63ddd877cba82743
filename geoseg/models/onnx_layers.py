"""Match the weights of a graph with those of a network: by name, or else by the order of the layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from geoseg.errors import Message, ModelError, plural
from geoseg.models.onnx_network import OnnxNetwork, OnnxNode

_TRIED: Final = 64  # px
_COUNT: Final = "num_batches_tracked"
"""Counters that no output depends on."""
SAY_NETWORK: Final = Message(
    "pass the {architecture}, {encoder} and {decoder_options} that it was built with"
)
_REMEDY: Final = (
    "in the program that made it, save its weights: torch.save(model.state_dict(), 'weights.pth')"
)
_CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
_NORM: Final = "BatchNormalization"


@dataclass(frozen=True, slots=True)
class GraphWeights:
    """Weights of a network, as far as a graph has them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Tensors by the network's names. Those that its output does not depend on keep the network's values.
    folded : int
        Number of batch normalisations that are folded into the graph's convolutions; they only add a bias
        then. The network gives the same results, but training would use other batch statistics.
    """

    tensors: Mapping[str, torch.Tensor]
    folded: int = 0


def weights_of_graph(
    network: nn.Module, found: Mapping[str, torch.Tensor], onnx: OnnxNetwork, bands: int
) -> GraphWeights:
    """Find the weights of a network in a graph.

    Parameters
    ----------
    network : Module
        The network that the graph is expected to be; in evaluation mode, not changed.
    found : mapping of str to Tensor
        The graph's weights by name, without the prefixes of wrappers.
    onnx : OnnxNetwork
        The graph.
    bands : int
        Number of bands of the network.

    Returns
    -------
    GraphWeights
        The weights; matched by name if their order does not help.

    Raises
    ------
    ModelError
        If names are lost, and the order of the layers does not match the network.
    """
    own = network.state_dict()
    layers = _layers(network, bands)
    needed = {
        name
        for prefix, layer in layers
        for name in (f"{prefix}.{key}" for key in layer.state_dict())
        if name in own and not name.endswith(_COUNT)
    }
    parts = {name.partition(".")[0] for name in own}
    named = {name: tensor for name, tensor in found.items() if name.partition(".")[0] in parts}
    kept = {
        name: tensor
        for name, tensor in own.items()
        if name.endswith(_COUNT) or (layers and name not in needed)
    }
    if not layers or needed <= set(named):
        return GraphWeights({**kept, **named})
    try:
        ordered = _by_order(layers, onnx)
    except ModelError as error:
        if 2 * len(needed & set(named)) < len(needed):
            raise
        if _convolutions_of(onnx) != _convolutions_in(layers) or _shapes_differ(own, named):
            return GraphWeights({**kept, **named})
        lost = sorted(needed - set(named))
        raise ModelError(
            f"the names of {len(lost)} of {plural(len(needed), 'weight')} ({lost[0]}, ...) are lost, and they "
            f"cannot be found by the order of its layers; {_REMEDY}"
        ) from error
    return GraphWeights({**kept, **ordered.tensors}, ordered.folded)


def _convolutions_of(onnx: OnnxNetwork) -> int:
    return sum(node.operation in _CONVOLUTIONS for node in onnx.nodes)


def _convolutions_in(layers: Sequence[tuple[str, nn.Module]]) -> int:
    return sum(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for _, layer in layers)


def _shapes_differ(own: Mapping[str, torch.Tensor], named: Mapping[str, torch.Tensor]) -> bool:
    return any(named[name].shape != own[name].shape for name in own.keys() & named.keys())


def _layers(network: nn.Module, bands: int) -> list[tuple[str, nn.Module]]:
    """Return the layers that the output depends on, in the order of computation; none if that fails."""
    called: list[tuple[str, nn.Module]] = []
    hooks = [
        module.register_forward_pre_hook(lambda layer, _, name=name: called.append((name, layer)))
        for name, module in network.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    ]
    weights = list(network.parameters())
    try:
        with torch.enable_grad():
            answer = network(torch.zeros(1, bands, _TRIED, _TRIED))
            slopes = torch.autograd.grad(answer.sum(), weights, allow_unused=True)
    except (RuntimeError, ValueError, AssertionError):  # the image may be too small for the network
        return []
    finally:
        for hook in hooks:
            hook.remove()
    # Encoders compute more than a shallow decoder uses; a graph does not contain these layers.
    used = {id(weight) for weight, slope in zip(weights, slopes, strict=True) if slope is not None}
    return [
        (name, layer) for name, layer in called if used & {id(w) for w in layer.parameters(recurse=False)}
    ]


def _by_order(layers: Sequence[tuple[str, nn.Module]], onnx: OnnxNetwork) -> GraphWeights:
    """Assign the weights of the graph's layers to the network's, in order."""
    nodes = [node for node in onnx.nodes if node.operation in (*_CONVOLUTIONS, _NORM)]
    if (found := _convolutions_of(onnx)) != (expected := _convolutions_in(layers)):
        raise ModelError(
            f"has {plural(found, 'convolution')} under names that are not segmentation-models-pytorch's, the "
            "network named has "
            f"{expected}",
            SAY_NETWORK,
        )
    tensors: dict[str, torch.Tensor] = {}
    folded, pending, rest = 0, None, iter(nodes)
    node, made = next(rest, None), tuple[str, ...]()
    for name, layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            # A normalisation belongs to the next layer if the convolution before it has another layer's bias.
            if node is not None and node.operation == _NORM and (pending is None or node.inputs[0] in made):
                keys = ("weight", "bias", "running_mean", "running_var")
                tensors |= _fitting(name, layer, dict(zip(keys, _weights(node, onnx), strict=False)))
                node, pending = next(rest, None), None
                continue
            tensors |= {f"{name}.{key}": tensor for key, tensor in _adding(layer, pending).items()}
            folded, pending = folded + 1, None
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            if node is None or node.operation not in _CONVOLUTIONS:
                raise ModelError(f"has no convolution where {name} is expected")
            weights = dict(zip(("weight", "bias"), _weights(node, onnx), strict=False))
            pending = weights.pop("bias", None) if layer.bias is None else None
            tensors |= _fitting(name, layer, weights)
            made, node = node.outputs, next(rest, None)
        else:
            raise ModelError(
                f"the names of its weights are lost, and those of a {type(layer).__name__} ({name}) cannot be "
                "found by "
                f"the order of its layers; {_REMEDY}"
            )
    return GraphWeights(tensors, folded)


def _weights(node: OnnxNode, onnx: OnnxNetwork) -> Iterator[torch.Tensor]:
    """Yield the weights of an operation."""
    for name in node.inputs[1:]:
        if name not in onnx.tensors:
            raise ModelError(f"computes the weights of a {node.operation}, expected numbers")
        yield torch.from_numpy(onnx.tensors[name])


def _fitting(name: str, layer: nn.Module, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a layer by the network's names; all must be present, with the right shapes."""
    for key, tensor in layer.state_dict().items():
        shape = list(found[key].shape) if key in found else None
        if key != _COUNT and shape != list(tensor.shape):
            raise ModelError(
                f"has lost the names of its weights, and by order {name}.{key} has shape {shape}, expected "
                f"{list(tensor.shape)}",
                SAY_NETWORK,
            )
    return {f"{name}.{key}": tensor for key, tensor in found.items()}


def _adding(layer: nn.BatchNorm2d, bias: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Return weights with which a batch normalisation only adds a bias."""
    zeros = torch.zeros(layer.num_features)
    ones = torch.ones(layer.num_features)
    return {
        "weight": ones * (1 + layer.eps) ** 0.5,
        "bias": zeros if bias is None else bias,
        "running_mean": zeros,
        "running_var": ones,
    }
