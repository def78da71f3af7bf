"""What the programs beside ours do in `peers.py`: each written as its own documentation shows it, and nothing of ours.

python benchmarks/peer_work.py NAME ARGUMENTS...
"""

import sys

import numpy as np
import rasterio

NODATA = 255
CLASSES = 5
TILED = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "zstd", "zstd_level": 1,
         "predictor": 2, "dtype": "uint8", "nodata": NODATA, "bigtiff": "yes"}  # fmt: skip


def shapes(source: str, target: str) -> None:
    """rasterio.features.shapes on the whole map, and one write by pyogrio."""
    import pyogrio
    import rasterio.features
    import shapely

    with rasterio.open(source) as opened:
        labels = opened.read(1)
        found = list(rasterio.features.shapes(labels, mask=labels != NODATA, transform=opened.transform))
    wkb = np.array([shapely.to_wkb(shapely.geometry.shape(geometry)) for geometry, _ in found], object)
    values = np.array([value for _, value in found], np.int32)
    pyogrio.raw.write(target, wkb, [values], ["DN"], driver="GPKG", geometry_type="Polygon", crs=None)


def cc3d_dust(source: str, target: str, smallest: str) -> None:
    """cc3d's regions of all classes; those of fewer pixels become 0."""
    import cc3d

    with rasterio.open(source) as opened:
        labels, profile = opened.read(1), opened.profile
    regions, count = cc3d.connected_components(labels, connectivity=4, return_N=True)
    sizes = cc3d.statistics(regions)["voxel_counts"]
    labels[(sizes < int(smallest))[regions] & (labels != NODATA)] = 0
    write(target, labels, profile)


def vote(target: str, agreement: str, *sources: str) -> None:
    """The most frequent class of raw maps (.npy, memory-mapped), 256 rows at a time, and how many agree in percent.

    Ties go to the first map's class.
    """
    maps = [np.load(path, mmap_mode="r") for path in sources]
    height, width = maps[0].shape
    shape = {"height": height, "width": width, "count": 1}
    with rasterio.open(target, "w", **TILED, **shape) as voted, rasterio.open(agreement, "w", **TILED, **shape) as said:
        for top in range(0, height, 256):
            strips = [np.asarray(labels[top : top + 256]) for labels in maps]
            counts = np.zeros((CLASSES, *strips[0].shape), np.uint8)
            for strip in strips:
                for land_class in range(CLASSES):
                    counts[land_class] += strip == land_class
            most = counts.max(0)
            first = np.take_along_axis(counts, np.minimum(strips[0], CLASSES - 1)[None], 0)[0]
            labels = np.where((first == most) & (strips[0] != NODATA), strips[0], counts.argmax(0)).astype(np.uint8)
            percent = (100 * most.astype(np.uint16) // np.maximum(counts.sum(0), 1)).astype(np.uint8)
            labels[most == 0] = percent[most == 0] = NODATA
            where = rasterio.windows.Window(0, top, width, len(labels))
            voted.write(labels, 1, window=where)
            said.write(percent, 1, window=where)


def tiles(source: str, folder: str, side: str) -> None:
    """A GeoTIFF for each tile of a scene, by windows of rasterio."""
    size = int(side)
    with rasterio.open(source) as scene:
        how = TILED | {"count": scene.count, "nodata": None}
        for row in range(0, scene.height, size):
            for col in range(0, scene.width, size):
                width, height = min(size, scene.width - col), min(size, scene.height - row)
                pixels = scene.read(window=rasterio.windows.Window(col, row, width, height))
                with rasterio.open(f"{folder}/{row}_{col}.tif", "w", **how, width=width, height=height) as tile:
                    tile.write(pixels)


def zones(source: str, polygons: str, target: str) -> None:
    """exactextract's share of each value in each zone, as a table: zone, class, pixels."""
    import json

    import exactextract
    import pyogrio
    import shapely

    _, _, wkb, _ = pyogrio.raw.read(polygons)
    features = [{"type": "Feature", "id": str(k), "properties": {"id": k}, "geometry": json.loads(text)}
                for k, text in enumerate(shapely.to_geojson(shapely.from_wkb(wkb)))]  # fmt: skip
    with rasterio.open(source) as labels:
        found = exactextract.exact_extract(labels, features, ["unique", "frac", "count"])
    table = np.zeros((len(features), CLASSES))
    for row, zone in zip(table, found, strict=True):
        of = zone["properties"]
        row[np.asarray(of["unique"], int)] = np.asarray(of["frac"]) * of["count"]
    np.save(target, table)


def predict(scene: str, network: str, target: str, window: str, overlap: str) -> None:
    """A plain loop: the scene and the sums of all classes in memory, one window at a time, torch in fp32."""
    import torch

    model, side, shared = torch.jit.load(network).eval(), int(window), int(overlap)
    with rasterio.open(scene) as source:
        pixels, valid = source.read()[:3], source.dataset_mask() > 0
    _, height, width = pixels.shape
    total = np.zeros((CLASSES, height, width), np.float32)
    rows, cols = ([*range(0, max(1, edge - side), side - shared), max(0, edge - side)] for edge in (height, width))
    with torch.inference_mode():
        for row, col in sorted({(row, col) for row in rows for col in cols}):
            here = np.s_[row : row + side, col : col + side]
            total[:, *here] += model(torch.from_numpy(pixels[:, *here][None].astype(np.float32))).softmax(1)[0].numpy()
    labels = total.argmax(0).astype(np.uint8)
    labels[~valid] = NODATA
    write(target, labels, {"height": height, "width": width, "count": 1})


def geoai(scene: str, network: str, target: str, window: str, overlap: str) -> None:
    """geoai-py's tiled prediction of a GeoTIFF: sums of all classes in memory, in float64."""
    import torch
    from geoai.inference import predict_geotiff

    predict_geotiff(
        torch.jit.load(network), scene, target, tile_size=int(window), overlap=int(overlap), batch_size=1,
        input_bands=[1, 2, 3], num_classes=CLASSES, output_dtype="uint8", output_nodata=NODATA, device="cpu",
        preprocess_fn=lambda pixels: pixels, postprocess_fn=lambda logits: logits.argmax(0)[None], verbose=False,
    )  # fmt: skip


def nnunet(scene: str, network: str, target: str, window: str, overlap: str) -> None:
    """nnU-Net's sliding window over a scene in memory, without mirroring: sums of all classes in half precision."""
    from types import SimpleNamespace

    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    side, shared = int(window), int(overlap)
    predictor = nnUNetPredictor(
        tile_step_size=(side - shared) / side, use_mirroring=False, perform_everything_on_device=False,
        device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    predictor.network = torch.jit.load(network)
    predictor.configuration_manager = SimpleNamespace(patch_size=(side, side))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=CLASSES)
    with rasterio.open(scene) as source:
        pixels, valid = source.read()[:3], source.dataset_mask() > 0
    logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(pixels[:, None].astype(np.float32)))
    labels = logits[:, 0].argmax(0).numpy().astype(np.uint8)
    labels[~valid] = NODATA
    write(target, labels, {"height": labels.shape[0], "width": labels.shape[1], "count": 1})


def write(target: str, labels: np.ndarray, profile: dict) -> None:
    """A map as a tiled GeoTIFF."""
    place = {key: profile[key] for key in ("height", "width", "count")}
    with rasterio.open(target, "w", **TILED, **place) as written:
        written.write(labels, 1)


WORK = {work.__name__: work for work in (shapes, cc3d_dust, vote, tiles, zones, predict, geoai, nnunet)}

if __name__ == "__main__":
    WORK[sys.argv[1]](*sys.argv[2:])
