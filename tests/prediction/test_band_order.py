"""Scenes whose files name their bands: they reach the network in its order, or are refused; nothing is silent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import ColorInterp

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import CheckpointError, InputError
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, find_legend
from jingwei.models.checkpoints import Checkpoint, check_fits, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.fitting import note_on_bands
from jingwei.prediction.job import Job
from jingwei.prediction.orders import trained_networks
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.crop_files import read_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_image
from jingwei.spectrum import RGB, SETS
from jingwei.workspace import Workspace

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
BGRN = SETS["bgrn"]
SIZE = 96
PLAIN = PredictSettings(window=64, overlap=16, precision="fp32", engine="torch")


def planes(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (count, SIZE, SIZE), np.uint8)


def save(path: Path, pixels: np.ndarray, names=(), colors=()) -> Path:
    """Writes pixels_CHW as a tiled GeoTIFF whose bands are described or coloured."""
    kind = {"count": len(pixels), "height": SIZE, "width": SIZE, "dtype": "uint8", "photometric": "minisblack"}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, blockxsize=64, blockysize=64, **kind) as file:
        file.colorinterp = colors or [ColorInterp.gray] + [ColorInterp.undefined] * (len(pixels) - 1)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        file.write(pixels)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network of random weights for blue, green, red, nir."""
    torch.manual_seed(0)
    model = build_model(ModelSpec("attention_unet", "mobilenetv3_small_050", 4, len(JINGWEI)), (120,) * 4, (60,) * 4)
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    kind = Checkpoint(
        model.spec, "uint8", (120.0,) * 4, (60.0,) * 4, replace(JINGWEI, bands=BGRN), {}, model.state_dict()
    )
    save_checkpoint(path, kind)
    return path


def predicted(weights: Path, scene: Path) -> np.ndarray:
    job = Job(weights, scene, scene.with_name(f"{scene.stem}_map.tif"), PLAIN, device="cpu")
    predict_scene(job)
    with rasterio.open(job.target) as file:
        return file.read(1)


def test_a_scene_in_another_order_gives_the_same_map(weights, tmp_path, capsys):
    pixels = planes(4)
    expected = predicted(weights, save(tmp_path / "plain.tif", pixels))
    assert len(np.unique(expected)) > 1
    assert "order" not in capsys.readouterr().out
    order = [2, 1, 0, 3]
    named = save(tmp_path / "named.tif", pixels[order], [BGRN[i] for i in order])
    assert np.array_equal(predicted(weights, named), expected)
    assert "named.tif: its bands are taken in the network's order: blue, green, red, nir" in capsys.readouterr().out
    assert (predicted(weights, save(tmp_path / "silent.tif", pixels[order])) != expected).any()


def test_more_bands_than_the_network_needs(weights, tmp_path):
    pixels = planes(6)
    names = ("coastal", "nir", "red", "swir1", "green", "blue")
    expected = predicted(weights, save(tmp_path / "four.tif", pixels[[5, 4, 2, 1]]))
    assert np.array_equal(predicted(weights, save(tmp_path / "six.tif", pixels, names)), expected)


def test_a_scene_without_a_band_of_the_network_is_refused(weights, tmp_path):
    scene = save(tmp_path / "scene.tif", planes(4), ("red", "green", "blue", "swir1"))
    with pytest.raises(InputError, match="scene.tif: its bands are described as red, green, blue, swir1, but blue, gr"):
        predicted(weights, scene)
    assert not (tmp_path / "scene_map.tif").exists()


def test_the_tiled_copy_keeps_the_names(weights, tmp_path):
    pixels, order = planes(4), [3, 0, 2, 1]
    expected = predicted(weights, save(tmp_path / "plain.tif", pixels))
    scene = save(tmp_path / "named.tif", pixels[order], [BGRN[i] for i in order])
    tile_scene(scene, tmp_path / "copy.tif", 1)
    with open_image(tmp_path / "copy.tif") as copy:
        assert copy.described_bands == tuple(BGRN[i] for i in order)
    assert np.array_equal(predicted(weights, tmp_path / "copy.tif"), expected)


