"""Rounds of labels: what people have labelled becomes the next file of `label/SCENE/`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from jingwei.errors import InputError, OutputError
from jingwei.inputs.scenes import Scene
from jingwei.labels.classes import NONE, USUAL, classes_of, is_empty
from jingwei.labels.drawn import order_of, without_class
from jingwei.labels.notes import Note
from jingwei.labels.rounds import FIELD, TAKEN, is_labelled, is_of_rounds, mark_of, round_files, round_made_of
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.labels.shapes import areas_of
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layered import Layer, write_layers
from jingwei.polygons.layers import LABELS, VectorLayer, read_layer
from jingwei.polygons.opening import file_and_layer
from jingwei.polygons.reading import Y
from jingwei.polygons.styles import class_style
from jingwei.raster.georeference import placed, vector_transform
from jingwei.raster.label_values import ids_of_values
from jingwei.raster.reading import Raster
from jingwei.system.atomic import only_run
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

OF_ROUNDS = DrawingRules(field=FIELD)
EARLIER = "earlier"  # the folder, in that of a scene's rounds, of what people were asked before


def take_in(workspace: Workspace, scenes: Sequence[Scene], legend: Legend) -> dict[Path, int]:
    """Makes rounds of what is labelled in the scenes' `next.gpkg`; returns how many regions each new round has.

    Raises InputError, and makes none, where such files are there and nothing is labelled in any, where one is open in
    another program, and for labels that can't be used.
    """
    there = [scene for scene in scenes if workspace.next_labels(scene).is_file()]
    layers = {scene: _closed(workspace.next_labels(scene)) for scene in there}
    labelled = [scene for scene in there if is_labelled(layers[scene]).any()]
    if there and not labelled:
        remedy = "choose a label for the regions that you are sure of; or delete the file to choose places anew"
        raise InputError(workspace.next_labels(there[0]), "nothing is labelled in it yet", remedy)
    for scene in labelled:  # all of them can be used, or none is taken
        _readable(scene, layers[scene], legend, OF_ROUNDS)
    done: dict[Path, int] = {}
    for scene in labelled:
        source = workspace.next_labels(scene)
        if not round_made_of(workspace.rounds(scene), mark_of(source)):  # as by a run that was stopped then
            done |= add_round(workspace, scene, source, legend, OF_ROUNDS)
    return done


def _closed(path: Path) -> VectorLayer:
    """A file's labels. InputError where another program has it open: its changes may not all be in it yet."""
    for beside in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if beside.is_file():
            problem = f"is open in another program ({beside.name} is beside it)"
            raise InputError(
                path, problem, "save and close it there first (after a crash: open and close it once more)"
            )
    return read_layer(path, needed=LABELS)


def _readable(
    scene: Scene, layer: VectorLayer, legend: Legend, rules: DrawingRules
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Note, ...]]:
    """The labelled features of a layer over a scene, those that lie above others behind them: shapes in pixels, numbers
    in the file, class ids; and notes.
    """
    if not layer.size:
        raise InputError(layer.path, "has no features", "draw what you see")
    ids, by = classes_of(layer.path, layer.layer, layer.columns, layer.size, legend, rules.field)
    wanted = ids != NONE
    if not wanted.any():
        raise InputError(layer.path, f"no feature has a class ({by})", "write one into each")
    with scene.open_image() as image:
        shapes, numbers, notes = areas_of(layer, wanted, image, rules)
    # What label.py has asked for may stay without a class, but not what people have added.
    lacking = ids == NONE
    if is_of_rounds(layer) and "place" in layer.columns:
        lacking &= [is_empty(place) for place in layer.columns["place"].tolist()]
    if lacking.any():
        notes = (without_class(layer, int(lacking.sum()), by), *notes)
    if not is_of_rounds(layer) and rules.field is None and by.removeprefix("field ").lower() not in USUAL:
        remedy = "if they are elsewhere, delete the round and name their field by `label_field`"
        notes = (Note(layer.path, f"the classes are those of {by}", remedy), *notes)
    if rules.order:
        upwards = np.argsort(order_of(layer, rules.order)[numbers], kind="stable")
        shapes, numbers = shapes[upwards], numbers[upwards]
    return shapes, numbers, ids[numbers], notes


