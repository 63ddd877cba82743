"""Model files: weights and their card, read and verified without torch, written and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OutputError
from geoseg.models.card import CARD_KEY, Card
from geoseg.models.card_file import read_card
from geoseg.models.exported import is_exported, read_exported
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.one_line import first_line
from geoseg.models.weights import StoredTensor, as_tensors, digest_of, read_weights, widened
from geoseg.storage.output import claim

if TYPE_CHECKING:
    import torch

_GRAPH = ("geoseg.int8.xml", "geoseg.int8.bin")
"""Names of the two parts of an int8 graph among the tensors of a model file."""


@dataclass(frozen=True)
class StoredNetwork:
    """A network in a model file that is not built yet.

    Parameters
    ----------
    path : Path
        The file, for messages.
    card : Card
        The model's card.
    weights : dict of str to Stored
        Weights by name, as they are stored.
    """

    path: Path
    card: Card
    weights: dict[str, StoredTensor]

    @cached_property
    def digest(self) -> str:
        """Digest of the weights that the built network has."""
        return digest_of(widened(self.weights))

    def build(self) -> torch.nn.Module:
        """Build the network, in evaluation mode.

        Raises
        ------
        ModelError
            If weights and card do not match, or torch is not installed.
        """
        try:
            from geoseg.models.network import build

            network = build(NetworkPlan.of(self.card))
            tensors = as_tensors(self.weights)
            _require_names(tensors, network)
            network.load_state_dict(tensors, strict=True)
        except ModelError as error:
            raise error.into(ModelError, self.path) from error
        except ModuleNotFoundError as error:
            raise ModelError(
                f"{self.path}: building its network needs the package {error.name}, which is not installed: pip "
                "install geoseg installs all that it needs; or use a file written by geoseg model export elsewhere"
            ) from error
        except RuntimeError as error:
            raise ModelError(f"{self.path}: its weights do not fit its card ({first_line(error)})") from error
        return network.eval()


def check_name(path: Path) -> None:
    """Raise OutputError for a path that does not end in ``.safetensors``.

    Raises
    ------
    OutputError
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: a model file's name ends in .safetensors")


def read_model(path: Path) -> tuple[Card, dict[str, StoredTensor], GraphBytes | None]:
    """Read the card of a model file, the weights as they are stored, and the int8 graph, if any.

    Raises
    ------
    ModelError
        If the file is not a model file, or was changed since it was written.
    """
    if is_exported(path):
        read_exported(path).build()
    card = read_card(path)
    weights = read_weights(path)
    parts = [weights.pop(name).data for name in _GRAPH if name in weights]
    int8 = GraphBytes(*map(bytes, parts)) if len(parts) == len(_GRAPH) else None
    found = digest_of(weights)
    if found != card.weights_sha256:
        raise ModelError(
            f"{path}: its weights are not the ones that its card names (sha256 {found[:12]}, expected "
            f"{card.weights_sha256[:12] or 'none'}); the file is damaged or was changed, fetch it again"
        )
    asked = None if card.quantization is None else card.quantization.graph_sha256
    if (None if int8 is None else int8.sha256) != asked:
        raise ModelError(
            f"{path}: its int8 graph is not the one that its card names; the file is damaged or was changed, fetch it "
            "again"
        )
    return card, weights, int8


def write_model(
    path: Path,
    card: Card,
    weights: Mapping[str, StoredTensor],
    int8: GraphBytes | None = None,
    *,
    overwrite: bool,
) -> None:
    """Write a model file, verify it by reading it back, and rename it into place.

    Parameters
    ----------
    path : Path
        The file.
    card : Card
        The card, with the `weights_sha256` of the weights.
    weights : mapping of str to Stored
        Weights by name.
    int8 : GraphBytes, optional
        The int8 graph that the card's `quantization` describes.
    overwrite : bool
        Whether a file may be replaced.

    Raises
    ------
    OutputError, OutputExistsError
        The previous file is untouched then.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    graph = () if int8 is None else (int8.operations, int8.weights)
    parts = {
        name: StoredTensor("uint8", (len(part),), bytearray(part))
        for name, part in zip(_GRAPH, graph, strict=False)
    }
    with claim(path, overwrite=overwrite) as output:
        part = output.scratch / "model.safetensors"
        try:
            save_file(as_tensors({**weights, **parts}), part, metadata={CARD_KEY: card.to_json()})
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
        try:
            written = read_model(part)[0]
        except ModelError:
            written = None
        if written != card:
            raise OutputError(
                f"{path}: the content read back differs from what was written; the disk may be faulty"
            )
        output.commit(part)


def _require_names(tensors: Mapping[str, torch.Tensor], network: torch.nn.Module) -> None:
    """Raise ModelError for missing and unknown tensors; torch's own check ignores counters of BatchNorm."""
    expected = set(network.state_dict())
    odd = sorted(expected ^ set(tensors))
    if odd:
        words = "is missing" if odd[0] in expected else "is not part of the network"
        raise ModelError(f"its weights do not fit its card: {odd[0]} {words} ({len(odd)} in all)")
