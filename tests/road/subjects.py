"""A small project with files of all kinds in it, and the stages that each kind is given to when it is broken."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio
import rasterio
import shapely
import torch
from config_files import TINY, changed
from PIL import Image
from rasterio.transform import from_origin

from jingwei.legend import GF3, JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

SAME, CONTENT, ANY = "same", "content", "any"  # rules for what stages make of a broken file: see hostile.py
SCORE = "train.py --data_dir {} --exp x --workers 0 --precision fp32"
NET = "--window 128 --overlap 32 --engine torch --precision fp32"


class Subject(NamedTuple):
    """A kind of file: which is changed, the stages that it is given to, what they leave, and the rule for that.

    `{}` in a command stands for the workspace's folder. `fresh` are files that the stages may not find.
    """

    file: str
    stages: tuple[str, ...]
    results: tuple[str, ...]
    rule: str
    kind: str = "bytes"  # see mutants.py
    fresh: tuple[str, ...] = ()
    slow: bool = False  # compiles for half a minute


SUBJECTS = {
    "scene PNG": Subject("s/image_5.png", ("generate_test_data.py --data_dir {} --scene {}/s/image_5.png",),
                         ("test/image5/image_5.tif",), SAME),
    "scene PNG, crafted": Subject("s/image_5.png", ("generate_test_data.py --data_dir {} --scene {}/s/image_5.png",),
                                  ("test/image5/image_5.tif",), CONTENT, "chunks"),
    "scene TIFF": Subject("s/image_6.tif", ("generate_test_data.py --data_dir {} --scene {}/s/image_6.tif",),
                          ("test/image6/image_6.tif",), CONTENT),
    "VRT": Subject("s/image_7.vrt", ("generate_test_data.py --data_dir {} --scene {}/s/image_7.vrt",),
                   ("test/image7/image_7.tif",), CONTENT, "text"),
    "label PNG": Subject("a_train/image_1_label.png", ("generate_train_data.py --data_dir {} --crop_size 64",),
                         ("train/data/*", "train/label/*", "train/crops.csv"), SAME, "bytes", ("train",)),
    "label TIFF": Subject("s/label.tif", (
        "generate_train_data.py --data_dir {} --crop_size 64 --scene {}/a_train/image_1.png {}/s/label.tif",
        "evaluate.py --data_dir {} --prediction {}/test/mask3/swa_x.tif --label {}/s/label.tif"),
        (), ANY, fresh=("train",)),
    "tiled scene": Subject("test/image3/image_3.tif", (
        f"predict.py --data_dir {{}} --exp swa/x --output {{}}/new {NET}",),
                           ("new/**/*.tif",), SAME),
    "map": Subject("test/mask3/swa_x.tif", (
        "vote.py --data_dir {} --inputs {}/test/mask3/swa_x.tif {}/test/mask3/cross_entropy_x.tif"
        " --output {}/new/v.tif",
        "fill_hole.py --data_dir {} --input {}/test/mask3/swa_x.tif --output {}/new/f.tif",
        "evaluate.py --data_dir {} --prediction {}/test/mask3/swa_x.tif --label {}/a_test/image_3_label.png --json"),
        ("new/**/*",), SAME),
    "map to polygons": Subject("test/mask3/swa_x.tif", (
        "polygons.py --data_dir {} --input {}/test/mask3/swa_x.tif --output {}/new/p.geojson --pixels",),
        ("new/**/*",), SAME, slow=True),
    "probabilities": Subject("test/mask3/probabilities/swa_x.tif", (
        "vote.py --data_dir {} --soft --inputs {}/test/mask3/probabilities/swa_x.tif"
        " {}/test/mask3/probabilities/cross_entropy_x.tif --output {}/new/v.tif",), ("new/**/*",), SAME),
    "crop": Subject("train/data/image_1_000000_000000.png", (SCORE,),
                    (), SAME),
    "crops.csv": Subject("train/crops.csv", (SCORE,), (), ANY, "text"),
    "record of a cut": Subject("train/.parts/image_1.json", ("generate_train_data.py --data_dir {} --crop_size 64",),
                               ("train/data/*", "train/label/*", "train/crops.csv"), SAME, "text"),
    "legend": Subject("legend.json", ("evaluate.py --data_dir {} --areas --prediction {}/test/mask3/swa_x.tif"
                                      " --legend {}/legend.json",), (), ANY, "text"),
    "recipe": Subject("model/swa/x/recipe.json", ("report.py --data_dir {} --output {}/new",), (), ANY, "text"),
    "log": Subject("model/swa/x/log.csv", ("report.py --data_dir {} --output {}/new",), (), ANY, "text"),
    "layer": Subject("report/tiles/image_3/map-*/layer.json", ("report.py --data_dir {}",), ("report/data.js",), SAME,
                     "text"),
    "config": Subject("config.json", ("read_config {}/config.json",), (), ANY, "text"),
    "checkpoint": Subject("model/swa/x/best.pt", (
        f"predict.py --data_dir {{}} --checkpoint {{}}/model/swa/x/best.pt --output {{}}/new {NET}",),
        ("new/**/*.tif",), SAME),
    "GeoPackage": Subject("s/zones.gpkg", ("evaluate.py --data_dir {} --areas --prediction {}/test/mask3/swa_x.tif"
                                           " --zones {}/s/zones.gpkg --json",), (), ANY),
    "GeoJSON": Subject("s/zones.geojson", ("evaluate.py --data_dir {} --areas --prediction {}/test/mask3/swa_x.tif"
                                           " --zones {}/s/zones.geojson --json",), (), ANY, "text"),
    "radar": Subject("radar/1_HV.tiff", (
        f"inference.py {{}}/radar {{}}/new --checkpoint {{}}/model/radar.pt --workers 1 {NET}",), (), ANY),
}  # fmt: skip


def write_inputs(root: Path, height: int, width: int) -> None:
    """The files that no stage has made: scenes, labels, zones, radar, settings, networks."""
    for folder in ("a_train", "a_test", "s", "radar", "samples/img", "samples/lbl"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    fields = rng.integers(0, len(JINGWEI), (-(-height // 20), -(-width // 20)), np.uint8)
    labels = np.kron(fields, np.ones((20, 20), np.uint8))[:height, :width]
    pixels = np.dstack([40 * labels[..., None] + rng.integers(0, 40, (height, width, 3), np.uint8),
                        np.full((height, width), 255, np.uint8)])  # fmt: skip
    pixels[:10, :50, 3] = 0
    for name in ("a_train/image_1", "s/image_5"):
        Image.fromarray(pixels).save(root / f"{name}.png")
    for name in ("a_train/image_1", "a_test/image_3"):
        Image.fromarray(labels).save(root / f"{name}_label.png")
    bands = np.moveaxis(pixels, 2, 0)
    _tiff(root / "a_test/image_3.tif", bands, photometric="RGB", alpha="YES")
    _tiff(root / "s/image_6.tif", bands[:3], compress="deflate")
    _tiff(root / "s/label.tif", labels[None], nodata=255, compress="lzw")
    _vrt(root / "s/image_7.vrt", "image_6.tif", height, width)
    boxes = np.array([shapely.box(500_000 + x, 3_999_880, 500_050 + x, 3_999_990) for x in (0, 40, 70)], object)
    kind = {"geometry_type": "Polygon", "crs": "EPSG:32650"}
    for name in ("s/zones.gpkg", "s/zones.geojson"):
        values = [np.array(["north", "west", "烤烟"], object)]
        pyogrio.raw.write(root / name, shapely.to_wkb(boxes), values, ["name"], **kind)
    for name in ("1_HH", "1_HV", "1_VH", "1_VV", "2_HH", "2_HV", "2_VH", "2_VV"):
        _tiff(root / f"radar/{name}.tiff", rng.gamma(2, 100, (1, 70, 90)).astype(np.float32))
    for name in "123":
        Image.fromarray(np.full((64, 64, 3), 80, np.uint8)).save(root / f"samples/img/{name}.png")
        Image.fromarray(np.eye(64, dtype=np.uint8)).save(root / f"samples/lbl/{name}_gt.png")
    for legend in ("legend.json", "samples/legend.json"):
        (root / legend).write_text(json.dumps(JINGWEI.to_dict(), indent=1))
    samples = str(root / "samples")
    config = changed(TINY, train_loader__args__data_dir=samples, val_loader__args__data_dir=samples)
    (root / "config.json").write_text(json.dumps(config, indent=1))
    torch.manual_seed(0)
    for score, recipe in enumerate(("cross_entropy", "swa")):
        folder = root / "model" / recipe / "x"
        _network(folder / "best.pt", bands[:3], JINGWEI, {"miou": float(score)}, {})
        settings = {"name": recipe, "precision": "fp32", "model": "enet", "backbone": "enet"}
        (folder / "recipe.json").write_text(json.dumps(settings, indent=1))
        (folder / "log.csv").write_text("epoch,lr,loss,miou\n1,0.1,0.7,0.3\n2,0.05,0.6,\n")
    tails = {"low": [-10.0] * 4, "high": [60.0] * 4}
    _network(
        root / "model/radar.pt",
        rng.normal(40, 5, (4, 64, 64)),
        GF3,
        {},
        {"values": "amplitude", "lee": 0, "looks": 1.0, **tails},
    )


def _tiff(path: Path, bands: np.ndarray, **how) -> None:
    count, height, width = bands.shape
    place = {"crs": "EPSG:32650", "transform": from_origin(500_000, 4_000_000, 1, 1)}
    shape = {"height": height, "width": width, "count": count, "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **how) as target:
        target.write(bands)


def _vrt(path: Path, source: str, height: int, width: int) -> None:
    area = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>0</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename><SourceBand>{n}</SourceBand>'
        f"<SrcRect {area}/><DstRect {area}/></SimpleSource></VRTRasterBand>\n"
        for n in (1, 2, 3)
    )
    place = "<SRS>EPSG:32650</SRS>\n<GeoTransform>500000, 1, 0, 4000000, 0, -1</GeoTransform>\n"
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{place}{bands}</VRTDataset>')


def _network(path: Path, pixels: np.ndarray, legend, scores: dict, source: dict) -> None:
    """An untrained network whose batch norms have seen pixels_CHW, so that it finds every class somewhere."""
    mean, std = (tuple(np.float64(of(pixels, axis=(1, 2))).tolist()) for of in (np.mean, np.std))
    spec = ModelSpec("enet", "enet", len(pixels), len(legend))
    model = build_model(spec, mean, std).train()
    with torch.no_grad():
        for _ in range(30):
            model(torch.from_numpy(pixels[None, :, :64, :64].astype(np.float32)))
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype, recipe = "float32" if source else "uint8", {"precision": "fp32"}
    save_checkpoint(path, Checkpoint(spec, dtype, mean, std, legend, recipe, model.state_dict(), scores, source=source))
