"""What a dry run promises: formulas by hand, and estimates beside what really came of it."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jingwei.cli import dry_run
from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError, OutputError
from jingwei.filling.fill_map import fill_map
from jingwei.grid import Window, even_starts, windows
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, NODATA
from jingwei.planning import estimates, excerpts, rehearsal, room
from jingwei.planning.estimates import GDAL_HOLDS, PREVIEW, Size
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.raster.writing import TiledWriter
from jingwei.system import machine
from jingwei.system.progress import spell_seconds
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace

SCENE = Size(47161, 50141, bands=3)

# ---- formulas ----


def test_sizes_count_pixels_beyond_32_bits():
    assert Size(77470, 46050).px == 3_567_493_500 > 2**31
    assert Size(10, 10, bands=4, itemsize=2).px_bytes == 8


def test_crops_and_windows_of_a_contest_scene():
    assert estimates.crop_count(SCENE, 1024, 1024) == 47 * 49
    assert estimates.crop_count(Size(1000, 1000), 1024, 512) == 1
    assert estimates.window_count(SCENE, 1024, 256) == 62 * 65
    assert estimates.window_count(Size(1, 5000), 512, 0) == 10


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(32, 700), st.data())
def test_counts_are_those_of_the_grid(height, width, size, data):
    stride = data.draw(st.integers(max(1, size // 4), size))
    assert estimates.crop_count(Size(height, width), size, stride) == len(list(windows(height, width, size, stride)))
    overlap = size - stride
    rows, cols = (even_starts(length, size, overlap) for length in (height, width))
    assert estimates.window_count(Size(height, width), size, overlap) == len(rows) * len(cols)


def test_memory_of_cutting_by_hand():
    # Three bands of 512 rows of 10000 px: 3 bytes of colour, 1 of validity, 3 for labels; 2 threads with 4 crops each.
    bands = 3 * 512 * 10_000 * 7
    crops = 2 * 4 * 512 * 512 * 5
    assert estimates.cut_memory(Size(90_000, 10_000, 3), 512, workers=2) == bands + crops + GDAL_HOLDS + PREVIEW
    low = estimates.cut_memory(Size(100, 10_000, 3), 512, workers=2)
    assert low == 3 * 100 * 10_000 * 7 + 2 * 4 * 100 * 512 * 5 + GDAL_HOLDS + PREVIEW


def test_memory_of_predicting_by_hand():
    # Windows every 89 or 90 px: of 200 px, 128 - 89 rows go from band to band, a float16 for each of 5 classes.
    carried = 2 * 5 * 39 * 200
    finished = 3 * 128 * 200  # the last band finishes all its rows
    waiting, blended = 5 * 128 * 128 * 4, 5 * 5 * 128 * 128 * 4
    assert even_starts(755, 128, 32)[:3] == [0, 89, 179]
    expected = carried + 2 * finished + waiting + blended + GDAL_HOLDS  # labels and confidence
    for size in (Size(755, 200, 3), Size(200, 755, 3)):  # bands run along the shorter side
        assert estimates.predict_memory(size, 128, 32, 5) == expected
    kept = estimates.predict_memory(Size(755, 200, 3), 128, 32, 5, probabilities=True)
    assert kept == expected + 5 * finished


def test_memory_of_a_wide_prediction_follows_the_strips_of_its_map():
    mosaic = estimates.predict_memory(Size(100, 10**7, 3), 128, 32, 5)
    assert mosaic == 2 * 5 * 33 * 100 + 2 * 4 * 256 * 10**7 + GDAL_HOLDS


@pytest.mark.parametrize(
    "memory",
    [
        lambda size: estimates.cut_memory(size, 1024, 2),
        lambda size: estimates.tile_memory(size, 2),
        lambda size: estimates.vote_memory(size, 3),
        lambda size: estimates.vote_memory(size._replace(bands=5), 3, soft=True),
        lambda size: estimates.fill_memory(size),
        lambda size: estimates.fill_memory(size, min_area=100),
        lambda size: estimates.fill_memory(size, frame_sizes=(500, 400)),
        lambda size: estimates.evaluate_memory(size),
    ],
)
def test_memory_follows_the_width_never_the_height(memory):
    assert memory(Size(5_000, 50_000)) == memory(Size(500_000, 50_000)) < memory(Size(5_000, 100_000))
    assert memory(Size(77470, 50_141, 1)) < 2 * 2**30  # what every stage without a network keeps to


def test_more_voters_and_small_regions_take_more():
    size = Size(5_000, 50_000)
    assert estimates.vote_memory(size, 5) - estimates.vote_memory(size, 3) == 2 * 8 * 256 * 50_000
    assert estimates.fill_memory(size, min_area=2) > estimates.fill_memory(size, min_area=1)


def test_least_disk_by_hand():
    assert estimates.copy_at_least(4_000, 10_000) == 1_000 - 50
    assert estimates.copy_at_least(9_000, 10_000) == 0  # hardly compressed: tells nothing
    assert estimates.copy_at_least(100, 10_000) == 0  # plain areas
    assert estimates.tiles_at_least(Size(257, 256)) == 2 * 4
    assert estimates.png_at_least(Size(1032, 100)) == 100


def test_least_disk_is_below_the_emptiest_map(tmp_path):
    size = Size(3000, 5000)
    labels = np.zeros((3000, 5000), np.uint8)
    write_png(tmp_path / "a.png", labels)
    with TiledWriter(tmp_path / "a.tif", *size[:2], nodata=0) as writer:
        writer.write(Window(0, 0, *size[:2]), labels)
    for path, least in (("a.png", estimates.png_at_least(size)), ("a.tif", estimates.tiles_at_least(size))):
        assert 0 < least <= (tmp_path / path).stat().st_size < 40 * least


def test_time_of_windows_by_hand():
    assert estimates.time_of_windows((2, 5.0), (4, 9.0), 100) == 1 + 2 * 100  # a start of 1 s, 2 s a window
    assert estimates.time_of_windows((2, 5.0), (4, 5.0), 100) == 5  # all of it is the start
    assert estimates.time_of_windows((2, 1.0), (4, 9.0), 10) == 40  # no start is shorter than none
    assert estimates.time_of_windows((1, 3.0), (1, 2.0), 1) == 2


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"),
                                               (5400, "1.5 h"), (36000, "10.0 h")])  # fmt: skip
def test_time_is_spelled(seconds, text):
    assert spell_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 kB"), (900, "0.9 kB"), (2.5e6, "2.5 MB"), (123e9, "123 GB")])
def test_sizes_are_spelled(count, text):
    assert room.spell_bytes(count) == text


# ---- samples ----


@pytest.fixture
def giant(tmp_path, draw_scene) -> Path:
    """A folder with a scene of 1500 x 1300 px (a corner transparent) as PNG and GeoTIFF, its label, a tiled map."""
    pixels, labels = draw_scene(1500, 1300, seed=3)
    write_png(tmp_path / "image_1.png", pixels)
    write_png(tmp_path / "image_1_label.png", labels)
    valid = pixels[..., 3] > 0
    with TiledWriter(tmp_path / "image_1.tif", 1500, 1300, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, 1500, 1300), np.where(valid, pixels[..., :3].transpose(2, 0, 1), 0), valid)
    with TiledWriter(tmp_path / "map.tif", 1500, 1300, nodata=NODATA) as writer:
        writer.write(Window(0, 0, 1500, 1300), np.where(valid, labels, NODATA))
    return tmp_path


def read_all(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with Raster(path) as opened:
        return opened.read(Window(0, 0, *opened.shape))


def test_a_sample_is_the_same_part_of_all_sources(giant):
    sources = [giant / "image_1.tif", giant / "image_1_label.png", giant / "map.tif"]
    copies, share = excerpts.take_excerpt(sources, 100, giant / "sample", width=400)
    assert [copy.name for copy in copies] == [source.name for source in sources]
    assert share == 3 * 100 * 400 / (1500 * 1300)
    places = [(1400 * k // 6, 900 * k // 6) for k in (1, 3, 5)]
    for source, copy in zip(sources, copies, strict=True):
        whole, part = read_all(source), read_all(copy)
        for array, sampled in zip(whole, part, strict=True):
            blocks = [array[..., row : row + 100, col : col + 400] for row, col in places]
            np.testing.assert_array_equal(np.concatenate(blocks, axis=-2), sampled)


def test_samples_of_one_name_lie_beside_each_other(giant):
    """As img/7.tif and lbl/7.tif."""
    other = shutil.copy(giant / "map.tif", (giant / "lbl").mkdir() or giant / "lbl" / "image_1.tif")
    copies, _ = excerpts.take_excerpt([giant / "image_1.tif", Path(other)], 100, giant / "sample")
    assert [len(read_all(copy)[0]) for copy in copies] == [3, 1]


def test_a_sample_of_a_png_begins_below_its_margin(giant):
    pixels = read_all(giant / "image_1.png")[0].transpose(1, 2, 0)
    alpha = np.zeros((1500, 1300, 1), np.uint8)
    alpha[700:] = 255
    write_png(giant / "late.png", np.concatenate([pixels, alpha], axis=2))
    (copy,), share = excerpts.take_excerpt([giant / "late.png"], 128, giant / "sample", width=300)
    sampled, valid = read_all(copy)
    first = 700 // 256 * 256  # the first strip with 50 % valid: 700 to 768 of 512 to 768 is not
    np.testing.assert_array_equal(sampled, pixels.transpose(2, 0, 1)[:, first + 256 : first + 640, 500:800])
    assert valid.all()
    assert share == copy.stat().st_size / (giant / "late.png").stat().st_size


def test_a_sample_of_a_small_scene_is_the_scene(giant):
    for name in ("image_1.tif", "image_1.png"):
        (copy,), share = excerpts.take_excerpt([giant / name], 1024, giant / "sample")
        assert share == pytest.approx(1, abs=0.01)
        np.testing.assert_array_equal(read_all(copy)[1], read_all(giant / name)[1])


def test_sources_of_different_sizes_are_refused(giant):
    write_png(giant / "other.png", np.zeros((20, 1300), np.uint8))
    with pytest.raises(InputError, match="1300 x 20 px, but image_1.png is 1300 x 1500"):
        excerpts.take_excerpt([giant / "image_1.png", giant / "other.png"], 100, giant / "sample")


def test_windows_with_pixels_are_counted(giant):
    pixels, valid = read_all(giant / "image_1.png")
    valid[:700] = False
    pixels = np.where(valid, pixels, 0)
    write_png(giant / "half.png", np.concatenate([pixels, 255 * valid[None].astype(np.uint8)]).transpose(1, 2, 0))
    with TiledWriter(giant / "half.tif", 1500, 1300, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, 1500, 1300), pixels, valid)
    starts = even_starts(1500, 64, 0), even_starts(1300, 64, 0)
    truth = sum(valid[row : row + 64, col : col + 64].any() for row in starts[0] for col in starts[1])
    assert truth < 0.6 * len(starts[0]) * len(starts[1])
    for name in ("half.tif", "half.png"):
        (copy,), share = excerpts.take_excerpt([giant / name], 128, giant / "sample", width=400)
        assert excerpts.count_windows(giant / name, copy, share, 64, 0) == pytest.approx(truth, rel=0.1)


# ---- estimates beside what came of it ----


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_disk_of_a_cut_is_within_a_factor_of_two(giant, monkeypatch, kind):
    monkeypatch.setattr(excerpts, "EXCERPT_PX", 300_000)
    scene = Scene(giant / f"image_1.{kind}", giant / "image_1_label.png")
    settings = CutSettings(128, 128)
    (step,) = rehearsal.crop_steps([scene], settings, JINGWEI, workers=1)
    estimate = step.measure()
    cut_train(Workspace(giant / "out"), [scene], settings, JINGWEI, 1)
    assert 0.5 < estimate.disk / bytes_in(giant / "out") < 2
    assert estimate.seconds > 0
    (step,) = rehearsal.tiling_steps([scene], workers=1)
    tile_scene(scene.image, giant / "tiled" / "x.tif", 1)
    assert 0.5 < step.measure().disk / bytes_in(giant / "tiled") < 2


def test_disk_of_maps_is_within_a_factor_of_two(giant, monkeypatch):
    monkeypatch.setattr(excerpts, "EXCERPT_PX", 300_000)
    maps = [giant / "map.tif"] * 3
    estimate = rehearsal.vote_step(maps, JINGWEI, False, "first", 1).measure()
    vote(maps, VoteFiles(*(giant / "voted" / f"{n}.tif" for n in range(3)), giant / "voted" / "v.png"), JINGWEI)
    assert 0.5 < estimate.disk / bytes_in(giant / "voted") < 2
    rules = {"legend": JINGWEI, "min_area": {}}
    estimate = rehearsal.fill_step(giant / "map.tif", rules, submits=True).measure()
    fill_map(giant / "map.tif", giant / "filled" / "f.tif", submit_png=giant / "filled" / "f.png", **rules)
    assert 0.5 < estimate.disk / bytes_in(giant / "filled") < 2
    assert rehearsal.score_step(giant / "map.tif", giant / "image_1_label.png", JINGWEI).measure().disk == 0


def test_a_sample_without_labels_leaves_time_and_disk_open(giant, capsys):
    write_png(giant / "image_1_label.png", np.full((1500, 1300), NODATA, np.uint8))
    scene = Scene(giant / "image_1.tif", giant / "image_1_label.png")
    dry_run.tell(rehearsal.crop_steps([scene], CutSettings(128, 128), JINGWEI, workers=1), giant)
    out = capsys.readouterr().out
    assert "not measured" in out
    assert "no labelled pixel" in out
    assert "memory" in out
    assert "disk" not in out
    assert "time" not in out


# A stage on a wide scene, after it was run on a small one: what it holds beyond the program, at its peak.
GROWTH = """
import sys
from pathlib import Path
from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.filling.fill_map import fill_map
from jingwei.system.machine import own_memory
from jingwei.legend import JINGWEI
from jingwei.voting.vote import VoteFiles, vote
from jingwei.inputs.scenes import Scene
from jingwei.workspace import Workspace

