"""Raster Vision's part of `bench_peers.py`: ``python peer_rastervision.py FOLDER TILE OVERLAP BATCH``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from rastervision.core.data import ClassConfig, SemanticSegmentationLabels
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
    SolverConfig,
)

NAMES = list("abcdefg")


def main() -> None:
    folder, tile, overlap, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    classes = ClassConfig(names=NAMES, null_class=NAMES[0])
    network = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=len(NAMES)).eval()
    network.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
    config = SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=classes, num_workers=0),
        solver=SolverConfig(batch_sz=batch),
    )
    learner = SemanticSegmentationLearner(
        config, output_dir=str(folder / "rastervision"), model=network, training=False
    )
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        dataset = SemanticSegmentationSlidingWindowGeoDataset.from_uris(
            image_uri=str(folder / "scene.tif"), class_config=classes, size=tile, stride=tile - overlap
        )
        found = learner.predict_dataset(
            dataset, raw_out=True, numpy_out=True, predict_kw={"out_shape": (tile, tile)}, progress_bar=False
        )
        labels = SemanticSegmentationLabels.from_predictions(
            dataset.windows, found, smooth=True, extent=dataset.scene.extent, num_classes=len(NAMES)
        )
        labels.save(
            str(folder / "rastervision-labels"),
            crs_transformer=dataset.scene.raster_source.crs_transformer,
            class_config=classes,
        )
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
