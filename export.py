"""A trained network for other programs: ONNX for QGIS's plug-in Deepness, with a model card beside it.

    python export.py
    python export.py --checkpoint data/model/swa/demo/best.pt --output swa.onnx --int8

Reads data/model/<recipe>/<exp>/best.pt; writes data/export/<recipe>_<exp>.onnx and .json.
"""

from jingwei.cli.export import export_command

if __name__ == "__main__":
    export_command()
