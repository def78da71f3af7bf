"""How fast maps become polygons, and in how much memory, beside GDAL's way, which holds the whole map.

    python benchmarks/polygons.py [--size 20000x20000] [--beside 5000x5000] [--noise 0 0.01] [--folder DIR]

Makes the maps of benchmarks/fill.py (fields with ragged edges and 260,000 crumbs in 20000 x 20000, a corner without
data; `--noise` of the pixels another class) and writes the polygons of all classes: as GeoPackage, simplified, and as
GeoJSON and GeoParquet. Each run is a process of its own; a small map goes first, to compile the code. Then checks that
the polygons' areas in the file add up to the raster's pixels, class by class. On the `--beside` size,
rasterio.features.shapes and pyogrio do the same on the whole map, in turn with ours.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import rasterio.features
import shapely
from fill import in_process, make_map, quiet

from jingwei import grid
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.polygons import write_polygons
from jingwei.raster.reading import open_labels


def ours(source: Path, target: Path, **rules) -> None:
    target.unlink(missing_ok=True)
    written = write_polygons(source, target, legend=JINGWEI, classes=range(len(JINGWEI)), progress=quiet, **rules)
    assert written is not None


def gdal(source: Path, target: Path) -> None:
    """The whole map at once: shapes, geometries, one write."""
    target.unlink(missing_ok=True)
    with rasterio.open(source) as opened:
        labels = opened.read(1)
        found = list(rasterio.features.shapes(labels, mask=labels != NODATA, transform=opened.transform))
    geometries = shapely.to_wkb([shapely.geometry.shape(geometry) for geometry, _ in found])
    labels = np.array([label for _, label in found], np.int64)
    areas = shapely.area(shapely.from_wkb(geometries)).round().astype(np.int64)
    pyogrio.raw.write(
        target, np.array(geometries, object), [labels, areas], ["class_id", "area_px"], driver="GPKG",
        geometry_type="Polygon", crs=None,
    )  # fmt: skip


def measure(work, *arguments, **rules) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak RSS in MiB) of one run in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments, **rules)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return wall, cpu, peak


def pixels_by_class(source: Path) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    with open_labels(source) as labels:
        for rows in grid.strips(labels.height, 256):
            counts += np.bincount(labels.read_label_rows(*rows).ravel(), minlength=256)
    counts[NODATA] = 0
    return counts


def areas_in_file(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(pixels by class as the column has them, as the geometries have them, polygons)."""
    _, _, wkb, (labels, areas) = pyogrio.raw.read(path, columns=["class_id", "area_px"])
    drawn = shapely.area(shapely.from_wkb(wkb))
    return np.bincount(labels, areas, 256), np.bincount(labels, drawn, 256), len(labels)


def size_of(text: str) -> tuple[int, int]:
    width, height = (int(number) for number in text.lower().split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=(20000, 20000), help="width x height of the map, in pixels")
    parser.add_argument("--beside", type=size_of, default=(5000, 5000), help="of the map that GDAL gets too")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0], help="shares of pixels of a random class")
    parser.add_argument("--simplify", type=float, default=1.5, help="tolerance of the simplified run, in pixels")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each, in turn; the best one is printed")
    parser.add_argument("--folder", type=Path, help="where maps and outputs go (kept); default: a temporary one")
    arguments = parser.parse_args()
    steps = {
        "GeoPackage": (ours, "map.gpkg", {}),
        f"GeoPackage, --simplify {arguments.simplify:g}": (ours, "simple.gpkg", {"simplify": arguments.simplify}),
        "GeoJSON": (ours, "map.geojson", {}),
        "GeoParquet": (ours, "map.parquet", {}),
    }
    beside = {
        "rasterio.features.shapes": (gdal, "gdal.gpkg", {}),
        "ours": (ours, "map.gpkg", {}),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        small = folder / "warm" / "map.tif"
        in_process(make_map, small, 600, 700, 0.01)
        for work, name, rules in steps.values():  # compiles
            in_process(measure, work, small, small.with_name(name), **rules)
        for noise in arguments.noise:
            for (height, width), works in ((arguments.size, steps), (arguments.beside, beside)):
                source = folder / f"{width}x{height}_noise_{noise:g}" / "map.tif"
                in_process(make_map, source, height, width, noise)
                print(f"\n{width} x {height} px, noise {noise:.0%}, map {source.stat().st_size / 2**20:.0f} MiB")
                print(f"{'':32}{'wall s':>8}{'Mpx/s':>8}{'CPU s':>8}{'peak MiB':>10}{'file MiB':>10}")
                runs = {name: [] for name in works}
                for _ in range(arguments.repeat):
                    for name, (work, target, rules) in works.items():
                        runs[name].append(in_process(measure, work, source, source.with_name(target), **rules))
                for name, measured in runs.items():
                    wall, cpu, peak = (min(figures) for figures in zip(*measured, strict=True))
                    size = source.with_name(works[name][1]).stat().st_size / 2**20
                    print(f"{name:32}{wall:8.2f}{width * height / wall / 1e6:8.0f}{cpu:8.2f}{peak:10.0f}{size:10.0f}")
                pixels = pixels_by_class(source)
                noted, drawn, count = in_process(areas_in_file, source.with_name("map.gpkg"))
                same = "equal" if (noted == pixels).all() and (drawn == pixels).all() else "DIFFERENT"
                print(f"{count:,} polygons; areas by class, in the column and of the shapes, and the raster's: {same}")


if __name__ == "__main__":
    main()