def test_colours_that_contradict_the_network_are_said(weights, tmp_path):
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    scene = save(tmp_path / "scene.tif", planes(4), colors=colors)
    assert "coloured as red, green, blue, unnamed" in note_on_bands(scene, load_checkpoint(weights))
    assert note_on_bands(save(tmp_path / "plain.tif", planes(4)), load_checkpoint(weights)) is None


def test_networks_of_unlike_bands_may_map_side_by_side(weights, tmp_path):
    other = replace(load_checkpoint(weights), legend=replace(JINGWEI, bands=SETS["rgbn"]))
    save_checkpoint(tmp_path / "other.pt", other)
    assert len(trained_networks(Workspace(tmp_path), (), [weights, tmp_path / "other.pt"])) == 2


def test_nodata_follows_the_bands(tmp_path):
    pixels = planes(3)
    with rasterio.open(save(tmp_path / "a.tif", pixels, ("blue", "green", "red")), "r+") as file:
        file.nodata = 0
        file.write(np.zeros((3, 1, 1), np.uint8), window=((0, 1), (0, 1)))
    with open_image(tmp_path / "a.tif") as image:
        image.arrange(RGB)
        got, valid = image.read_rows(0, SIZE)
    assert np.array_equal(got[:, 1:], pixels[::-1, 1:])
    assert not valid[0, 0]
    assert valid.sum() == SIZE**2 - 1


# ---- cutting ----


def cut(tmp_path, legend=JINGWEI, **files) -> Workspace:
    """Cuts scenes: name -> (pixels, names of bands, colours)."""
    scenes = []
    for name, content in files.items():
        label = tmp_path / f"{name}_label.png"
        write_png(label, np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE) % 5)
        scenes.append(Scene(save(tmp_path / f"{name}.tif", *content), label))
    workspace = Workspace(tmp_path)
    cut_train(workspace, scenes, CutSettings(SIZE, SIZE, val_fraction=0), legend, workers=1)
    return workspace


def test_the_crops_keep_the_names_of_the_files(tmp_path):
    workspace = cut(tmp_path, image_1=(planes(4), ("B02", "B03", "B04", "B08")), image_2=(planes(4),))
    assert find_legend(str(workspace.train / "legend.json")).bands == BGRN


def test_colours_name_bands_where_nothing_else_does(tmp_path):
    colors = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    workspace = cut(tmp_path, image_1=(planes(3), (), colors))
    assert find_legend(str(workspace.train / "legend.json")).bands == RGB[::-1]


def test_red_green_blue_that_software_writes_by_itself_is_no_name(tmp_path):
    workspace = cut(tmp_path, image_1=(planes(3), (), [ColorInterp.red, ColorInterp.green, ColorInterp.blue]))
    assert find_legend(str(workspace.train / "legend.json")).bands == ()


def test_scenes_of_unlike_order_are_refused_or_brought_into_the_legends(tmp_path):
    pixels = planes(3)
    files = {"image_1": (pixels, RGB), "image_2": (pixels[::-1], RGB[::-1])}
    with pytest.raises(InputError, match="image_2.tif: its bands are blue, green, red, but those of image_1.tif red"):
        cut(tmp_path, **files)
    workspace = cut(tmp_path, replace(JINGWEI, bands=RGB), **files)
    first, second = (read_crop(workspace.train / "data" / f"image_{n}_000000_000000.png") for n in (1, 2))
    assert np.array_equal(first, second)
    assert np.array_equal(first, pixels.transpose(1, 2, 0))


def test_a_legend_of_other_bands_than_the_scene_is_refused(tmp_path):
    with pytest.raises(InputError, match="has 4 bands, but the legend names 3"):
        cut(tmp_path, replace(JINGWEI, bands=RGB), image_1=(planes(4),))


def test_a_checkpoint_of_another_order_is_not_scored_or_gone_on_with(weights):
    checkpoint = load_checkpoint(weights)
    check_fits(checkpoint, weights, JINGWEI, 4)
    check_fits(checkpoint, weights, replace(JINGWEI, bands=BGRN), 4)
    with pytest.raises(CheckpointError, match="was trained on the bands blue, green, red, nir, but the data has red"):
        check_fits(checkpoint, weights, replace(JINGWEI, bands=SETS["rgbn"]), 4)
