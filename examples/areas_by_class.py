"""Segment a scene and ask the polygons questions with geopandas.

    python examples/areas_by_class.py [FOLDER]

Writes the large fields as a styled GeoPackage into FOLDER.
"""

import sys
from pathlib import Path

import geoseg
from geoseg.demo.scene import PACKAGED

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "geoseg-examples")
folder.mkdir(parents=True, exist_ok=True)

model = geoseg.Model.open(PACKAGED.model)
polygons = geoseg.segment(PACKAGED.bands, model)  # a file for each band, by its name
print(polygons.drop(columns="geometry").head())

# area_m2 is true ground area, whatever the CRS does to it.
by_class = polygons.groupby("class_name").agg(
    polygons=("pixels", "size"),
    hectares=("area_m2", lambda area: area.sum() / 1e4),
    largest_ha=("area_m2", lambda area: area.max() / 1e4),
    confidence=("confidence", "mean"),
)
print(by_class.sort_values("hectares", ascending=False).round(2))

# Fields and wetland of a hectare and more that the model is fairly sure of, in the colours of the legend.
fields = polygons.query("class_name == 'fields and wetland' and area_m2 >= 1e4 and confidence >= 0.6")
output = geoseg.write(
    fields, folder / "fields.gpkg", legend=model.card.classes, layer="fields", overwrite=True
)
print(f"{len(fields)} of {len(polygons)} polygons written to {output}")
