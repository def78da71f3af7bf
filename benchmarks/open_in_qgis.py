"""Opens a scene, its maps, polygons, points and places to label in real QGIS: is all where and what it should be?

    python benchmarks/open_in_qgis.py [--folder DIR] [--qgis /usr/bin/python3]

Makes two small worlds, one with a CRS and one without, by the library itself, and then starts the Python that QGIS is
installed for (Debian: python3-qgis), without a screen. Checked: extents coincide to the pixel; classes have the
legend's names and colours; bands their names; labels a list to choose from; no geometry is invalid. Writes a picture
of each world, as QGIS draws it, to look at.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

SIDE = (1100, 1300)  # px: so that maps have overviews
PLACES = ((100, 260, 256, 256), (700, 800, 256, 256))  # to label next: row, column, height, width
WORLDS = {"placed": "EPSG:32650", "nowhere": None}


def make_world(folder: Path, crs: str | None) -> None:
    """A scene, votes over two maps of it, probabilities, polygons and a sample; `expected.json` says what they are."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin

    import jingwei
    from jingwei.evaluation.sampling_design import draw_sample
    from jingwei.grid import Window
    from jingwei.labelling.places import Place, write_places
    from jingwei.legend import JINGWEI, NODATA
    from jingwei.raster.map_legend import legend_tags
    from jingwei.raster.reading import Raster
    from jingwei.raster.writing import TiledWriter

    folder.mkdir(parents=True, exist_ok=True)
    height, width = SIDE
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 5, (height // 50, width // 65))
    labels = np.kron(coarse, np.ones((50, 65), int))[:height, :width].astype(np.uint8)
    colors = np.array([c.color for c in JINGWEI.classes], np.uint8)
    scene = (colors[labels] // 2 + rng.integers(0, 60, (height, width, 1))).astype(np.uint8).transpose(2, 0, 1)
    place = {"crs": crs, "transform": from_origin(500_000, 4_400_000, 0.5, 0.5)} if crs else {}
    kind = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / "scene.tif", "w", **kind, **place) as file:
        file.write(scene)
    maps = [folder / "a.tif", folder / "b.tif"]
    with Raster(folder / "scene.tif") as like:
        for path, share in zip(maps, (0.0, 0.1), strict=True):
            noisy = np.where(rng.random(labels.shape) < share, (labels + 1) % 5, labels).astype(np.uint8)
            noisy[:100, :130] = NODATA
            form = {"nodata": NODATA, "colormap": JINGWEI.colormap(), "tags": legend_tags(JINGWEI)}
            with TiledWriter(path, height, width, like=like, **form) as writer:
                writer.write(Window(0, 0, height, width), noisy)
        chances = np.stack([(labels == c) * np.uint8(255) for c in range(5)])
        form = {"bands": 5, "nodata": 0, "band_names": JINGWEI.names, "overviews": True}
        with TiledWriter(folder / "probabilities.tif", height, width, like=like, **form) as writer:
            writer.write(Window(0, 0, height, width), chances)
    jingwei.vote(maps, folder / "vote.tif")
    jingwei.polygonize(folder / "vote.tif", folder / "polygons.gpkg", background=True, simplify=1.0)
    jingwei.polygonize(folder / "vote.tif", folder / "polygons.geojson", background=True, pixels=not crs)
    (folder / "sample.gpkg").unlink(missing_ok=True)
    draw_sample(folder / "vote.tif", folder / "sample.gpkg", JINGWEI, 60)
    places = [Place(rank, Window(*window), "unsure", 0.5) for rank, window in enumerate(PLACES, 1)]
    with Raster(folder / "scene.tif") as image:
        write_places(folder / "next.gpkg", places, image, folder / "vote.tif", JINGWEI, 1.0)
    extent = [500_000, 4_400_000 - height / 2, 500_000 + width / 2, 4_400_000] if crs else [0, -height, width, 0]
    pixel = 0.5 if crs else 1
    legend = [[c.id, c.name, "#{:02x}{:02x}{:02x}".format(*c.color)] for c in JINGWEI.classes]
    content = {"crs": crs, "extent": extent, "pixel": pixel, "legend": legend}
    (folder / "expected.json").write_text(json.dumps(content), encoding="utf-8")


def look(folder: Path) -> list[str]:
    """What QGIS finds in a world that is not as expected. Runs in QGIS's Python, which knows nothing of ours."""
    from qgis.core import QgsRasterLayer, QgsVectorLayer

    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    legend, pixel = expected["legend"], expected["pixel"]
    problems = []

    def check(name: str, what: str, found, wanted) -> None:
        if found != wanted:
            problems.append(f"{folder.name}/{name}: {what} {found}, not {wanted}")

    def check_place(name: str, layer, margin: float) -> None:
        box = layer.extent()
        found = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
        apart = max(abs(a - b) for a, b in zip(found, expected["extent"], strict=True))
        if apart > margin:
            problems.append(f"{folder.name}/{name}: lies at {found}, not {expected['extent']}")
        check(name, "CRS", layer.crs().authid() or None, expected["crs"])

    layers = {}
    for name in ("scene.tif", "vote.tif", "vote_agreement.tif", "vote_entropy.tif", "probabilities.tif"):
        layers[name] = layer = QgsRasterLayer(str(folder / name), name)
        check(name, "valid", layer.isValid(), True)
        check_place(name, layer, 1e-6)
    classes = [[int(c.value), c.label, c.color.name()] for c in layers["vote.tif"].renderer().classes()]
    check("vote.tif", "classes", classes, legend)
    for name in ("vote_agreement.tif", "vote_entropy.tif"):
        check(name, "renderer", layers[name].renderer().type(), "singlebandpseudocolor")
    bands = [layers["probabilities.tif"].bandName(b + 1).partition(": ")[2] for b in range(len(legend))]
    check("probabilities.tif", "bands", bands, [name for _, name, _ in legend])
    for name in ("polygons.gpkg", "sample.gpkg", "polygons.geojson", "next.gpkg"):
        which = "|layername=labels" if name == "next.gpkg" else ""
        layers[name] = layer = QgsVectorLayer(f"{folder / name}{which}", name, "ogr")
        check(name, "valid", layer.isValid(), True)
        check(name, "invalid geometries", sum(not f.geometry().isGeosValid() for f in layer.getFeatures()), 0)
        renderer = layer.renderer()
        check(name, "renderer", renderer.type(), "categorizedSymbol")
        shown = [[c.value(), c.symbol().color().name()] for c in renderer.categories() if c.value()]
        check(name, "classes", shown, [[class_name, color] for _, class_name, color in legend])
    check_place("polygons.gpkg", layers["polygons.gpkg"], 1e-6)
    box, inside = layers["sample.gpkg"].extent(), expected["extent"]
    check("sample.gpkg", "points on the map", inside[0] < box.xMinimum() and box.yMaximum() < inside[3], True)
    for feature in layers["sample.gpkg"].getFeatures():
        point = feature.geometry().asPoint()
        place = [round((inside[3] - point.y()) / pixel - 0.5, 6), round((point.x() - inside[0]) / pixel - 0.5, 6)]
        check("sample.gpkg", f"point {feature['id']} at", place, [feature["row"], feature["col"]])
    for name in ("sample.gpkg", "next.gpkg"):
        form = layers[name].editorWidgetSetup(layers[name].fields().indexOf("label"))
        check(name, "form", form.type(), "ValueMap")
        choices = [value for pair in form.config().get("map", []) for value in pair]
        check(name, "choices", choices, ["", *(class_name for _, class_name, _ in legend)])
    frames = QgsVectorLayer(f"{folder / 'next.gpkg'}|layername=places", "places", "ogr")
    for feature, (row, col, height, width) in zip(frames.getFeatures(), PLACES, strict=True):
        box = feature.geometry().boundingBox()
        corner = [round((inside[3] - box.yMaximum()) / pixel, 6), round((box.xMinimum() - inside[0]) / pixel, 6)]
        size = [round(box.height() / pixel, 6), round(box.width() / pixel, 6)]
        check("next.gpkg", "place at", corner + size, [row, col, height, width])
    draw([layers[name] for name in ("sample.gpkg", "polygons.gpkg", "vote.tif", "scene.tif")], folder / "in_qgis.png")
    draw([layers[name] for name in ("vote_agreement.tif", "scene.tif")], folder / "agreement_in_qgis.png")
    draw([frames, layers["next.gpkg"], layers["scene.tif"]], folder / "next_in_qgis.png")
    return problems


def draw(layers: list, path: Path) -> None:
    """The upper left part of some layers, the first on top, as QGIS draws them."""
    from qgis.core import QgsMapRendererSequentialJob, QgsMapSettings, QgsRectangle
    from qgis.PyQt.QtCore import QSize

    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[0].crs())
    box = layers[-1].extent()
    left, top = box.xMinimum(), box.yMaximum()
    settings.setExtent(QgsRectangle(left, top - box.height() / 2, left + box.width() / 2, top))
    settings.setOutputSize(QSize(780, 660))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(path))


def look_at_all(folder: Path, python: str, script: Path = Path(__file__)) -> subprocess.CompletedProcess:
    """Starts QGIS's Python on the worlds of a folder; its status says whether all is well."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"QT_QPA_PLATFORM": "offscreen"}
    command = [python, str(script.resolve()), "--look", "--folder", str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark/qgis"))
    parser.add_argument("--qgis", default="/usr/bin/python3", help="the Python that QGIS is installed for")
    parser.add_argument("--look", action="store_true", help="look at the worlds that are there, in this Python")
    args = parser.parse_args()
    if args.look:
        from qgis.core import Qgis, QgsApplication

        application = QgsApplication([], False)
        application.initQgis()
        found = [problem for world in WORLDS for problem in look(args.folder / world)]
        print(f"QGIS {Qgis.QGIS_VERSION}:", "\n".join(found) or "all layers are as they should be")
        sys.stdout.flush()
        os._exit(bool(found))  # QGIS's own end needs what Python has thrown away by then
    for world, crs in WORLDS.items():
        make_world(args.folder / world, crs)
    done = look_at_all(args.folder, args.qgis)
    print(done.stdout + (done.stderr if done.returncode not in (0, 1) else ""), end="")
    sys.exit(done.returncode)
