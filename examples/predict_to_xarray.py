"""Classify a scene in memory: an xarray.Dataset comes back, georeferenced and with its legend.

    python examples/predict_to_xarray.py [FOLDER]

Writes a picture of the map and of how sure the model is, and the map of what it is sure of, into FOLDER.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import geoseg
from geoseg.demo.scene import PACKAGED

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "geoseg-examples")
folder.mkdir(parents=True, exist_ok=True)

model = geoseg.Model.open(PACKAGED.model)
print(model)

# A file for each band, by its name; the model takes those that its card asks for.
result = geoseg.predict(PACKAGED.bands, model)
print(result)

# CF attributes say what the codes mean.
landcover, confidence = result["landcover"], result["confidence"]
names = landcover.attrs["flag_meanings"].split()
for code, name in zip(landcover.attrs["flag_values"], names, strict=True):
    here = landcover == code
    sure = float(confidence.where(here).mean()) if here.any() else float("nan")
    print(f"{name:20} {float(here.mean()):6.1%} of the scene, mean confidence {sure:.2f}")

# Keep only what the model is sure of; 255 is no data. rioxarray knows grid and CRS.
surely = landcover.where(confidence >= 0.9, np.uint8(255)).astype("uint8")
surely.rio.write_nodata(255).rio.to_raster(folder / "surely.tif")

legend = model.card.classes
index = np.searchsorted(legend.codes, landcover.to_numpy())
figure = Figure(figsize=(12, 5.5), layout="constrained")
left, right = figure.subplots(1, 2)
west, south, east, north = landcover.rio.bounds()
extent = (west, east, south, north)
left.imshow(index, ListedColormap([c.color for c in legend.classes]), extent=extent, interpolation="nearest")
left.set_title("land cover")
shade = right.imshow(confidence, "magma", vmin=0, vmax=1, extent=extent, interpolation="nearest")
right.set_title("confidence")
figure.colorbar(shade, ax=right, label="probability of the written class")
figure.savefig(folder / "landcover.png", dpi=120)
