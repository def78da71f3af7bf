"""Labels that come back: rounds on disk, what is cut for training and what is scored."""

import shutil
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from projects_to_label import HEIGHT, PLACE, SIDE, WIDTH, fill_labels, guesses, labels_of, layer

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.errors import InputError, OutputError
from jingwei.evaluation.scenes import score_file
from jingwei.labelling.rounds import take_in
from jingwei.labelling.status import rounds_of
from jingwei.labelling.suggest import suggest
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.png import write_png
from jingwei.system.atomic import only_run
from jingwei.workspace import Workspace

*OTHERS, LAST = JINGWEI.classes
UP_TO_255 = replace(JINGWEI, classes=(*OTHERS, replace(LAST, value=NODATA)), ignore=(9,))


def inside_places(workspace: Workspace, scene) -> np.ndarray:
    _, places = layer(workspace.next_labels(scene), "places")
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for row, col in zip(places["row"], places["col"], strict=True):
        mask[row : row + SIDE, col : col + SIDE] = True
    return mask


def test_what_is_confirmed_is_burnt_back_to_the_pixel(asked):
    workspace, scene, labels = asked
    places = inside_places(workspace, scene)
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    assert (labels_of(workspace, scene) == np.where(places, labels, NODATA)).all()  # from next.gpkg itself
    done = take_in(workspace, [scene], JINGWEI)
    assert [path.name for path in done] == ["round_1.gpkg"]
    workspace.next_labels(scene).unlink()
    assert (labels_of(workspace, scene) == np.where(places, labels, NODATA)).all()


def test_only_what_is_labelled_counts_and_rounds_add_up(asked):
    workspace, scene, labels = asked
    first = inside_places(workspace, scene)
    said = guesses(workspace, scene)
    fill_labels(workspace.next_labels(scene), [name if k % 2 else None for k, name in enumerate(said)])
    some = labels_of(workspace, scene)
    assert 0 < (some != NODATA).sum() < first.sum()
    assert (some[some != NODATA] == labels[some != NODATA]).all()
    take_in(workspace, [scene], JINGWEI)
    suggest(workspace, [scene], JINGWEI, count=4, window=SIDE, simplify=0)
    second = inside_places(workspace, scene)
    shares = [(some[r : r + SIDE, c : c + SIDE] != NODATA).mean() for r, c in corners(workspace, scene)]
    assert max(shares) < 0.25  # what is labelled already is not asked for again
    fill_labels(workspace.next_labels(scene), ["building"] * len(guesses(workspace, scene)))
    assert len(take_in(workspace, [scene], JINGWEI)) == 1
    workspace.next_labels(scene).unlink()
    expected = np.where(second, JINGWEI.id_of("building"), some)
    assert (labels_of(workspace, scene) == expected).all()


def corners(workspace: Workspace, scene) -> list[tuple[int, int]]:
    _, places = layer(workspace.next_labels(scene), "places")
    return list(zip(places["row"].tolist(), places["col"].tolist(), strict=True))


def test_a_run_that_was_stopped_makes_no_round_twice(asked, capfd):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    assert len(take_in(workspace, [scene], JINGWEI)) == 1
    assert take_in(workspace, [scene], JINGWEI) == {}
    assert capfd.readouterr().out == ""  # nothing to be done about it: the file is put away next
    counted = rounds_of(workspace, [scene], JINGWEI)  # where no new places could be chosen since, next.gpkg stays
    assert [each.path.name for each in counted] == ["round_1.gpkg"]
    fill_labels(workspace.next_labels(scene), ["corn"] * len(guesses(workspace, scene)))
    counted = rounds_of(workspace, [scene], JINGWEI)
    assert [each.path.name for each in counted] == ["round_1.gpkg", "next.gpkg"]


@pytest.mark.parametrize("legend", [JINGWEI, UP_TO_255], ids=["255", "ignored"])
def test_what_is_said_to_have_no_label_loses_that_of_earlier_rounds(asked, legend):
    workspace, scene, _ = asked
    corn = ["corn"] * len(guesses(workspace, scene))
    fill_labels(workspace.next_labels(scene), corn)
    take_in(workspace, [scene], legend)
    before = labels_of(workspace, scene, legend)
    fill_labels(workspace.next_labels(scene), [str((*legend.ignore, NODATA)[0]), *corn[1:]])
    drawn = labels_of(workspace, scene, legend)
    assert (drawn == NODATA).sum() > (before == NODATA).sum()
    (path,) = take_in(workspace, [scene], legend)
    workspace.next_labels(scene).unlink()
    assert path.name == "round_2.gpkg"
    assert (labels_of(workspace, scene, legend) == drawn).all()


