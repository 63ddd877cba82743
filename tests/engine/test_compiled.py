"""Networks compiled by torch, and those that cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from geoseg.engine.compiled import compiled
from geoseg.errors import OptionError


class Uncompilable(nn.Module):
    """One of its branches returns its input itself, which torch's compiler refuses."""

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = torch.cond(inputs.sum() > 0, lambda x: x, lambda x: x + 1, (inputs,))
        return found


@pytest.mark.long  # loading the compiler takes seconds
def test_a_network_that_cannot_be_compiled_is_refused_in_one_line() -> None:
    """If torch moves ``torch._dynamo.exc.TorchDynamoException``: no network can be predicted with on a GPU with
    ``--compile``, and one that cannot be compiled ends in a traceback.
    """
    expected = r"^the network cannot be compiled here: .+; leave compile=True out$"
    with pytest.raises(OptionError, match=expected) as caught:
        compiled(Uncompilable())(torch.ones(2, 3))
    assert "\n" not in str(caught.value)
