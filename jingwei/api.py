"""The public API: what `import jingwei` offers, a function for each step of the road.

    import jingwei

    jingwei.cut([("image_1.png", "image_1_label.png")], "project")
    model = jingwei.load(jingwei.train("focal_lovasz", "project", exp="first", epochs=20))
    jingwei.predict("image_3.png", model, "map.tif", window=1024)
    jingwei.vote(["map.tif", "other.tif", "third.tif"], "vote.tif")
    jingwei.fill("vote.tif", "filled.tif", max_size=500)
    jingwei.polygonize("filled.tif", "fields.gpkg", simplify=1.5)
    jingwei.evaluate("filled.tif", "image_3_label.png")["miou"]

Everything heavy is imported by the function that needs it. Each function raises an error of the `JingweiError` family
where its input is at fault, and writes its outputs whole or not at all. Legends are given as a `Legend`, by name
(jingwei, gf2, gf3) or as the path of a JSON file; left out, maps say by themselves with which legend they were made.
`label_nodata` (keep, ignore) says what pixels of a label or map are whose value is both its nodata tag and a class.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jingwei.errors import SettingError, known
from jingwei.legend import Legend

if TYPE_CHECKING:
    from jingwei.crops.table import Crop
    from jingwei.prediction.model import Model
    from jingwei.training.recipes import Recipe

StrPath = str | Path
Class = str | int  # by name or id


def load(path: StrPath, device: str = "auto") -> Model:
    """A trained network from its checkpoint alone: best.pt or best.pth, of optical scenes or of radar.

    The `Model` has `legend`, `bands`, `dtype` and `scores`, and `predict` for pixels in memory. `device` is auto (the
    GPU where there is one), cpu, cuda or cuda:1. Raises CheckpointError where the file is missing, broken or not ours.
    """
    from jingwei.prediction.model import load_model

    return load_model(path, device)


def cut(
    scenes: Sequence[tuple[StrPath, ...]] | None = None,
    data_dir: StrPath = "data",
    *,
    crop_size: int = 1024,
    stride: int | None = None,
    val_fraction: float = 0.2,
    keep_background: float = 0.1,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
    workers: int | None = None,
) -> list[Crop]:
    """Cuts labelled scenes into crops to train on, in DIR/train/, split into training and validation.

    `scenes` are pairs (image, label); None takes those of DIR/*train*/. A label is a raster, or drawn: a vector file
    (.gpkg, .geojson, .shp, .fgb), of which there may be several, (image, label, label). `label_field` is its field of
    classes, `buffer` how far lines and points reach (metres, or "3px"), `order` a field: the higher lies above.
    What is not drawn has no label, but is background inside the polygons of `labelled`, or with `background_outside`
    everywhere: see docs/labels.md. `crop_size` and `stride` (as large, where it is
    left out) in px; `val_fraction` of each class goes to validation; `keep_background` of the crops of nothing but
    background are kept. Without `label_nodata`, labels whose nodata tag is a class are refused. Without a `legend`,
    DIR/legend.json counts, else the contest's. Scenes that were cut before in the same way are not cut again. Returns
    the crops, as crops.csv lists them.
    """
    from jingwei.crops.cut import cut_train
    from jingwei.crops.settings import CutSettings
    from jingwei.inputs.legends import choose_legend
    from jingwei.inputs.scenes import check_names, scene_of
    from jingwei.labels.rules import TRAINING, rules_of
    from jingwei.workspace import Workspace

    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(TRAINING)
    workspace = Workspace(Path(data_dir), rules)
    if scenes is None:
        chosen = workspace.train_scenes()
    else:
        chosen = [scene_of(Path(image), [Path(label) for label in labels], rules) for image, *labels in scenes]
        check_names(chosen)
    settings = CutSettings(crop_size, crop_size if stride is None else stride, val_fraction, keep_background)
    classes = choose_legend(legend, folder=workspace.root, label_nodata=label_nodata).legend
    return cut_train(workspace, chosen, settings, classes, _workers(workers))


def tile(scene: StrPath, output: StrPath, *, workers: int | None = None) -> Path:
    """Copies a scene into a tiled GeoTIFF, of which any window can be read at once; returns its path.

    `predict` does it by itself where a scene needs it; it pays to keep the copy of a scene that is predicted often.
    """
    from jingwei.crops.tile import tile_scene

    tile_scene(Path(scene), Path(output), _workers(workers))
    return Path(output)


def train(
    recipe: str | Recipe | Path,
    data_dir: StrPath = "data",
    exp: str = "default",
    *,
    device: str = "auto",
    workers: int | None = None,
    compile: bool = False,
    resume: StrPath | None = None,
    weights: StrPath | None = None,
    init_from: StrPath | None = None,
    scratch: bool = False,
    skip_bad_steps: int = 0,
    weights_bands: str = "",
    refit: str | None = None,
    **changes: Any,
) -> Path:
    """Trains a recipe on the crops of DIR/train/, or goes on with a run that was stopped; returns best.pt.

    `recipe` is the name of one (cross_entropy, focal_lovasz, swa, multiscale, attention_unet), a `Recipe`, or a config
    file of system B (.json), whose data counts then and whose run has a folder of its own. `changes` are fields of the
    recipe: epochs=30, base_lr=0.007, backbone="resnet18", crop_sizes=(512, 448). The other arguments are those of the
    flags of train.py: `resume` a checkpoint to go on from though settings have changed, `weights` a file of weights or
    a name that `train.py --list_weights` shows, `weights_bands` the bands that a file was made for ("sentinel2"),
    `init_from` a checkpoint of ours to start from, `scratch` random weights, `refit` an experiment of this recipe to
    train once more, on all labels, as `exp`.

    Raises SettingError for settings that make no sense or where `exp` holds a run with other settings, InputError where
    nothing was cut, TrainingError where the loss is not a number any more.
    """
    from jingwei.system.machine import cores

    if str(recipe).endswith(".json"):
        if exp != "default" or changes or scratch or refit or init_from is not None or workers is not None:
            problem = "says itself what is trained, and on which data"
            raise SettingError(str(recipe), problem, "give no other settings: change the file")
        how = {"device": device, "compile": compile, "skip_bad_steps": skip_bad_steps, "weights_bands": weights_bands}
        return _train_config(Path(str(recipe)), resume, weights, how)
    from jingwei.training.loop import RunOptions
    from jingwei.training.loop import train as run
    from jingwei.training.refit import refit_recipe
    from jingwei.workspace import Workspace

    changes |= {"pretrained": False} if scratch else {}
    chosen, workspace = _recipe(recipe, changes), Workspace(Path(data_dir))
    if refit:
        chosen = refit_recipe(workspace, chosen.name, refit, changes)
    first, last = (None if path is None else Path(path) for path in (init_from, resume))
    loaders = min(8, max(1, cores() - 1)) if workers is None else workers
    start: dict[str, Any] = {"weights": weights, "init_from": first, "weights_bands": weights_bands}
    start["refit"] = workspace.experiment(chosen.name, refit) if refit else None
    options = RunOptions(device, loaders, compile, resume=last, skip_bad_steps=skip_bad_steps, **start)
    return run(workspace, chosen, exp, options) / "best.pt"


def _recipe(recipe: str | Recipe | Path, changes: Mapping[str, Any]) -> Recipe:
    from jingwei.training.recipes import RECIPES, Recipe

    if not isinstance(recipe, Recipe):
        if recipe not in RECIPES:
            raise SettingError(f"`recipe` {recipe}", "no such recipe", known(RECIPES, str(recipe)))
        recipe = RECIPES[str(recipe)]
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        remedy = known(Recipe.__dataclass_fields__, unknown[0])
        raise SettingError(f"`{unknown[0]}`", "is not a field of a recipe", remedy)
    return replace(recipe, **changes)


def _train_config(file: Path, resume: StrPath | None, weights: StrPath | None, how: dict[str, Any]) -> Path:
    from jingwei.configs.config import read_config
    from jingwei.configs.run import ConfigOptions, check_resume, train_config
    from jingwei.system.progress import Progress

    last = Path(resume).absolute() if resume else None
    check_resume(last)
    keeping = train_config(read_config(file), ConfigOptions(resume=last, weights=weights, **how), Progress.write)
    return keeping.file("best")


def predict(
    scene: StrPath | Sequence[StrPath],
    model: Model | StrPath,
    output: StrPath,
    *,
    window: int = 1024,
    overlap: int = 256,
    tta: str = "none",
    engine: str = "auto",
    precision: str = "auto",
    device: str | None = None,
    batch_size: int = 0,
    probabilities: StrPath | None = None,
    confidence: StrPath | None = None,
    workers: int | None = None,
) -> Path:
    """Predicts a scene of any size into a label map, a tiled GeoTIFF with the scene's georeference; returns its path.

    `scene` is any raster that GDAL reads; of radar, the file of HH beside which the others lie, or all four files.
    `model` is a `Model` or a checkpoint's path. `probabilities` is where the class probabilities go (uint8, a band per
    class), for soft votes; `confidence` is where each label's probability goes (uint8, 0 to 100, 255 for no data). The
    other arguments are as of `Model.predict`; `device` is the model's, or auto. Memory does not grow with the scene. A
    map that is up to date is kept; a run that was stopped goes on from its finished bands.
    """
    from jingwei.prediction.job import Job
    from jingwei.prediction.model import Model, load_model
    from jingwei.prediction.settings import PredictSettings
    from jingwei.prediction.single import predict_file

    settings = PredictSettings(window, overlap, tta, precision, engine).check()
    if not isinstance(model, Model):
        model = load_model(model, device or "auto")
    target = Path(output)
    files = Path(scene) if isinstance(scene, str | Path) else [Path(file) for file in scene]
    chances, sure = (None if path is None else Path(path) for path in (probabilities, confidence))
    where = device or str(model.device)
    job = Job(model.path, Path(), target, settings, chances, where, batch_size, _workers(workers), confidence=sure)
    predict_file(files, job, model.checkpoint)
    return target


def vote(
    inputs: Sequence[StrPath],
    output: StrPath,
    *,
    soft: bool = False,
    weights: Sequence[float] | None = None,
    ties: str = "first",
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    workers: int | None = None,
) -> Path:
    """Combines label maps by majority vote; returns the path of the result.

    `inputs` are label maps, the best first, or with `soft` class probabilities, as `predict` keeps them. `weights` are
    a number per map. `ties` says who wins a tie: first (the map named first), background, or classes in order
    ("corn,building"). X.tif gets X_agreement.tif, X_entropy.tif and confidence/X.tif beside it. A vote that is up to
    date is kept.
    """
    from jingwei.voting.vote import VoteFiles
    from jingwei.voting.vote import vote as count

    maps = [Path(path) for path in inputs]
    if not maps:
        raise SettingError("`inputs`", "names no maps", "give one at least")
    files = VoteFiles.beside(Path(output))
    how: dict[str, Any] = {"soft": soft, "weights": None if weights is None else list(weights), "ties": ties}
    count(maps, files, _legend(legend, maps[0], label_nodata), workers=_workers(workers), **how)
    return files.labels


def fill(
    source: StrPath,
    output: StrPath,
    *,
    max_size: int = 500,
    min_area: int | Mapping[Class, int] = 0,
    connectivity: int = 4,
    classes: Collection[Class] | None = None,
    protect: Collection[Class] = (),
    frame_sizes: Sequence[int] | None = None,
    step: int = 50,
    picture: StrPath | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
) -> Path:
    """Fills holes of background inside one class, and gives small regions to their neighbours; returns the map's path.

    A hole fits in a square of `max_size` px; regions smaller than `min_area` px (one number, or a number per class) go
    to a neighbour; `connectivity` (4 or 8) joins regions; `classes` are those whose holes are filled (None: all);
    pixels of `protect` never change. With `frame_sizes`, holes are what square frames of these sides surround, `step`
    px apart, as the contest script has it. `picture` is a small picture of what changed.
    """
    from jingwei.filling.fill_map import Frames, fill_map

    known = _legend(legend, Path(source), label_nodata)
    areas = {_id(c, known): n for c, n in min_area.items()} if isinstance(min_area, Mapping) else min_area
    fill_map(
        Path(source),
        Path(output),
        legend=known,
        max_size=max_size,
        min_area=areas,
        connectivity=connectivity,
        classes=None if classes is None else {_id(c, known) for c in classes},
        protect={_id(c, known) for c in protect},
        frames=None if frame_sizes is None else Frames(tuple(frame_sizes), step),
        picture=None if picture is None else Path(picture),
    )
    return Path(output)


def polygonize(
    source: StrPath,
    output: StrPath,
    *,
    simplify: float = 0.0,
    min_area: int = 0,
    classes: Collection[Class] | None = None,
    background: bool = False,
    gsd: float | None = None,
    pixels: bool = False,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
) -> Path:
    """Turns a label map into polygons (.gpkg, .geojson or .parquet); returns the file's path.

    A region of one class is one polygon, its holes are holes. Borders may move by `simplify` px: neighbours keep their
    common border and nothing overlaps. Regions smaller than `min_area` px are left out. `classes` (None: all but the
    background) get polygons, and the background too where `background` says so. `gsd` is the side of a pixel on the
    ground in metres, where the georeference doesn't say. GeoJSON holds longitude and latitude; that of a map without a
    CRS is refused unless `pixels` asks for x = column, y = -row. A file that is up to date is kept.
    """
    from jingwei.polygons.polygons import write_polygons

    known = _legend(legend, Path(source), label_nodata)
    if background and known.background is None:
        raise SettingError("`background`", f"legend {known.name} has no background class", "leave it out")
    ids = set(known.foreground) if classes is None else {_id(c, known) for c in classes}
    ids |= {known.background} if background and known.background is not None else set()
    how: dict[str, Any] = {"legend": known, "classes": ids, "min_area": min_area, "simplify": simplify, "gsd": gsd}
    how["pixels"] = pixels
    write_polygons(Path(source), Path(output), **how)
    return Path(output)


def evaluate(
    prediction: StrPath,
    label: StrPath | None = None,
    *,
    sample: StrPath | None = None,
    alpha: float = 0.05,
    confidence: StrPath | None = None,
    other: StrPath | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
) -> dict[str, Any]:
    """Scores a label map, or a folder of masks, against its truth; or a map by a `sample` that people have labelled.

    Without a `legend`, the one beside the label counts, else the map's own. How drawn labels are read is as of `cut`;
    but where an area of `labelled` has the `use` test, only these are scored.

    Gives miou (without the background), miou_with_background, fwiou, accuracy, kappa, mean_f1, pixels, missed; under
    classes, by name: iou, f1, precision, recall, pixels; and confusion, a list of rows: pixels by label (row) and
    prediction (column), the last column those that have no prediction. A score that doesn't exist is None. Of folders,
    also labels, missing (names of labels without a prediction) and without_label (how many predictions have none).

    By a `sample` (points with a field `label`, as `evaluate.py --sample` draws them): accuracy and areas with 95 %
    intervals; accuracy_bounds, users_bounds and error_at_most, exact at any number of points; and certified, the surest
    part of the map of which at most `alpha` is wrong: its share and the `confidence` from which it begins (a raster of
    0 to 100; None: confidence/MAP.tif beside the map, if it is there). `other` is a map to compare on the same points.
    """
    from jingwei.errors import InputError
    from jingwei.evaluation.folders import score_folders, score_pair
    from jingwei.evaluation.metrics import scores
    from jingwei.evaluation.scenes import refuse_unlabelled
    from jingwei.inputs.label_files import label_files
    from jingwei.inputs.legends import choose_legend
    from jingwei.labels.rules import ONLY_TEST, rules_of

    if (label is None) == (sample is None):
        raise SettingError("evaluate", "needs a `label` or a `sample`", "give one of them")
    if sample is not None:
        how = {"confidence": confidence, "other": other}
        return _evaluate_sample(Path(prediction), Path(sample), legend, alpha, how)
    assert label is not None
    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(ONLY_TEST)
    maps = Path(prediction), Path(label)
    for one, other in (maps, maps[::-1]):
        if one.is_file() and other.is_dir():
            raise InputError(one, f"is a file, but {other} is a folder", "give two files or two folders")
    of_map = None if maps[0].is_dir() else maps[0]
    known = choose_legend(legend, label=maps[1], of_map=of_map, label_nodata=label_nodata).legend
    if maps[0].is_dir():
        score = score_folders(*maps, known, rules=rules)
        counted = {"labels": score.labels, "missing": list(score.missing), "without_label": score.extra}
        return scores(score.matrix, known) | counted
    matrix = score_pair(maps[0], label_files(maps[1], rules), known)
    refuse_unlabelled(matrix, maps[1])
    return scores(matrix, known)


def _evaluate_sample(
    source: Path, sample: Path, legend: Legend | StrPath | None, alpha: float, files: Mapping[str, StrPath | None]
) -> dict[str, Any]:
    """A map by its labelled sample, in plain numbers."""
    from jingwei.evaluation.sampling_design import accuracy_numbers, score_sample
    from jingwei.evaluation.statement import state, statement_numbers
    from jingwei.workspace import confidence_of

    known = _legend(legend, source, None)
    named: dict[str, Any] = {name: None if file is None else Path(file) for name, file in files.items()}
    if named["confidence"] is None and confidence_of(source).exists():
        named["confidence"] = confidence_of(source)
    scored = score_sample(sample, source, known)
    said = state(scored, source, known, alpha, confidence=named["confidence"], other=named["other"])
    return accuracy_numbers(scored, known) | statement_numbers(said, known)


def report(
    data_dir: StrPath = "data",
    output: StrPath | None = None,
    *,
    scenes: Sequence[str] | None = None,
    language: str = "auto",
    gsd: float | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: StrPath | None = None,
    background_outside: bool = False,
    workers: int | None = None,
) -> Path:
    """Writes the report of a project folder, which opens from disk in any browser; returns its page.

    It goes to DIR/report/, or to the folder `output`. `scenes` are names of cut test scenes, such as image_3 (None:
    all). `language` is en, zh, or auto for the reader's own; `gsd` the side of a pixel on the ground in metres.
    Drawn labels are read as by `evaluate`.
    """
    from jingwei.inputs.legends import choose_legend
    from jingwei.labels.rules import ONLY_TEST, rules_of
    from jingwei.reporting.report import write_report
    from jingwei.workspace import Workspace

    rules = rules_of(label_field, buffer, order, labelled, background_outside).only(ONLY_TEST)
    workspace = Workspace(Path(data_dir), rules)
    folder = workspace.root / "report" if output is None else Path(output)
    how: dict[str, Any] = {"language": language, "gsd": gsd, "workers": _workers(workers)}
    chosen = workspace.named_scenes(scenes)
    where: dict[str, Any] = {"cut": workspace.train, "folder": workspace.root}
    classes = choose_legend(legend, label_nodata=label_nodata, **where).legend
    return write_report(workspace, chosen, classes, folder, **how).page


def label(
    data_dir: StrPath = "data",
    scenes: Sequence[StrPath] | None = None,
    *,
    count: int = 50,
    window: int = 256,
    simplify: float = 1.0,
    seed: int = 0,
    add: StrPath | None = None,
    legend: Legend | StrPath | None = None,
) -> list[Path]:
    """Writes where labels would teach most, as polygons to correct in QGIS: `label/SCENE/next.gpkg`; returns the files.

    What is labelled in such files of an earlier call becomes a round first, `label/SCENE/round_1.gpkg` and so on: `cut`
    takes it from there. With `add`, a vector file of labels becomes a round, and its path is returned.

    `count` places, `window` px wide, in the `scenes` (images; None: the cut test scenes, else those of DIR/*test*/).
    With maps there, places are those where the maps are unsure; before, those that stand for all that the scenes show,
    drawn by `seed`. Borders of regions may move by `simplify` px. Raises InputError where there are such files and
    nothing is labelled in them.
    """
    from jingwei.inputs.legends import choose_legend
    from jingwei.inputs.scenes import Scene, label_of
    from jingwei.labelling.rounds import add_round, scene_meant, take_in
    from jingwei.labelling.suggest import check_wishes, suggest
    from jingwei.workspace import Workspace

    workspace = Workspace(Path(data_dir))
    if scenes is not None:
        chosen = [Scene(Path(image), label_of(Path(image))) for image in scenes]
    else:
        chosen = workspace.named_scenes(None) or workspace.test_scenes()
    classes = choose_legend(legend, cut=workspace.train, folder=workspace.root).legend
    if add is not None:
        return list(add_round(workspace, scene_meant(Path(add), chosen), Path(add), classes))
    how: dict[str, Any] = {"count": count, "window": window, "simplify": simplify}
    check_wishes(**how)
    take_in(workspace, chosen, classes)
    return list(suggest(workspace, chosen, classes, **how, seed=seed).files)


def export(
    model: Model | StrPath,
    output: StrPath,
    *,
    tile: int = 512,
    overlap: int = 25,
    resolution: float | None = None,
    int8: bool = False,
    licence: str | None = None,
    scene: StrPath | None = None,
) -> Path:
    """Writes a network as ONNX for QGIS's plug-in Deepness and others, a model card beside it; returns the .onnx file.

    `tile` is the side of the windows that it takes, in px, `overlap` the percent of a tile that the next one repeats,
    `resolution` the side of a pixel on the ground in cm. With `int8`, convolutions are in 8-bit whole numbers, whose
    ranges are found on windows of `scene`. `licence` is that of the weights.
    """
    from jingwei.prediction.engines.choosing import calibration_windows
    from jingwei.prediction.export import export_onnx
    from jingwei.prediction.model import Model, load_model
    from jingwei.prediction.settings import ExportSettings

    if not isinstance(model, Model):
        model = load_model(model, "cpu")
    if int8 and scene is None:
        raise SettingError("`int8`", "needs windows", "give a `scene`")
    windows = calibration_windows((), Path(scene), model.checkpoint.mean) if int8 and scene is not None else ()
    settings = ExportSettings(tile, overlap, resolution, int8, licence)
    export_onnx(model.checkpoint, Path(output), settings, windows)
    return Path(output)


def _legend(chosen: Legend | StrPath | None, map_of: Path, label_nodata: str | None) -> Legend:
    """The legend that was asked for, else that of a map, else the contest's."""
    from jingwei.inputs.legends import choose_legend

    return choose_legend(chosen, of_map=map_of, label_nodata=label_nodata).legend


def _id(land_class: Class, legend: Legend) -> int:
    if type(land_class) is int and 0 <= land_class < len(legend):
        return land_class  # a class may be named like the id of another
    return legend.id_of(str(land_class))


def _workers(chosen: int | None) -> int:
    from jingwei.system.machine import cores

    if chosen is not None and chosen < 1:
        raise SettingError("`workers`", f"is {chosen}", "take 1 or more, or None for all cores")
    return chosen or cores()