def test_two_rounds_of_one_number_are_refused(asked):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    (path,) = take_in(workspace, [scene], JINGWEI)
    shutil.copy(path, path.with_name("round_01.gpkg"))
    with pytest.raises(InputError, match="round_1.gpkg: is round 1, and so is round_01.gpkg: give one of them"):
        labels_of(workspace, scene)


def test_two_runs_never_make_the_same_round(asked):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    with only_run(workspace.rounds(scene)), pytest.raises(OutputError, match="image_3: another run is writing it"):
        take_in(workspace, [scene], JINGWEI)
    assert [path.name for path in workspace.rounds(scene).iterdir()] == ["next.gpkg"]
    assert len(take_in(workspace, [scene], JINGWEI)) == 1
    assert [path.name for path in workspace.rounds(scene).parent.iterdir()] == ["image_3"]


def test_rows_may_be_deleted_and_added_by_hand(asked):
    workspace, scene, labels = asked
    path = workspace.next_labels(scene)
    meta, _, wkb, fields = pyogrio.raw.read(path, layer="labels")
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    with scene.open_image() as image:
        transform = image.transform
    corner = (transform.c + transform.a * 10, transform.f + (transform.e if PLACE[1] == transform else -1) * 10)
    end = (transform.c + transform.a * 30, transform.f + (transform.e if PLACE[1] == transform else -1) * 30)
    wkb = [*wkb[:3], shapely.to_wkb(shapely.box(corner[0], end[1], end[0], corner[1]))]
    kept = {name: [*values[:3], None if name != "place" else -1] for name, values in columns.items()}
    kept["label"] = [None, columns["guess"][1], None, "corn"]
    data = [np.array(kept[name], object if name != "place" else np.int64) for name in kept]
    how = {"driver": "GPKG", "layer": "labels", "geometry_type": "Polygon", "layer_options": {"OVERWRITE": "YES"}}
    notes = dict(pyogrio.read_info(path, layer="labels")["layer_metadata"] or {})
    pyogrio.raw.write(path, np.array(wkb, object), data, list(kept), crs=meta["crs"], layer_metadata=notes, **how)
    take_in(workspace, [scene], JINGWEI)
    path.unlink()
    seen = labels_of(workspace, scene)
    assert (seen[10:30, 10:30] == JINGWEI.id_of("corn")).all()
    assert (seen != NODATA).sum() > 400


def test_what_was_drawn_beside_the_labels_is_said_and_kept(asked, capfd):
    """A round has what has a class: the rest of what people drew stays on the disk, whatever is asked next."""
    workspace, scene, _ = asked
    path = workspace.next_labels(scene)
    fill_labels(path, guesses(workspace, scene))
    shapes, _ = layer(path, "labels")
    how = {"driver": "GPKG", "layer": "mine", "geometry_type": "Polygon", "append": True}
    pyogrio.raw.write(path, shapely.to_wkb(shapes[:1]), [np.array(["corn"], object)], ["label"], crs=None, **how)
    before = path.read_bytes()
    take_in(workspace, [scene], JINGWEI)
    assert "layer labels is read, mine not" in capfd.readouterr().err
    for number in (1, 2):
        suggest(workspace, [scene], JINGWEI, count=4, window=SIDE)
        assert (path.parent / "earlier" / f"next_{number}.gpkg").exists()
    assert (path.parent / "earlier" / "next_1.gpkg").read_bytes() == before


def test_places_are_not_replaced_where_the_old_ones_cannot_be_kept(asked):
    workspace, scene, _ = asked
    before = workspace.next_labels(scene).read_bytes()
    (workspace.rounds(scene) / "earlier").write_text("in the way")
    with pytest.raises(OutputError, match="next.gpkg: can't be moved to .*earlier"):
        suggest(workspace, [scene], JINGWEI, count=4, window=SIDE)
    assert workspace.next_labels(scene).read_bytes() == before


