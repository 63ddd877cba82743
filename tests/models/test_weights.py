"""Weights are read and named without torch as they are with it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from geoseg.errors import ModelError
from geoseg.models.model import Model, weights_sha256
from geoseg.models.weights import as_stored, as_tensors, digest_of, read_weights, widened

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.float8_e4m3fn,
    torch.float8_e5m2,
)  # fmt: skip


def digest_with_torch(tensors: dict[str, torch.Tensor]) -> str:
    """What every model file written so far has been named by."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def any_bits(dtype: torch.dtype, shape: list[int], seed: int) -> torch.Tensor:
    """A tensor whose bytes may be anything, NaN and numbers below the smallest normal ones too."""
    size = torch.empty(shape, dtype=dtype).numel() * dtype.itemsize
    bits = torch.randint(
        0, 2 if dtype is torch.bool else 256, (size,), generator=torch.Generator().manual_seed(seed)
    )
    return bits.to(torch.uint8).view(dtype).reshape(shape)


tensors_of_all_kinds = st.dictionaries(
    st.text("abc.éü0", min_size=1, max_size=6),
    st.builds(
        any_bits, st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4), st.integers(0, 2**31)
    ),
    max_size=5,
)


@given(tensors_of_all_kinds)
def test_digests_are_the_same_with_and_without_torch(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "t.safetensors"
    save_file(tensors, path)
    read = read_weights(path)
    assert digest_of(read) == digest_with_torch(tensors) == weights_sha256(tensors)
    again = as_tensors(read)
    assert digest_with_torch(again) == digest_with_torch(tensors)
    assert as_stored(again).keys() == read.keys()


@given(
    st.sampled_from([torch.float16, torch.bfloat16]),
    st.lists(st.integers(0, 5), max_size=3),
    st.integers(0, 999),
)
def test_halves_are_widened_as_torch_does_it(dtype: torch.dtype, shape: list[int], seed: int) -> None:
    half = any_bits(dtype, shape, seed)
    half[half.isnan()] = 1.5  # which no file of a model holds
    (found,) = as_tensors(widened(as_stored({"w": half}))).values()
    assert found.dtype == torch.float32
    assert torch.equal(found, half.float())


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
def test_an_unbuilt_network_has_the_digest_of_the_built_one(
    model: Model, tmp_path: Path, weights: Any
) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path, weights=weights)
    unbuilt = Model.open(path, build=False).digest
    assert unbuilt == Model.open(path).digest
    assert (unbuilt == model.digest) == (weights == "fp32")


def test_a_type_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    header = json.dumps({"w": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match=r"weights cannot be read \(their type 'F8_E8M0' is not known\)"):
        read_weights(path)


SCRIPT = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import geoseg
from geoseg_cli.predict import command
from geoseg.errors import ModelError
from geoseg.inference.fingerprint import fingerprint_of
from geoseg.inference.predict import predict
from geoseg.models.graphs import graph_of, kept_graph
from geoseg.models.model import Model
model = Model.open(sys.argv[1], build=False)
print(model.card.weights_sha256 == model.digest, model.wrapped, kept_graph(model, (32, 32)))
for needs in (Model.open, lambda path: graph_of(Model.open(path, build=False), (32, 32))):
    try:
        needs(sys.argv[1])
    except ModelError as error:
        print(error)
"""


def test_without_torch_a_model_is_read_and_not_built(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    command = [sys.executable, "-c", SCRIPT, str(path)]
    environment = {**os.environ, "GEOSEG_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    needs = (
        f"{path}: building its network needs the package torch, which is not installed: pip install geoseg "
        "installs all that it needs; or use a file written by geoseg model export elsewhere"
    )
    assert run.stdout.splitlines() == ["True False None", needs, needs]
