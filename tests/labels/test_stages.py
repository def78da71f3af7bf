"""Every stage takes drawn labels where it takes a raster, and says of them what it says of that raster."""

import json
import shutil

import numpy as np
import pytest
import shapely
from sample_folders import blocky, write_optical
from test_drawn import Over, draw

import jingwei
import jingwei.crops.table
import jingwei.errors
import jingwei.grid
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.evaluation.folders import score_folders
from jingwei.inputs.samples import find_samples
from jingwei.inputs.scenes import labels_of
from jingwei.legend import GF2, JINGWEI
from jingwei.polygons.polygons import write_polygons
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter

pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*", "ignore::rasterio.errors.NotGeoreferencedWarning")


def as_polygons(label, legend=JINGWEI):
    """The polygons of a label, all classes, in its place."""
    path = label.with_suffix(".gpkg")
    write_polygons(label, path, legend=legend, classes=range(len(legend)))
    label.unlink()
    return path


@pytest.fixture
def project(county, tmp_path):
    """The county with a map of its test scene, which is wrong in a corner."""
    root = tmp_path / "project"
    shutil.copytree(county, root)
    label = next(root.rglob("truth/*_label.png"))
    jingwei.tile(next(root.rglob("*test*/image_3.png")), root / "test" / "image3" / "image_3.tif")
    with jingwei.raster.reading.open_labels(label) as raster:
        labels = raster.read_label_rows(0, raster.height)
    labels[:40, :50] = 1
    with TiledWriter(root / "test" / "mask3" / "focal_lovasz_first.tif", *labels.shape, nodata=255) as writer:
        writer.write(jingwei.grid.Window(0, 0, *labels.shape), labels[None], np.ones(labels.shape, bool))
    return root


def test_scores_are_those_of_the_raster(project, call):
    made = project / "test" / "mask3" / "focal_lovasz_first.tif"
    label = project / "truth" / "image_3_label.png"
    expected = jingwei.evaluate(made, label)
    status, stages, _ = call("evaluate.py", "--data_dir", project, "--json")
    assert status == 0
    drawn = as_polygons(label)
    assert jingwei.evaluate(made, drawn) == expected
    assert call("evaluate.py", "--data_dir", project, "--json") == (0, stages, "")
    assert json.loads(call("evaluate.py", "--prediction", made, "--label", drawn, "--json")[1]) == expected
    status, out, err = call("evaluate.py", "--data_dir", project, "--dry_run")
    assert (status, err) == (0, "")
    assert "to be scored by" in out


def test_the_report_shows_the_same_truth(project):
    label = project / "truth" / "image_3_label.png"
    tiles = []
    for _ in range(2):
        jingwei.report(project, project / "report")
        (layer,) = (project / "report" / "tiles").rglob("truth-*")
        tiles.append({path.relative_to(layer): path.read_bytes() for path in layer.rglob("*.js")})
        if label.exists():
            as_polygons(label)
    assert tiles[0]
    assert tiles[0] == tiles[1]


def test_the_doctor_counts_them_and_says_what_is_wrong(project, call):
    label = next(project.rglob("image_1_label.png"))
    expected = call("doctor.py", project, "--quick")[1].partition("classes of")[2].partition("what it")[0]
    drawn = as_polygons(label)
    assert call("doctor.py", project, "--quick")[1].partition("classes of")[2].partition("what it")[0] == expected
    draw(drawn, [shapely.box(3, 3, 9, 9)], crs=None, class_id=[7])
    status, out, err = call("doctor.py", project, "--quick")
    assert (status, err) == (1, "")
    assert "image_1_label.gpkg: field class_id has classes that legend jingwei does not know: 7" in out
    write_png(label, np.zeros((300, 211), np.uint8))
    assert "image_1_label.gpkg: is not read: the label of image_1 is image_1_label.png" in call(
        "doctor.py", project, "--quick")[1]  # fmt: skip