@pytest.mark.parametrize(("labels", "said"), [
    (None, "nothing is labelled in it yet: choose a label"),
    ("crn", "field label has classes that legend jingwei does not know: 'crn'.*did you mean corn"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_and_stays(asked, labels, said):
    workspace, scene, _ = asked
    if labels:
        fill_labels(workspace.next_labels(scene), [labels] * len(guesses(workspace, scene)))
    before = workspace.next_labels(scene).read_bytes()
    with pytest.raises(InputError, match=said):
        take_in(workspace, [scene], JINGWEI)
    assert workspace.next_labels(scene).read_bytes() == before
    assert [path.name for path in workspace.rounds(scene).iterdir()] == ["next.gpkg"]


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_a_file_that_is_open_elsewhere_is_left_alone(asked, ending):
    workspace, scene, _ = asked
    path = workspace.next_labels(scene)
    path.with_name(f"next.gpkg{ending}").write_bytes(b"x")
    with pytest.raises(InputError, match="open in another program"):
        take_in(workspace, [scene], JINGWEI)


def rewritten(path, name: str, without: str = "") -> None:
    """The layer `labels` of a file under another name, or without a field; the frames behind it."""
    meta, _, wkb, fields = pyogrio.raw.read(path, layer="labels")
    columns = {n: values for n, values in zip(meta["fields"].tolist(), fields, strict=True) if n != without}
    frames, places = layer(path, "places")
    path.unlink()
    how = {"geometry_type": "Polygon", "crs": meta["crs"], "append": True}
    pyogrio.raw.write(path, wkb, list(columns.values()), list(columns), layer=name, **how)
    pyogrio.raw.write(path, shapely.to_wkb(frames), [places["place"]], ["place"], layer="places", **how)


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_a_file_whose_layer_has_another_name_is_refused(asked):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    rewritten(workspace.next_labels(scene), "mine")
    said = "next.gpkg: has no layer labels any more, but mine, places: name it labels again"
    for use in (lambda: take_in(workspace, [scene], JINGWEI), workspace.train_scenes):
        with pytest.raises(InputError, match=said):
            use()


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_guesses_are_no_labels_where_a_round_has_lost_its_field(asked):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    (path,) = take_in(workspace, [scene], JINGWEI)
    shutil.copy(workspace.next_labels(scene), path)
    workspace.next_labels(scene).unlink()
    rewritten(path, "labels", without="label")
    with pytest.raises(InputError, match="round_1.gpkg: layer labels has no field 'label' any more"):
        labels_of(workspace, scene)


def test_a_labelled_test_scene_is_cut_where_its_labels_lie(asked):
    workspace, scene, labels = asked
    places = inside_places(workspace, scene)
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    crops = cut_train(workspace, workspace.train_scenes(), CutSettings(SIDE, SIDE, 0.0, 1.0), JINGWEI, 1)
    seen = np.full(labels.shape, NODATA, np.uint8)
    for crop in crops:
        kept = read_label_crop(workspace.train / "label" / crop.name)
        seen[crop.window.slices] = np.where(kept != NODATA, kept, seen[crop.window.slices])
    inside = places.copy()
    inside[:, -30:] = False
    assert (seen == np.where(inside, labels, NODATA)).all()


def test_what_was_labelled_for_training_is_not_scored(asked):
    workspace, scene, labels = asked
    write_png(workspace.root / "truth" / "image_3_label.png", labels)
    (before,) = workspace.cut_scenes()
    whole = score_file(workspace.vote(scene), before.label_files, JINGWEI, scene.image)
    places = inside_places(workspace, scene)
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    (after,) = workspace.cut_scenes()
    rest = score_file(workspace.vote(scene), after.label_files, JINGWEI, scene.image)
    places[:, -30:] = False
    assert rest.counts.sum() == whole.counts.sum() - places.sum()
    assert after.sources[-1] == workspace.next_labels(scene)


def test_a_field_named_for_other_labels_is_not_looked_for_in_rounds(asked):
    workspace, scene, labels = asked
    places = inside_places(workspace, scene)
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    named = Workspace(workspace.root, rules_of(label_field="crop"))
    assert (labels_of(named, scene) == np.where(places, labels, NODATA)).all()


def test_labels_of_a_scene_that_is_gone_are_not_passed_over(asked):
    workspace, scene, _ = asked
    fill_labels(workspace.next_labels(scene), guesses(workspace, scene))
    shutil.move(workspace.rounds(scene), workspace.root / "label" / "image_9")
    with pytest.raises(InputError, match="no scene named image_9"):
        workspace.train_scenes()
