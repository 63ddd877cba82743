"""Where no network is named, one that begins with what it knows; what is named stays."""

from __future__ import annotations

from typing import Any

import pytest

from geoseg.models.default_network import ChosenNetwork

LITE, LIGHT = "tu-tf_efficientnet_lite0", {"decoder_channels": [128, 64, 32, 16, 16]}
PIXELS = {**LIGHT, "decoder_pixel_channels": 32}


@pytest.mark.parametrize(
    ("said", "encoder", "weights", "options"),
    [
        ({}, LITE, "packaged", LIGHT),
        ({"architecture": "unet"}, LITE, "packaged", LIGHT),
        ({"encoder_weights": "none"}, LITE, None, LIGHT),
        ({"encoder_weights": "imagenet"}, LITE, "imagenet", LIGHT),
        ({"started": True}, LITE, None, LIGHT),
        ({"gsd_m": 4.9}, LITE, "packaged", LIGHT),
        ({"gsd_m": 5.0}, LITE, "packaged", PIXELS),
        ({"gsd_m": 10.0, "started": True}, LITE, None, PIXELS),
        ({"gsd_m": 10.0, "architecture": "FPN"}, LITE, "packaged", {}),
        ({"gsd_m": 10.0, "encoder": "resnet34"}, "resnet34", None, {}),
        ({"architecture": "FPN"}, LITE, "packaged", {}),
        ({"decoder_options": {"encoder_depth": 3}}, LITE, "packaged", {"encoder_depth": 3}),
        ({"architecture": "Unet2015"}, "published", None, {}),
        ({"encoder": "resnet34"}, "resnet34", None, {}),
        ({"encoder": "resnet34", "encoder_weights": "none"}, "resnet34", None, {}),
        ({"encoder": "resnet34", "encoder_weights": "imagenet"}, "resnet34", "imagenet", {}),
    ],
)
def test_what_is_left_open_follows(
    said: dict[str, Any], encoder: str, weights: str | None, options: dict[str, Any]
) -> None:
    found = ChosenNetwork(**said).settled()
    assert (found.encoder, found.encoder_weights, found.decoder_options) == (encoder, weights, options)
    assert found.settled() == found
