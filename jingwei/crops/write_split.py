"""Writes the split: every crop's labels as its side sees them, `crops.csv`, and pictures of where the sides lie."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from jingwei.crops.scene_cut import PREVIEW_SIDE, SceneCut, record_of, whole_label
from jingwei.crops.settings import CutSettings
from jingwei.crops.split import choose_validation, masked_parts, scene_blocks
from jingwei.crops.table import VALIDATION, Crop, label_path, with_labels, write_crops
from jingwei.errors import InputError, listed
from jingwei.grid import Blocks, strips
from jingwei.inputs.masks import refuse_0_255
from jingwei.inputs.sample_scene import SampleScene
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, Legend
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.png import write_png
from jingwei.raster.tiles import TILE
from jingwei.spectrum import agree, in_words
from jingwei.system.atomic import whole_or_nothing
from jingwei.workspace import Workspace


def share_out(
    workspace: Workspace,
    scenes: Sequence[Scene | SampleScene],
    cuts: dict[str, SceneCut],
    settings: CutSettings,
    legend: Legend,
    sides: dict[str, str],
) -> list[Crop]:
    """Splits the crops of all scenes into training and validation, and leaves what training reads.

    `sides` are those of scenes by name that have one as a whole; others are split in blocks.
    """
    if len({(cut.bands, cut.dtype) for cut in cuts.values()}) > 1:
        kinds = "; ".join(f"{name}: {cut.bands} bands of {cut.dtype}" for name, cut in cuts.items())
        raise InputError(workspace.train, f"the scenes differ in kind ({kinds})", "cut them into folders of their own")
    legend = replace(legend, bands=legend.bands or _band_names(scenes, cuts))
    blocks = {name: scene_blocks(cut.height, cut.width, settings.crop_size) for name, cut in cuts.items()}
    crops = [crop for cut in cuts.values() for crop in cut.crops]
    if not crops:
        names = listed([scene.name for scene in scenes])
        raise InputError(workspace.root, f"no labelled pixel in {names}", "check the labels and the pictures' alpha")
    validation = {(name, n) for name, side in sides.items() if side == VALIDATION for n in range(len(blocks[name]))}
    torn = [scene for scene in scenes if scene.name not in sides]
    if torn:  # the masks of folders were looked at before
        of_blocks = [crop for crop in crops if crop.scene not in sides]
        _refuse_0_255(torn, of_blocks, legend)
        validation |= choose_validation(of_blocks, blocks, settings.val_fraction)
    workspace.crops.unlink(missing_ok=True)  # of an earlier split, which a run that is stopped from here on has mixed
    _delete_strays(workspace.train / "data", [crop.name for crop in crops])
    _delete_strays(workspace.train / ".parts" / "label", [whole_label(workspace, crop.name).name for crop in crops])
    crops = _split(workspace, crops, blocks, validation)
    _delete_strays(workspace.train / "label", [label_path(workspace.train, crop).name for crop in crops])
    with whole_or_nothing(workspace.train / "legend.json", durable=False) as part:
        part.write_text(json.dumps(legend.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
    for scene in scenes:  # an earlier cut may have split it in blocks
        if scene.name in sides:
            (workspace.train / f"split_{scene.image.stem}.png").unlink(missing_ok=True)
    for scene in torn:
        _draw_split(workspace, scene, blocks[scene.name], validation)
    write_crops(workspace.crops, crops)
    return crops


def _band_names(scenes: Sequence[Scene | SampleScene], cuts: dict[str, SceneCut]) -> tuple[str, ...]:
    """The names that the scenes' files give their bands; () where none does. InputError where two contradict."""
    named = [scene for scene in scenes if cuts[scene.name].band_names]
    for scene in named[1:]:
        first, other = (cuts[each.name].band_names for each in (named[0], scene))
        if not agree(first, other):
            problem = f"its bands are {in_words(other)}, but those of {named[0].image.name} {in_words(first)}"
            remedy = 'name the order that you want in the legend, as "bands": ["blue", "green", "red"]'
            raise InputError(scene.image, problem, remedy)
    return max((cuts[scene.name].band_names for scene in named), key=lambda names: sum(map(bool, names)), default=())


def _refuse_0_255(scenes: Sequence[Scene | SampleScene], crops: list[Crop], legend: Legend) -> None:
    """Raises InputError where all that is labelled is of one class, since the other one is at 255: no data."""
    pixels = np.sum([crop.pixels for crop in crops], axis=0)
    if np.count_nonzero(pixels) > 1 or any(isinstance(scene, Scene) and scene.label_files.drawn for scene in scenes):
        return
    at_255, labels = 0, [scene.label for scene in scenes if scene.label]
    for scene in scenes:
        with scene.open_labels(legend) as label:
            for first, end in strips(label.height, TILE):
                at_255 += int((label.read_label_rows(first, end) == NODATA).sum())
    refuse_0_255(labels[0], legend, pixels, at_255, others=len(scenes) > 1)


def _split(
    workspace: Workspace, crops: list[Crop], blocks: dict[str, Blocks], validation: set[tuple[str, int]]
) -> list[Crop]:
    """Gives every crop its side, and writes its labels, NODATA where a pixel belongs to the other side."""
    result = []
    for crop in crops:
        if (crop.scene, blocks[crop.scene].of(crop.window)) in validation:
            crop = replace(crop, split=VALIDATION)
        whole, target = whole_label(workspace, crop.name), label_path(workspace.train, crop)
        parts = masked_parts(crop, blocks[crop.scene], validation)
        if parts:
            labels = read_label_crop(whole)
            for part in parts:
                labels[part.slices] = NODATA
            crop = with_labels(crop, labels)
        if not crop.valid:
            continue
        if parts:
            write_png(target, labels, durable=False)
        else:
            with whole_or_nothing(target, durable=False) as file:
                shutil.copyfile(whole, file)
        result.append(crop)
    return result


def _delete_strays(folder: Path, names: Sequence[str]) -> None:
    """Deletes the crop files in a folder, left by earlier cuts, that have none of these names."""
    wanted = set(names)
    for path in folder.iterdir():
        if re.fullmatch(r".+_\d{6}_\d{6}", path.stem) and path.name not in wanted:
            path.unlink()


def _draw_split(
    workspace: Workspace, scene: Scene | SampleScene, blocks: Blocks, validation: set[tuple[str, int]]
) -> None:
    """Writes `train/split_<scene>.png`: the scene with its validation blocks in orange."""
    preview = read_crop(record_of(workspace, scene).with_suffix(".png"))
    step = -(-max(blocks.height, blocks.width) // PREVIEW_SIDE)
    for number in range(len(blocks)):
        if (scene.name, number) in validation:
            window = blocks.window(number)
            corners = [(window.col // step, window.row // step), (window.col_end // step, window.row_end // step)]
            rows, cols = (slice(corners[0][k], corners[1][k]) for k in (1, 0))
            preview[rows, cols] = preview[rows, cols] // 2 + np.array((127, 70, 0), np.uint8)
            cv2.rectangle(preview, corners[0], corners[1], (255, 140, 0), 2)
    write_png(workspace.train / f"split_{scene.name}.png", preview, durable=False)
