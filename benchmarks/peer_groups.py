"""What `peers.py` runs: groups of programs that do the same work, and their inputs."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from fill import map_strips
from measure import ROOT, attempt
from peer_programs import environment, gdal_version, named, program
from peer_results import regions_of, same_areas, same_pixels, same_regions, same_tiles
from peer_work import TILED
from rasterio.windows import Window

SMALLEST, SIDE, ZONES = 100, 512, 400  # px of a region that stays; px of a tile; zones
WINDOW, OVERLAP = 512, 128  # of prediction, px
PLACE = {"crs": "EPSG:32648", "transform": rasterio.Affine(1, 0, 500000, 0, -1, 3000000)}  # 1 m a pixel
# What geoai-py and nnU-Net's sliding window take to load, beside what is here.
GEOAI = ("geoai-py", "leafmap", "geopandas", "rioxarray")
NNUNET = ("nnunetv2", "acvl-utils", "batchgenerators", "batchgeneratorsv2", "dynamic-network-architectures",
          "SimpleITK", "blosc2", "numexpr", "ndindex", "httpx", "pandas", "nibabel")  # fmt: skip
WORK = ROOT / "benchmarks" / "peer_work.py"


@dataclass(frozen=True)
class Contender:
    """A program in a group: its name, what makes its command (or raises Absent), how its result agrees with ours."""

    name: str
    command: Callable[[], list]
    agreement: Callable[[], float] | None = None
    note: str = ""
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Inputs:
    """The folder of inputs and results, and the sides of map and scene."""

    folder: Path
    width: int
    height: int

    @property
    def environments(self) -> Path:
        """Where other programs are installed, for inputs of any size."""
        return self.folder.parent / "environments"

    def map(self, noise: float = 0.0) -> Path:
        """A map of fields with many small regions; `noise` of the pixels have another class. 1 m a pixel."""
        path = self.folder / f"map_{round(100 * noise)}.tif"
        if not path.exists():
            with rasterio.open(path, "w", **TILED, **PLACE, width=self.width, height=self.height, count=1) as written:
                top = 0
                for strip in map_strips(self.height, self.width, noise):
                    written.write(strip, 1, window=Window(0, top, self.width, len(strip)))
                    top += len(strip)
        return path

    def raw(self, noise: float) -> Path:
        """The same map as an array that can be mapped to memory."""
        path = self.map(noise).with_suffix(".npy")
        if not path.exists():
            with rasterio.open(self.map(noise)) as source:
                np.save(path, source.read(1))
        return path

    def zones(self) -> Path:
        """Polygons of 24 corners, at random, as a GeoPackage with the field `name`."""
        path = self.folder / "zones.gpkg"
        if not path.exists():
            rng = np.random.default_rng(0)
            turns = np.arange(24) * np.pi / 12
            reach = rng.uniform(0.02, 0.06, (ZONES, 1)) * self.width * rng.uniform(0.7, 1, (ZONES, 24))
            x, y = (500000 + rng.uniform(0.1, 0.9, (ZONES, 1)) * self.width,
                    3000000 - rng.uniform(0.1, 0.9, (ZONES, 1)) * self.height)  # fmt: skip
            corners = np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], axis=2)
            names = np.array([f"z{k:04}" for k in range(ZONES)], object)
            wkb = np.array(shapely.to_wkb(shapely.polygons(corners)), object)
            pyogrio.raw.write(path, wkb, [names], ["name"], driver="GPKG", geometry_type="Polygon", crs=PLACE["crs"])
        return path

    def scene(self) -> Path:
        """A scene of a made-up county, RGBA PNG, with its label."""
        folder = self.folder / "county"
        path = folder / "jingwei_round1_train_20190619" / "image_1.png"
        if not path.exists():
            size = ("--size", f"{self.width}x{self.height}")
            attempt([sys.executable, "data/make_sample.py", "--data_dir", folder, *size])
        return path

    def fresh(self, name: str) -> Path:
        """A place for a result: nothing is there."""
        path = self.folder / "made" / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        return path


def script(name: str, *words) -> list:
    return [sys.executable, ROOT / name, *words]


def work(name: str, *words, python: str = sys.executable) -> list:
    return [python, WORK, name, *words]


def polygons(have: Inputs) -> list[Contender]:
    source = have.map()
    ours, gdal, shapes = (have.folder / "made" / f"{name}.gpkg" for name in ("ours", "gdal", "shapes"))

    def agreement(path: Path) -> float:
        return same_regions(regions_of(ours, "class_id"), regions_of(path, "DN"))

    return [
        Contender("polygons.py --background", lambda: script(
            "polygons.py", "--input", source, "--output", have.fresh(ours.name), "--background")),
        Contender(f"gdal_polygonize (GDAL {gdal_version()})", lambda: [
            program("gdal_polygonize.py"), source, "-f", "GPKG", have.fresh(gdal.name)], partial(agreement, gdal)),
        Contender(f"rasterio {rasterio.__version__} features.shapes, pyogrio", lambda: work(
            "shapes", source, have.fresh(shapes.name)), partial(agreement, shapes), "the whole map in memory"),
    ]  # fmt: skip


def sieve(have: Inputs) -> list[Contender]:
    source = have.map(0.01)
    ours, gdal, dust = (have.folder / "made" / f"{name}.tif" for name in ("sieved", "sieved_gdal", "dust"))
    package = "connected-components-3d"

    def cc3d() -> list:
        python = environment(have.environments, package)
        return work("cc3d_dust", source, have.fresh(dust.name), SMALLEST, python=python)

    return [
        Contender(f"fill_hole.py --min_area {SMALLEST}", lambda: script(
            "fill_hole.py", "--input", source, "--output", have.fresh(ours.name), "--min_area", SMALLEST),
            note="fills holes of background too"),
        Contender(f"gdal_sieve -st {SMALLEST} (GDAL {gdal_version()})", lambda: [
            program("gdal_sieve.py"), "-q", "-st", SMALLEST, "-4", source, have.fresh(gdal.name)],
            partial(same_pixels, ours, gdal), "the largest neighbour takes a region, not that with the longest border"),
        Contender(named(have.environments, package), cc3d, partial(same_pixels, ours, dust),
                  "small regions become 0; the whole map in memory"),
    ]  # fmt: skip


def vote(have: Inputs) -> list[Contender]:
    noises = (0.0, 0.02, 0.05)
    sources = [have.map(noise) for noise in noises]
    ours, loop = (have.folder / "made" / f"{name}.tif" for name in ("vote", "loop"))

    def fresh() -> Path:
        for path in have.fresh(ours.name).parent.rglob("vote*"):
            path.unlink()
        return ours

    return [
        Contender("vote.py, 3 maps", lambda: script("vote.py", "--inputs", *sources, "--output", fresh()),
                  note="writes agreement, entropy and confidence too"),
        Contender(f"numpy {version('numpy')}, raw maps in mapped memory", lambda: work(
            "vote", have.fresh(loop.name), have.fresh("loop_agreement.tif"), *map(have.raw, noises)),
            partial(same_pixels, ours, loop), "writes agreement too", lambda: [have.raw(noise) for noise in noises]),
    ]  # fmt: skip


def cut(have: Inputs) -> list[Contender]:
    scene, county = have.scene(), have.folder / "county"
    tiled = county / "test" / "image1" / "image_1.tif"

    def fresh(part: str) -> Path:
        shutil.rmtree(county / part, ignore_errors=True)
        return county

    def empty(name: str) -> Path:
        have.fresh(name).mkdir()
        return have.folder / "made" / name

    def retile_name(row: int, col: int) -> str:
        rows, cols = -(-have.height // SIDE), -(-have.width // SIDE)
        digits = [len(str(count)) for count in (rows, cols)]
        return f"image_1_{row // SIDE + 1:0{digits[0]}}_{col // SIDE + 1:0{digits[1]}}.tif"

    options = [word for option in ("COMPRESS=ZSTD", "ZSTD_LEVEL=1", "PREDICTOR=2") for word in ("-co", option)]
    made = have.folder / "made"
    return [
        Contender("generate_test_data.py", lambda: script(
            "generate_test_data.py", "--data_dir", fresh("test"), "--scene", scene),
            note="one tiled file with mask, overviews and checksums"),
        Contender(f"generate_train_data.py --crop_size {SIDE}", lambda: script(
            "generate_train_data.py", "--data_dir", fresh("train"), "--crop_size", SIDE),
            note="crops as PNG, their labels, and a split"),
        Contender(f"gdal_retile (GDAL {gdal_version()})", lambda: [
            program("gdal_retile.py"), "-q", "-ps", SIDE, SIDE, *options, "-targetDir", empty("retile"), scene],
            partial(same_tiles, tiled, made / "retile", retile_name, SIDE), "blank tiles too, no labels"),
        Contender(f"rasterio {rasterio.__version__}, a loop", lambda: work("tiles", scene, empty("tiles"), SIDE),
                  partial(same_tiles, tiled, made / "tiles", "{}_{}.tif".format, SIDE), "blank tiles too, no labels"),
    ]  # fmt: skip


def zones(have: Inputs) -> list[Contender]:
    source, shapes, target = have.map(), have.zones(), have.folder / "made" / "zones.npy"
    listed = have.folder / "made" / "zones.json"
    to_file = "import sys, runpy; sys.stdout = open(sys.argv[1], 'w'); del sys.argv[:2]; "
    to_file += "runpy.run_path(sys.argv[0], run_name='__main__')"

    def ours() -> list:
        flags = ["--prediction", source, "--areas", "--zones", shapes, "--json"]
        return [sys.executable, "-c", to_file, have.fresh(listed.name), ROOT / "evaluate.py", *flags]

    def agreement() -> float:
        (content,) = json.loads(listed.read_text()).values()
        areas = [[of["pixels"] for of in content["zones"][f"z{k:04}"]["classes"].values()] for k in range(ZONES)]
        return same_areas(np.array(areas, float), np.load(target))

    return [
        Contender(f"evaluate.py --areas --zones, {ZONES} zones", ours, note="counts pixels whose centre is inside"),
        Contender(named(have.environments, "exactextract"), lambda: work(
            "zones", source, shapes, have.fresh(target.name), python=environment(have.environments, "exactextract")),
            agreement, "counts the share of each pixel that is inside"),
    ]  # fmt: skip


def predict(have: Inputs) -> list[Contender]:
    checkpoint, traced = have.folder / "random.pt", have.folder / "random.jit"
    scene = have.folder / "county" / "test" / "image1" / "image_1.tif"
    maps = have.folder / "made" / "maps"

    def prepare() -> None:
        attempt(script("generate_test_data.py", "--data_dir", have.folder / "county", "--scene", have.scene()))
        if not traced.exists():
            write_network(checkpoint, traced)

    def ours(*flags: str) -> list:
        where = ["--data_dir", have.folder / "county", "--checkpoint", checkpoint, "--output", have.fresh("maps")]
        return script("predict.py", *where, "--window", WINDOW, "--overlap", OVERLAP, *flags)

    def agreement(theirs: Path) -> float:
        (found,) = maps.rglob("random*.tif")
        return same_pixels(found, theirs)

    def other(name: str, python: str = sys.executable) -> list:
        return work(name, scene, traced, have.fresh(f"{name}.tif"), WINDOW, OVERLAP, python=python)

    def peer(title: str, name: str, note: str, *packages: str) -> Contender:
        def command() -> list:
            return other(name, environment(have.environments, *packages))

        return Contender(title, command, partial(agreement, have.folder / "made" / f"{name}.tif"), note)

    return [
        Contender("predict.py --engine openvino", lambda: ours("--engine", "openvino"), prepare=prepare),
        Contender("predict.py --engine torch --precision fp32", lambda: ours(
            "--engine", "torch", "--precision", "fp32", "--no_confidence"),
            note="what the others are compared with; the network has learned nothing"),
        Contender("rasterio and torch fp32, a plain loop", lambda: other("predict"),
                  partial(agreement, have.folder / "made" / "predict.tif"), "sums of all classes in memory"),
        peer(named(have.environments, *GEOAI), "geoai", "the same in float64; logits are blended", *GEOAI),
        peer(f"{named(have.environments, *NNUNET)}, sliding window", "nnunet",
             "scene and sums in memory, in half precision; logits are blended", *NNUNET),
    ]  # fmt: skip


def write_network(checkpoint: Path, traced: Path) -> None:
    """A small network that has learned nothing, as a checkpoint of ours and as TorchScript."""
    import torch

    from jingwei.models.checkpoints import load_checkpoint
    from predict import random_checkpoint

    random_checkpoint(checkpoint)
    network = load_checkpoint(checkpoint).build().eval()
    with torch.inference_mode():
        torch.jit.trace(network, torch.zeros(1, 3, WINDOW, WINDOW), check_trace=False).save(traced)


GROUPS = {"polygons": polygons, "sieve": sieve, "vote": vote, "cut": cut, "zones": zones, "predict": predict}