def test_labels_that_others_go_before_are_named(project, call):
    folder = next(project.rglob("image_1.png")).parent
    draw(folder / "image_1_label.gpkg", [shapely.box(10, 10, 50, 50)], over=Over(300, 211), label=["corn"])
    err = call("generate_train_data.py", "--data_dir", project, "--crop_size", 64)[2]
    said = f"image_1_label.gpkg: is not read: the label of image_1 is {folder / 'image_1_label.png'}: take one"
    assert err.count("\n") == 1
    assert said in err


def test_several_files_of_a_scene_by_name_and_by_place(project, call, tmp_path):
    """One file a class; and the flags say how they are read."""
    folder = next(project.rglob("image_1.png")).parent
    over = Over(300, 211)
    (folder / "image_1_label.png").unlink()
    (folder / "image_2_label.png").unlink()
    corn = draw(folder / "image_1_label_corn.gpkg", [shapely.box(100, 100, 150, 200)], over=over, n=[1])
    house = draw(
        folder / "image_1_label_building.geojson", [shapely.LineString([(20, 280), (200, 280)])], over=over, n=[1]
    )
    assert set(labels_of(folder / "image_1.png")) == {corn, house}
    cut = ("generate_train_data.py", "--data_dir", tmp_path / "cut", "--crop_size", 64, "--buffer", "4px")
    status, out, err = call(*cut, "--scene", folder / "image_1.png", corn, house)
    assert (status, err) == (0, "")
    pixels = np.sum(
        [crop.pixels for crop in jingwei.crops.table.read_crops(tmp_path / "cut" / "train" / "crops.csv")], 0
    )
    assert pixels[2] > 4000
    assert pixels[4] > 1000
    assert pixels[[0, 1, 3]].sum() == 0
    status, out, err = call(*cut[:-2], "--scene", folder / "image_1.png", corn, house)
    assert status == 2
    assert err.count("\n") == 1
    assert "1 lines, which cover no pixel: say by --buffer how far" in err
    status, out, err = call(*cut, "--scene", folder / "image_1.png")
    assert (status, err) == (
        2,
        f"error: --scene: {folder / 'image_1.png'} has no label: name the image and then its label\n",
    )


def test_masks_of_samples_may_be_drawn(tmp_path):
    """System B: the same crops as from masks in colours."""
    labels = {str(number): blocky((60, 70), len(GF2), number) for number in range(4)}
    found = []
    for kind in ("raster", "drawn"):
        write_optical(tmp_path / kind, labels)
        if kind == "drawn":
            for mask in sorted((tmp_path / kind / "lbl").iterdir()):
                write_png(mask, labels[mask.stem.partition("_")[0]])
                as_polygons(mask, GF2)
            samples, broken = find_samples(tmp_path / kind / "img")
            assert not broken
            assert all(sample.label.suffix == ".gpkg" for sample in samples)
        data = FolderData(tmp_path / kind, GF2, crop_size=32)
        train = prepare_training(data, tmp_path / f"cache_{kind}", workers=2).train
        found.append({p.relative_to(train): p.read_bytes() for p in train.rglob("*.png") if ".parts" not in p.parts})
    assert len(found[0]) > 10
    assert found[0] == found[1]


def test_a_folder_of_drawn_masks_is_scored(tmp_path):
    labels = {str(number): blocky((60, 70), len(GF2), number) for number in range(3)}
    for name, its in labels.items():
        write_png(tmp_path / "guessed" / f"{name}_gt.png", np.roll(its, 7, 0))
        write_png(tmp_path / "known" / f"{name}_gt.png", its)
    expected = score_folders(tmp_path / "guessed", tmp_path / "known", GF2).matrix.counts
    for mask in sorted((tmp_path / "known").iterdir()):
        as_polygons(mask, GF2)
    score = score_folders(tmp_path / "guessed", tmp_path / "known", GF2)
    np.testing.assert_array_equal(score.matrix.counts, expected)
    (tmp_path / "guessed" / "1_gt.png").unlink()
    with pytest.raises(jingwei.errors.InputError, match="1_gt.gpkg: has no prediction, and without one nobody knows"):
        score_folders(tmp_path / "guessed", tmp_path / "known", GF2)