def work(inputs, out):
    image, label, labels = inputs / "image_1.png", inputs / "image_1_label.png", inputs / "map.tif"
    WORK
    return own_memory()

small, wide, out = map(Path, sys.argv[1:])
print(-work(small, out / "small") + work(wide, out / "wide"))
"""
STAGES = {
    "cut": "cut_train(Workspace(out), [Scene(image, label)], CutSettings(600, 600), JINGWEI, 2)",
    "tile": "tile_scene(image, out / 'x.tif', 2)",
    "vote": "vote([labels] * 5, VoteFiles.beside(out / 'v.tif'), JINGWEI, workers=2)",
    "fill": "fill_map(labels, out / 'f.tif', legend=JINGWEI, min_area=9)",
}
WIDE = 40_000


@pytest.fixture(scope="module")
def wide_and_small(tmp_path_factory) -> list[Path]:
    """Folders with a scene, its label and a map, 1300 rows: WIDE px wide, and 300. Plain ones: made in no time."""
    folders = []
    for width in (300, WIDE):
        folder = tmp_path_factory.mktemp(f"{width}")
        write_png(folder / "image_1.png", np.full((1300, width, 4), 255, np.uint8))
        labels = np.ones((1300, width), np.uint8)
        write_png(folder / "image_1_label.png", labels)
        with TiledWriter(folder / "map.tif", 1300, width, nodata=NODATA) as writer:
            writer.write(Window(0, 0, 1300, width), labels)
        folders.append(folder)
    return folders


@pytest.mark.parametrize("stage", STAGES)
def test_memory_is_not_below_the_real_peak(wide_and_small, tmp_path, stage):
    size = Size(1300, WIDE)
    estimate = {
        "cut": estimates.cut_memory(size._replace(bands=3), 600, 2),
        "tile": estimates.tile_memory(size._replace(bands=3), 2),
        "vote": estimates.vote_memory(size, 5),
        "fill": estimates.fill_memory(size, min_area=9),
    }[stage]
    command = [sys.executable, "-c", GROWTH.replace("WORK", STAGES[stage]), *wide_and_small, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    growth = int(done.stdout.split()[-1])
    assert growth <= estimate < 5 * growth


# ---- the look at the disk ----


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes that are free on every disk."""
    usage = namedtuple("usage", "total used free")

    def only(count: int) -> None:
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage(count, 0, count))

    return only


