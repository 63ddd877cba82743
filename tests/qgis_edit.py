"""Edit land-cover polygons as a person does in QGIS; run by QGIS's own Python, which has no pytest.

usage: qgis_edit.py EDITED.gpkg SAVED.gpkg

In the layer ``landcover`` of the first file the code of every third polygon becomes 3 and its name stays; a square with
a code and nothing else is added, and a column ``note``. The second file is that layer saved again as multipolygons.
"""

import sys

from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant


def main():
    edited, saved = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    layer = QgsVectorLayer(f"{edited}|layername=landcover", "landcover", "ogr")
    assert layer.isValid()
    corner = QgsPointXY(layer.extent().xMinimum(), layer.extent().yMaximum())
    layer.startEditing()
    layer.addAttribute(QgsField("note", QVariant.String))
    code = layer.fields().indexOf("class_code")
    for feature in list(layer.getFeatures())[::3]:
        layer.changeAttributeValue(feature.id(), code, 3)
    added = QgsFeature(layer.fields())
    added.setAttribute("class_code", 9)
    square = QgsRectangle(corner.x() + 20, corner.y() - 40, corner.x() + 40, corner.y() - 20)
    added.setGeometry(QgsGeometry.fromRect(square))
    layer.addFeature(added)
    assert layer.commitChanges(), layer.commitErrors()
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName, options.forceMulti = "landcover", True
    context = QgsProject.instance().transformContext()
    done = QgsVectorFileWriter.writeAsVectorFormatV2(layer, saved, context, options)
    assert done[0] == QgsVectorFileWriter.NoError, done
    del layer
    application.exitQgis()


if __name__ == "__main__":
    main()
