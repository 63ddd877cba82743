"""Networks folded for prediction: the same function of the image with fewer operations."""

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
    """Return a network that computes the same up to rounding, and is for evaluation only.

    - Batch normalisation right behind a convolution multiplies each of its channels and adds to it: it becomes
      part of the weights. That is known of neighbours in an `nn.Sequential`, and of torchvision's ResNets, which
      are those of segmentation-models-pytorch.
    - Its U-Net doubles rows and columns by repeating pixels. A 3 x 3 convolution sees only 2 x 2 different ones
      then, and four products do for nine (`_Doubling`).

    Parameters
    ----------
    network : nn.Module
        Maps (n, band, row, col) to logits (n, channel, row, col), of one dtype; it is left as it is.

    Returns
    -------
    nn.Module
        Maps the same. It has weights of its own; a network with nothing to fold, or folded before, is returned
        itself, put into evaluation mode.
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
    """A network that was folded: (n, band, row, col) to logits (n, channel, row, col)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self._network(image))


def _class(module: str, name: str) -> Any:
    """Class of a library; without the library there are no objects of it, and it need not be loaded."""
    return getattr(sys.modules.get(module), name, ())


def _is_unet(decoder: object) -> bool:
    return isinstance(decoder, _class(_UNET, "UnetDecoder"))


def _neighbours(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of children of which the second is given what the first returns, as nobody else is."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        yield from pairwise(module._modules)
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
    # Another layer may share it. A copy of the weights, too, would be most of the time that folding takes.
    fused = copy.deepcopy(convolution, {id(weight): weight})
    fused.weight, fused.bias = fuse_conv_bn_weights(
        weight, convolution.bias, mean, variance, normalisation.eps, normalisation.weight, normalisation.bias
    )
    setattr(module, first, fused)
    setattr(module, second, nn.Identity())


def _fold_doublings(network: nn.Module) -> None:
    """Replace the blocks of a U-Net's decoder that double by repeating."""
    encoder, decoder = cast(Any, network.encoder), cast(Any, network.decoder)
    deep = encoder.out_channels[-1]
    for number, block in enumerate(decoder.blocks):
        if block.interpolation_mode == "nearest" and isinstance(block.attention1.attention, nn.Identity):
            decoder.blocks[number] = _Doubling(block, deep)
        deep = block.conv2[0].out_channels


class _Doubling(nn.Module):
    """A block of a U-Net's decoder: features of `deep` channels, twice as large, joined with those of their size.

    Repeating pixels and convolving them is a transposed convolution of stride 2, whose 4 x 4 weights are the
    3 x 3 ones convolved with the 2 x 2 square of a repeated pixel; the joined features have weights of their own,
    and both results are added up.

    Parameters
    ----------
    block : UnetDecoderBlock
        Of segmentation-models-pytorch; its first convolution has weights (out, deep and beside, 3, 3).
    deep : int
        Channels of the features that are doubled; they come first.
    """

    def __init__(self, block: Any, deep: int) -> None:
        super().__init__()
        self._block = block
        weights = block.conv1[0].weight.detach()
        # A transposed convolution spreads where a convolution gathers: weights turned by half, channels exchanged.
        spread = weights[:, :deep].flip(-2, -1).transpose(0, 1)
        for first, last in ((0, 0, 0, 1), (0, 0, 1, 0)), ((0, 1), (1, 0)):
            spread = functional.pad(spread, first) + functional.pad(spread, last)
        self._spread = _kept(spread)
        self._beside = _kept(weights[:, deep:]) if weights.shape[1] > deep else None

    def forward(
        self, features: Tensor, rows: int, cols: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Double features (n, deep, row, col) to `rows` x `cols` px and join them with those beside them.

        Parameters
        ----------
        features : Tensor, (n, deep, rows / 2, cols / 2)
            Of another size they are left to the block that was replaced.
        rows, cols : int
            Size of the result, px.
        skip_connection : Tensor, (n, beside, rows, cols), optional

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
