"""Open a layer in QGIS itself and tell what it sees; run by QGIS's own Python, which has no pytest.

usage: qgis_probe.py INPUT.json

INPUT is a list of {"kind": "vector" or "raster", "uri", "png", "extent": [W, S, E, N], "points": [[x, y]]}.
Each layer is opened as by dragging it into QGIS, rendered to `png`, and described on stdout as JSON. A vector layer
with "labels", {point: code}, is labelled first, as by its form.
"""

import json
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def probe(wanted):
    kind = QgsVectorLayer if wanted["kind"] == "vector" else QgsRasterLayer
    provider = "ogr" if wanted["kind"] == "vector" else "gdal"
    layer = kind(wanted["uri"], "probe", provider)
    if not layer.isValid():
        return {"valid": False}
    # What the QGIS window does when it adds a layer: the default style of the file or beside it.
    layer.loadDefaultStyle()
    if "labels" in wanted:
        label(layer, wanted["labels"])
    west, south, east, north = wanted["extent"]
    image, settings = render(layer, QgsRectangle(west, south, east, north))
    image.save(wanted["png"])
    to_pixel = settings.mapToPixel()
    colors = []
    for x, y in wanted["points"]:
        at = to_pixel.transform(x, y)
        colors.append(image.pixelColor(int(at.x()), int(at.y())).name())
    return {"valid": True, "crs": layer.crs().authid(), "colors": colors, **describe(layer)}


def label(layer, codes):
    layer.startEditing()
    field = layer.fields().indexOf("reference")
    for feature in list(layer.getFeatures()):
        if str(feature["point"]) in codes:
            layer.changeAttributeValue(feature.id(), field, codes[str(feature["point"])])
    assert layer.commitChanges(), layer.commitErrors()


def form_of(layer):
    """What the form shows for each attribute: its widget, the choices of a list, and whether it can be changed."""
    found = {}
    for index, field in enumerate(layer.fields()):
        widget = layer.editorWidgetSetup(index)
        choices = [next(iter(each.items())) for each in widget.config().get("map", [])]
        read_only = layer.editFormConfig().readOnly(index)
        found[field.name()] = [widget.type(), choices, not read_only, layer.attributeDisplayName(index)]
    return found


def describe(layer):
    renderer = layer.renderer()
    if isinstance(layer, QgsVectorLayer):
        categories = [
            [_value(category.value()), category.label(), category.symbol().color().name()]
            for category in renderer.categories()
        ]
        geometries = [feature.geometry() for feature in layer.getFeatures()]
        return {
            "renderer": renderer.type(),
            "attribute": renderer.classAttribute(),
            "categories": categories,
            "features": layer.featureCount(),
            "fields": [field.name() for field in layer.fields()],
            "form": form_of(layer),
            "all_valid": all(geometry.isGeosValid() for geometry in geometries),
            "area": sum(geometry.area() for geometry in geometries),
        }
    paletted = isinstance(renderer, QgsPalettedRasterRenderer)
    classes = [[c.value, c.label, c.color.name()] for c in renderer.classes()] if paletted else []
    return {"renderer": renderer.type(), "categories": classes, "size": [layer.width(), layer.height()]}


def _value(value):
    """Return a category's value: a code, or a text."""
    return int(value) if str(value).lstrip("-").isdecimal() else str(value)


def render(layer, extent):
    """Draw a layer 800 px wide or high, white where it has nothing; return the image and its settings."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(QColor("white"))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    scale = 800 / max(extent.width(), extent.height())
    settings.setOutputSize(QSize(round(extent.width() * scale), round(extent.height() * scale)))
    settings.setExtent(extent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage(), settings


def main():
    application = QgsApplication([], False)
    application.initQgis()
    found = [probe(wanted) for wanted in json.loads(Path(sys.argv[1]).read_text())]
    print(json.dumps(found))
    application.exitQgis()


if __name__ == "__main__":
    main()