def test_room_is_refused_with_the_figures_only_below_the_bound(free, tmp_path):
    free(1_000_000)
    room.require_room(tmp_path / "not" / "there", 1_000_000)
    with pytest.raises(OutputError, match="there: 2 GB are needed at the very least, and 1 MB are free: free some"):
        room.require_room(tmp_path / "not" / "there", 2_000_000_000)


def test_a_copy_is_refused_by_the_size_of_its_source_and_only_where_it_is_missing(free, tmp_path):
    image, copy = tmp_path / "image_1.png", tmp_path / "copy.tif"
    write_png(image, np.random.default_rng(0).integers(0, 9, (500, 600, 4), np.uint8))
    least = estimates.copy_at_least(image.stat().st_size, 500 * 600 * 3)
    assert 500 * 600 * 3 / 10 < least < image.stat().st_size / 4
    free(least)
    room.require_room_for_tiled(tmp_path, [(image, copy)])
    room.require_room_for_crops(tmp_path, [image] * 4, 0.25)
    free(least - 4)
    with pytest.raises(OutputError):
        room.require_room_for_tiled(tmp_path, [(image, copy)])
    with pytest.raises(OutputError):
        room.require_room_for_crops(tmp_path, [image] * 4, 0.25)
    room.require_room_for_crops(tmp_path, [image] * 4, 0.0)
    copy.touch()
    room.require_room_for_tiled(tmp_path, [(image, copy)])


