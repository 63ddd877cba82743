"""Make a model file that nobody has trained, look at its card, and run it.

    python examples/untrained_model.py [FOLDER]

The map is noise, but everything around the weights is real: it is the quickest way to try an architecture, a
tile size or a machine before there is anything to train on.
"""

import sys
from pathlib import Path

import geoseg
from geoseg.demo.scene import PACKAGED

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "geoseg-examples")
folder.mkdir(parents=True, exist_ok=True)

model = geoseg.Model.new(
    architecture="Unet",
    encoder="tu-mobilenetv3_small_100",  # any pair that segmentation-models-pytorch accepts
    bands=["blue", "green", "red", "nir"],
    dtype="uint16",
    classes=geoseg.Legend.parse("water=#4492ce,forest=#228b22,field=#f0c75e,built"),
    gsd_m=30,
    tile_size=256,
)
print(model)
model.save(folder / "untrained.safetensors", weights="fp16", overwrite=True)

output = geoseg.segment(
    PACKAGED.bands,
    folder / "untrained.safetensors",
    output=folder / "untrained.gpkg",
    overwrite=True,
)
print(f"{output} opens in QGIS in the colours of the legend")
