"""Fold networks for prediction: the same function of the image with fewer operations."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

_RESNET: Final = "torchvision.models.resnet"
_UNET: Final = "segmentation_models_pytorch.decoders.unet.decoder"


def folded(network: nn.Module) -> nn.Module:
    """Return an equivalent network (up to rounding) with fewer operations, for evaluation only.

    - Batch normalisation right after a convolution scales and shifts each of its channels: it becomes
      part of the weights. This is done for neighbours in an `nn.Sequential`, and in torchvision's ResNets, which
      segmentation-models-pytorch uses.
    - Its U-Net upsamples by repeating pixels. A 3 x 3 convolution then sees only 2 x 2 different ones
      and four products replace nine (`_Doubling`).

    Parameters
    ----------
    network : nn.Module
        Maps (n, band, row, col) to logits (n, channel, row, col), of one dtype; it is not changed.

    Returns
    -------
    nn.Module
        Computes the same, with its own copy of the weights. A network with nothing to fold, or folded before, is
        returned unchanged, in evaluation mode.
    """
    if isinstance(network, _Folded) or not any(
        isinstance(module, nn.BatchNorm2d) or _is_unet(module) for module in network.modules()
    ):
        return network.eval()
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for first, second in _neighbours(module):
            _fold_normalisation(module, first, second)
    for module in list(network.modules()):
        if _is_unet(getattr(module, "decoder", None)):
            _fold_doublings(module)
    return _Folded(network).eval()


class _Folded(nn.Module):
    """A folded network: maps (n, band, row, col) to logits (n, channel, row, col)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self._network(image))


def _class(module: str, name: str) -> Any:
    """Return a class of a library, or () if the library is not loaded: then no object of it exists."""
    return getattr(sys.modules.get(module), name, ())


def _is_unet(decoder: object) -> bool:
    return isinstance(decoder, _class(_UNET, "UnetDecoder"))


def _neighbours(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield pairs of child names where the second child's only input is the first child's output."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        # Not by `named_children`, which leaves out a layer that comes a second time.
        names = (name for name, _ in module.named_modules(remove_duplicate=False))
        yield from pairwise(name for name in names if name and "." not in name)
    elif isinstance(module, tuple(_class(_RESNET, name) for name in ("ResNet", "BasicBlock", "Bottleneck"))):
        yield from (
            (f"conv{number}", f"bn{number}") for number in (1, 2, 3) if hasattr(module, f"bn{number}")
        )


def _fold_normalisation(module: nn.Module, first: str, second: str) -> None:
    convolution, normalisation = getattr(module, first), getattr(module, second)
    if type(convolution) is not nn.Conv2d or type(normalisation) is not nn.BatchNorm2d:
        return
    mean, variance = normalisation.running_mean, normalisation.running_var
    if mean is None or variance is None:  # normalises by the batch's own numbers
        return
    weight = convolution.weight
    # Copied because another layer may share it; without its weights, whose copy would take most of the time.
    fused = copy.deepcopy(convolution, {id(weight): weight})
    fused.weight, fused.bias = fuse_conv_bn_weights(
        weight, convolution.bias, mean, variance, normalisation.eps, normalisation.weight, normalisation.bias
    )
    setattr(module, first, fused)
    setattr(module, second, nn.Identity())


def _fold_doublings(network: nn.Module) -> None:
    """Replace the blocks of a U-Net decoder that upsample by repeating pixels."""
    encoder, decoder = cast(Any, network.encoder), cast(Any, network.decoder)
    deep = encoder.out_channels[-1]
    for number, block in enumerate(decoder.blocks):
        if block.interpolation_mode == "nearest" and isinstance(block.attention1.attention, nn.Identity):
            decoder.blocks[number] = _Doubling(block, deep)
        deep = block.conv2[0].out_channels


class _Doubling(nn.Module):
    """A block of a U-Net decoder that upsamples features by 2 and joins them with the skip connection.

    Repeating pixels and convolving them is a transposed convolution of stride 2, whose 4 x 4 weights are the
    3 x 3 ones convolved with the 2 x 2 square of a repeated pixel; the skip connection has its own weights,
    and both results are added up.

    Parameters
    ----------
    block : UnetDecoderBlock
        From segmentation-models-pytorch; its first convolution has weights (out, deep + skip, 3, 3).
    deep : int
        Channels of the features that are upsampled; they come first.
    """

    def __init__(self, block: Any, deep: int) -> None:
        super().__init__()
        self._block = block
        weights = block.conv1[0].weight.detach()
        # A transposed convolution scatters where a convolution gathers: weights rotated by 180°, channels swapped.
        spread = weights[:, :deep].flip(-2, -1).transpose(0, 1)
        for first, last in ((0, 0, 0, 1), (0, 0, 1, 0)), ((0, 1), (1, 0)):
            spread = functional.pad(spread, first) + functional.pad(spread, last)
        self._spread = _kept(spread)
        self._beside = _kept(weights[:, deep:]) if weights.shape[1] > deep else None

    def forward(
        self, features: Tensor, rows: int, cols: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Upsample features (n, deep, row, col) to `rows` x `cols` px and join them with the skip connection.

        Parameters
        ----------
        features : Tensor, (n, deep, rows / 2, cols / 2)
            For any other size the original block computes the result.
        rows, cols : int
            Size of the result, px.
        skip_connection : Tensor, (n, beside, rows, cols), optional
            Features of the encoder at the result's size.

        Returns
        -------
        Tensor, (n, out, rows, cols)
            Of the features' dtype.
        """
        block = self._block
        if (rows, cols) != (2 * features.shape[-2], 2 * features.shape[-1]):
            return cast(Tensor, block(features, rows, cols, skip_connection))
        convolution, normalisation, activation = block.conv1
        joined = functional.conv_transpose2d(features, self._spread, convolution.bias, stride=2, padding=1)
        if self._beside is not None:
            assert skip_connection is not None
            joined += functional.conv2d(skip_connection, self._beside, padding=1)
        return cast(Tensor, block.attention2(block.conv2(activation(normalisation(joined)))))


def _kept(weights: Tensor) -> nn.Parameter:
    return nn.Parameter(weights.contiguous(memory_format=torch.channels_last), requires_grad=False)