def test_maps_are_refused_by_their_index_and_only_where_they_are_missing(free, giant):
    outputs = [giant / "a.tif", giant / "b.png"]
    least = 6 * 6 * 4 + 1500 * 1300 // 1032
    free(least)
    room.require_room_for_maps(giant / "image_1.tif", outputs)
    free(least - 1)
    with pytest.raises(OutputError):
        room.require_room_for_maps(giant / "image_1.tif", outputs)
    outputs[1].touch()
    room.require_room_for_maps(giant / "image_1.tif", outputs)


def test_no_job_that_fits_is_refused(free, giant):
    """The bound beside what is really written, for what compresses best: nothing but background. A refusal raises."""
    write_png(giant / "flat.png", np.full((1500, 1300, 4), 255, np.uint8))
    write_png(giant / "flat_label.png", np.zeros((1500, 1300), np.uint8))
    scene = Scene(giant / "flat.png", giant / "flat_label.png")
    settings = CutSettings(128, 128)
    cut_train(Workspace(giant / "out"), [scene], settings, JINGWEI, 1)
    tile_scene(scene.image, giant / "tiled" / "flat.tif", 1)
    free(bytes_in(giant / "out"))
    room.require_room_for_crops(giant, [scene.image], settings.keep_background)
    free(bytes_in(giant / "tiled"))
    room.require_room_for_tiled(giant, [(scene.image, giant / "copy.tif")])