def put_away(path: Path) -> None:
    """Moves a scene's `next.gpkg`, where it is there, to `earlier/next_1.gpkg` or a higher number.

    A round has what was labelled; what else people drew or wrote (without a class, in other layers or fields) is in
    that file alone. Raises OutputError where it can't be moved.
    """
    if not path.exists():
        return
    folder = path.parent / EARLIER
    numbers = [
        int(found[1]) for file in folder.glob("next_*.gpkg") if (found := re.fullmatch(r"next_(\d+)", file.stem))
    ]
    target = folder / f"next_{max(numbers, default=0) + 1}.gpkg"
    try:
        folder.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        remedy = f"check the permissions of {path.parent}, or move it away yourself"
        raise OutputError(path, f"can't be moved to {target} ({error.strerror})", remedy) from error


def add_round(
    workspace: Workspace, scene: Scene, source: Path, legend: Legend, rules: DrawingRules = AS_DRAWN
) -> dict[Path, int]:
    """Makes a round of the labels of a vector file: polygons with classes, ids or names, in any CRS or in pixels.

    The `rules` say which field has the classes, and how wide lines and points are. Returns the round's file and how
    many regions it has; nothing where a round was made of the same file (and layer, where `source` names one). Raises
    OutputError where another run is making a round of the scene.
    """
    layer = read_layer(source)
    mark = mark_of(source)
    shapes, numbers, ids, notes = _readable(scene, layer, legend, rules)
    with only_run(workspace.rounds(scene)):  # or two runs would take the same number, and one's labels were lost
        if made := round_made_of(workspace.rounds(scene), mark):
            Progress.write(f"kept, {source} was taken in before: delete {made} to take it in anew")
            return {}
        number = max(round_files(workspace.rounds(scene)), default=0) + 1
        target = workspace.rounds(scene) / f"round_{number}.gpkg"
        with scene.open_image() as image:
            _write(target, image, layer, shapes, numbers, ids, legend, mark)
    for note in notes:  # later nobody can tell: the round has only what could be used
        Progress.write(f"warning: {note}", file=sys.stderr)
    return {target: len(shapes)}


def _write(
    target: Path, image: Raster, layer: VectorLayer, shapes: np.ndarray, numbers: np.ndarray, ids: np.ndarray,
    legend: Legend, mark: str,
) -> None:  # fmt: skip
    """Writes a round in the scene's coordinates, with the layer's own `place` and `guess` where it has them."""
    affine = vector_transform(image.transform)
    on_ground = shapely.transform(shapes, lambda points: np.stack(placed(affine, *points.T), axis=1))
    single = (shapely.get_type_id(on_ground) == shapely.GeometryType.POLYGON).all()
    if not single:
        on_ground = np.array([shapely.multipolygons(shapely.get_parts(shape)) for shape in on_ground], object)
    columns: dict[str, np.ndarray] = {
        name: layer.columns[name][numbers] for name in ("place", "guess") if name in layer.columns
    }
    no_label = next((str(v) for v in (NODATA, *legend.ignore) if ids_of_values(legend)[v] == NODATA), None)
    columns[FIELD] = np.array([legend.names[k] if k < len(legend) else no_label for k in ids.tolist()], object)
    style = class_style("Polygon", legend, range(len(legend)), FIELD, form=True)
    kind = "Polygon" if single else "MultiPolygon"
    notes = {TAKEN: mark} | ({Y: "-row"} if image.transform.is_identity else {})
    layers = [Layer(LABELS, shapely.to_wkb(on_ground).tolist(), columns, style, kind)]
    write_layers(target, layers, crs=image.crs, notes=notes, date=layer.path.stat().st_mtime)


def scene_meant(source: Path, scenes: Sequence[Scene], named: bool = False) -> Scene:
    """The scene that a file of labels is for: the only one, or the one whose name its name begins with.

    InputError where that can't be told: of corrections for another scene, too, unless people have `named` this one.
    """
    file, _ = file_and_layer(source)
    alike = [scene for scene in scenes if file.stem == scene.name or file.stem.startswith(f"{scene.name}_")]
    of_report = re.match("(.+)_corrections", file.stem)  # which may be of a scene that is not among these
    if alike or (len(scenes) == 1 and (named or not of_report)):
        return max(alike or scenes, key=lambda scene: len(scene.name))
    if not file.exists():
        raise InputError(file, "no such file", "check the path")
    names = ", ".join(scene.name for scene in scenes)
    if of_report:
        problem = f"is named for scene {of_report[1]}, which is not among those here ({names})"
        raise InputError(source, problem, "say by `scene` which one it is for")
    raise InputError(source, f"is for one of several scenes ({names})", "name it SCENE_corrections, or give `scene`")
