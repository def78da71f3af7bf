"""Opens a project folder's own files in real QGIS: do scene, maps, polygons, points and places lie on each other?

    python benchmarks/project_in_qgis.py --data_dir data/sample [--qgis /usr/bin/python3]

All extents must be the scene's as it came, to the pixel; at POINTS places of each scene every raster has the value, and
the polygon the class, that the library reads there; names and colours are the legend's; no geometry is invalid. What is
not there yet is named. Writes pictures of each scene as QGIS draws it to DIR/in_qgis/, to look at.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from open_in_qgis import draw, look_at_all

POINTS = 400
SURE = 3  # px around a point that all have its class: borders of simplified polygons lie elsewhere


def expect(project: Path) -> list[dict]:
    """What the library knows of each scene of a project: its files, its legend, values at some places."""
    import numpy as np

    from jingwei.grid import Window
    from jingwei.raster.map_legend import legend_of_map
    from jingwei.raster.reading import Raster, open_labels
    from jingwei.workspace import Workspace

    workspace, rng, scenes = Workspace(project), np.random.default_rng(0), []
    originals = {scene.name: scene.image for scene in workspace.test_scenes()}
    for scene in workspace.cut_scenes():
        final, masks = workspace.final_map(scene), workspace.masks(scene)
        legend = legend_of_map(final)
        with open_labels(final) as labels:
            height, width = labels.shape
            points = []
            while len(points) < POINTS:
                row, col = (int(rng.integers(SURE, side - SURE)) for side in (height, width))
                around, _ = labels.read(Window(row - SURE, col - SURE, 2 * SURE + 1, 2 * SURE + 1))
                if (around == around[0, SURE, SURE]).all():
                    points.append([row, col, int(around[0, SURE, SURE])])
        rasters = [scene.image, *sorted(masks.glob("*.tif")), *sorted(masks.glob("*/*.tif"))]
        submitted = project / "submit" / f"{scene.name}_predict.png"
        values = {}
        for path in [originals[scene.name], *rasters, submitted]:
            if path.exists():
                with Raster(path) as file:
                    values[str(path)] = [int(file.read(Window(r, c, 1, 1))[0][0, 0, 0]) for r, c, _ in points]
        vectors = {
            "polygons": project / "polygons" / f"{scene.name}.gpkg",
            "sample": workspace.sample(scene.name),
            "places": project / "label" / scene.name / "next.gpkg",
        }
        scenes.append({
            "name": scene.name,
            "scene": str(originals[scene.name]),
            "final": str(final),
            "size": [height, width],
            "points": points,
            "values": values,
            "legend": [[c.id, c.name, "#{:02x}{:02x}{:02x}".format(*c.color)] for c in legend.classes],
            "background": legend.background,
            "vectors": {name: str(path) for name, path in vectors.items()},
        })  # fmt: skip
    return scenes


class Look:
    """What QGIS finds in a scene's files that is not as expected. Runs in QGIS's Python, which knows none of ours."""

    def __init__(self, expected: dict):
        from qgis.core import QgsRasterLayer

        self.expected, self.problems, self.looked = expected, [], []
        self.base = QgsRasterLayer(expected["scene"], "scene")
        box, (height, width) = self.base.extent(), expected["size"]
        self.pixel = box.width() / width, box.height() / height
        self.extent = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]

    def check(self, name: str, what: str, found, wanted) -> None:
        if found != wanted:
            self.problems.append(f"{self.expected['name']}, {name}: {what} {found}, not {wanted}")

    def at(self, row: float, col: float):
        """The point at a place in the scene, in pixels."""
        from qgis.core import QgsPointXY

        return QgsPointXY(self.extent[0] + col * self.pixel[0], self.extent[3] - row * self.pixel[1])

    def check_inside(self, name: str, layer) -> None:
        box = layer.extent()
        left, bottom, right, top = self.extent
        found = left - box.xMinimum(), bottom - box.yMinimum(), box.xMaximum() - right, box.yMaximum() - top
        self.check(name, "inside the scene", max(found) < 1e-6, True)
        self.check(name, "CRS", layer.crs().authid(), self.base.crs().authid())

    def raster(self, path: str, values: list[int]):
        from qgis.core import QgsRasterLayer

        layer, name = QgsRasterLayer(path, Path(path).stem), "/".join(Path(path).parts[-2:])
        box = layer.extent()
        self.check(name, "valid", layer.isValid(), True)
        self.check(name, "extent", [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()], self.extent)
        self.check(name, "CRS", layer.crs().authid(), self.base.crs().authid())
        nodata = layer.dataProvider().sourceNoDataValue(1)
        found = [layer.dataProvider().sample(self.at(r + 0.5, c + 0.5), 1) for r, c, _ in self.expected["points"]]
        wrong = sum(a != b for (a, ok), b in zip(found, values) if ok or b != nodata)  # noqa: B905 - an older Python
        self.check(name, "places with another value", wrong, 0)
        self.looked.append(name)
        return layer

    def rasters(self) -> dict:
        legend, bands = self.expected["legend"], len(self.expected["legend"])
        layers = {}
        for path, values in self.expected["values"].items():
            layers[path] = layer = self.raster(path, values)
            name, kind = "/".join(Path(path).parts[-2:]), layer.renderer().type()
            if Path(path).parent.name == "probabilities":
                found = [layer.bandName(b + 1).partition(": ")[2] for b in range(bands)]
                self.check(name, "bands", found, [class_name for _, class_name, _ in legend])
            elif Path(path).parent.name == "confidence" or Path(path).stem in ("agreement", "entropy"):
                self.check(name, "renderer", kind, "singlebandpseudocolor")
            elif Path(path).parent.name.startswith("mask") or Path(path).parent.name == "submit":
                classes = [[int(c.value), c.label, c.color.name()] for c in layer.renderer().classes()]
                self.check(name, "classes", classes, legend)
        return layers

    def vector(self, which: str, layer_name: str = ""):
        from qgis.core import QgsVectorLayer

        path = self.expected["vectors"][which]
        if not Path(path).exists():
            self.looked.append(f"(no {which})")
            return None
        layer = QgsVectorLayer(path + (f"|layername={layer_name}" if layer_name else ""), which, "ogr")
        name = "/".join(Path(path).parts[-2:]) + layer_name
        self.check(name, "valid", layer.isValid(), True)
        self.check(name, "invalid geometries", sum(not f.geometry().isGeosValid() for f in layer.getFeatures()), 0)
        self.check_inside(name, layer)
        if layer.renderer().type() == "categorizedSymbol":
            shown = [[c.value(), c.symbol().color().name()] for c in layer.renderer().categories() if c.value()]
            known = [[class_name, color] for _, class_name, color in self.expected["legend"]]
            there = {feature["name"] for feature in layer.getFeatures()} if which == "polygons" else set()
            self.check(name, "classes", shown, known if which != "polygons" else [k for k in known if k in shown])
            self.check(name, "classes without a colour", there - {value for value, _ in shown}, set())
        elif layer_name != "places":
            self.check(name, "renderer", layer.renderer().type(), "categorizedSymbol")
        self.looked.append(f"{name} ({layer.featureCount()})")
        return layer

    def polygons(self):
        from qgis.core import QgsGeometry, QgsSpatialIndex

        layer = self.vector("polygons")
        if layer is None:
            return None
        features = {f.id(): f for f in layer.getFeatures()}
        index, names = QgsSpatialIndex(layer.getFeatures()), {i: name for i, name, _ in self.expected["legend"]}
        wrong = 0
        for row, col, label in self.expected["points"]:
            point = QgsGeometry.fromPointXY(self.at(row + 0.5, col + 0.5))
            hit = [features[i] for i in index.intersects(point.boundingBox()) if features[i].geometry().contains(point)]
            wanted = [names[label]] if label in names and label != self.expected["background"] else []
            wrong += [f["name"] for f in hit] != wanted
        self.check("polygons", "places of another class", wrong, 0)
        return layer

    def sample(self):
        layer = self.vector("sample")
        if layer is not None:
            for feature in layer.getFeatures():
                point, wanted = feature.geometry().asPoint(), self.at(feature["row"] + 0.5, feature["col"] + 0.5)
                near = point.distance(wanted) < 1e-6 * self.pixel[0]
                self.check("sample", f"point {feature['id']} in the middle of its pixel", near, True)
        return layer


def look(expected: dict, folder: Path) -> list[str]:
    """Looks at one scene, and draws it."""
    found = Look(expected)
    rasters, polygons, sample = found.rasters(), found.polygons(), found.sample()
    labels, places = found.vector("places", "labels"), found.vector("places", "places")
    name, base = expected["name"], rasters[expected["scene"]]
    folder.mkdir(exist_ok=True)
    draw([rasters[expected["final"]], base], folder / f"{name}_map.png")
    draw([layer for layer in (sample, polygons, base) if layer], folder / f"{name}_polygons.png")
    draw([layer for layer in (places, labels, base) if layer], folder / f"{name}_places.png")
    sure = next((layer for path, layer in rasters.items() if Path(path).parent.name == "confidence"), None)
    draw([layer for layer in (sure, base) if layer], folder / f"{name}_confidence.png")
    print(f"{name}: {len(found.looked)} layers looked at: {', '.join(found.looked)}")
    return found.problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", "--folder", type=Path, default=Path("data/sample"))
    parser.add_argument("--qgis", default="/usr/bin/python3", help="the Python that QGIS is installed for")
    parser.add_argument("--look", action="store_true", help="look at what is expected, in this Python")
    args = parser.parse_args()
    pictures = args.data_dir / "in_qgis"
    if args.look:
        from qgis.core import Qgis, QgsApplication

        application = QgsApplication([], False)
        application.initQgis()
        worlds = json.loads((pictures / "expected.json").read_text(encoding="utf-8"))
        problems = [problem for world in worlds for problem in look(world, pictures)]
        print(f"QGIS {Qgis.QGIS_VERSION}:", "\n".join(problems) or "all layers are as they should be")
        sys.stdout.flush()
        os._exit(bool(problems))
    pictures.mkdir(exist_ok=True)
    (pictures / "expected.json").write_text(json.dumps(expect(args.data_dir)), encoding="utf-8")
    done = look_at_all(args.data_dir, args.qgis, Path(__file__))
    print(done.stdout or done.stderr, end="")
    sys.exit(done.returncode)
