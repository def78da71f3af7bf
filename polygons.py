"""After step 5: the final maps as polygons, with class, name and area, for QGIS and databases.

    python polygons.py --data_dir data

Reads data/test/maskN/filled.tif (else vote.tif, else the best prediction); writes data/polygons/image_N.gpkg.
"""

from jingwei.cli.polygons import polygons_command

if __name__ == "__main__":
    polygons_command()
