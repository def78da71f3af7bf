"""After a prediction, or before the first: where labels would teach most, as polygons to label in QGIS.

    python label.py --data_dir data

Writes data/label/image_N/next.gpkg. Label in it, cut and train again, and call this again: see docs/label.md.
"""

from jingwei.cli.label import label_command

if __name__ == "__main__":
    label_command()
