"""Samples in folders: pictures, radar quadruples and the masks that belong to them.

    1.tif  2.png  3.jpg                            optical, a file each
    4_HH.tiff  4_HV.tiff  4_VH.tiff  4_VV.tiff     radar, four files each
    1_gt.png  4_label.png                          masks beside them; or in a folder `lbl`, where `1.png` does as well
    2_gt.gpkg                                      drawn ones, where there is no raster of that name

Suffixes may be in capitals. A mask of just the same name goes before one whose letters are of another case. Samples may
lie in subfolders of one level (test_A/, test_B/), and their masks in those of the same names in `lbl`:
`lbl/test_A/1.png`; or `lbl/1.png`, where only one sample of all subfolders is called 1.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jingwei.errors import InputError
from jingwei.inputs.sar import CHANNELS
from jingwei.inputs.scenes import SCENE_TYPES, natural_order
from jingwei.polygons.layers import VECTOR_TYPES
from jingwei.raster.reading import Raster

TRAIN_FOLDERS, VALID_FOLDERS = ("train",), ("valid", "val", "validation")
IMAGE_FOLDERS = ("img", "images")
LABEL_FOLDERS = ("lbl", "labels", "masks")
# Pictures that are not read, and would be missed without a word: GDAL lacks a driver, or isn't sure to have it.
OTHER_TYPES = (".webp", ".heic", ".heif", ".avif", ".jfif", ".j2k", ".ppm", ".pgm", ".tga", ".psd", ".dng", ".ecw")
NO_SAMPLES = ("no samples there", "put N.tif, or N_HH.tiff to N_VV.tiff, and masks N_gt.png there")
LABEL_ENDS = ("_gt", "_label", "_label_train")  # of the names of masks


@dataclass(frozen=True)
class Sample:
    """A scene of a folder: one optical file, or the four files of CHANNELS in that order; its mask, if there is one."""

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    folder: Path = Path()  # the one that it was found in

    @property
    def is_sar(self) -> bool:
        return len(self.images) == len(CHANNELS)


def find_samples(folder: Path, labels: Path | None = None) -> tuple[list[Sample], list[InputError]]:
    """The samples of a folder and its subfolders, in natural order, and a line for each that can't be used.

    Masks are looked for beside the samples, in `labels`, in a `lbl` beside them and, for samples in `img`, in `lbl`
    beside that; for samples in a subfolder, in those folders' subfolders of the same name too, and at last in these
    folders themselves, where no other sample has their name. Raises InputError where there is no such folder, or a
    file.
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError(folder, "is a file, not a folder of samples", f"give its folder, {folder.parent}")
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "check the path")
    subfolders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    subfolders = sorted(subfolders, key=lambda path: (natural_order(path.name), path.name))
    samples: list[Sample] = []
    broken: list[InputError] = []
    for place in [folder, *(path for path in subfolders if path.name.lower() not in LABEL_FOLDERS)]:
        for found in _samples_of(place, _label_folders(folder, place, labels)):
            if isinstance(found, Sample):
                samples.append(found)
            else:
                broken.append(found)
    return _with_shared_masks(samples, _label_folders(folder, folder, None)), broken


def place_for_mask(sample: Sample) -> Path:
    """Where a sample's mask belongs: in the folder of masks, under the sample's own name, or beside the picture."""
    folder, above = sample.folder, sample.folder.parent
    for images, sub in ((folder, Path()), (above, Path(folder.name))):
        if images.name.lower() in IMAGE_FOLDERS:
            masks = next(iter(folders_named(images.parent, LABEL_FOLDERS)), images.parent / LABEL_FOLDERS[0])
            return masks / sub / f"{sample.id}.png"
    within = folders_named(folder, LABEL_FOLDERS)
    return within[0] / f"{sample.id}.png" if within else folder / f"{sample.id}_gt.png"


def folders_named(parent: Path, names: tuple[str, ...]) -> list[Path]:
    """The folders in `parent` that have one of these names, in the order of the names; in any case, as on Windows."""
    there = sorted(path for path in parent.iterdir() if path.name.lower() in names and path.is_dir())
    return sorted(there, key=lambda path: names.index(path.name.lower()))


def folder_named(parent: Path, names: tuple[str, ...]) -> Path | None:
    """The folder in `parent` that has one of these names, None where there is none.

    InputError where there are several: all but one would be passed over without a word.
    """
    found = folders_named(parent, names)
    if len(found) > 1:
        problem = f"is a folder for the same as {found[0].name} beside it, and only one of them is read"
        raise InputError(found[1], problem, "put all into one, or move the other away")
    return found[0] if found else None


def _with_shared_masks(samples: list[Sample], label_folders: list[Path]) -> list[Sample]:
    """Samples of subfolders with the masks of all that lie in one folder, where only one sample has such a name."""
    masks = _masks_in(label_folders)
    names = Counter(sample.id.lower() for sample in samples)
    return [
        replace(sample, label=_mask_of(sample.id, masks, alone=True))
        if sample.label is None and names[sample.id.lower()] == 1
        else sample
        for sample in samples
    ]


def _label_folders(folder: Path, place: Path, labels: Path | None) -> list[Path]:
    """Where the masks of the samples in `place` may lie, beside them excepted."""
    subfolder = place.relative_to(folder)
    roots = {place: Path(), folder: subfolder}
    beside = [
        found / its
        for root, its in roots.items()
        if root.name.lower() in IMAGE_FOLDERS
        for found in folders_named(root.parent, LABEL_FOLDERS)
    ]
    within = [found / its for root, its in roots.items() for found in folders_named(root, LABEL_FOLDERS)]
    given = [labels / subfolder, labels] if labels is not None else []
    return [path for path in (*given, *beside, *within) if path.is_dir()]


def _samples_of(place: Path, label_folders: list[Path]) -> Iterator[Sample | InputError]:
    files = _rasters(place)
    others = sorted(path for path in place.iterdir() if path.suffix.lower() in OTHER_TYPES)
    if others:
        more = f", nor are {len(others) - 1} more files" if len(others) > 1 else ""
        yield InputError(
            others[0], f"is not of a kind that is read here{more}", "save it as TIFF or PNG, or move it away"
        )
    masks = [(_by_stem([*files, *_vectors(place)]), LABEL_ENDS), *_masks_in(label_folders)]
    by_id: dict[str, list[Path]] = {}
    quadruples: dict[str, dict[str, list[Path]]] = {}
    for path in files:
        if path.stem.lower().endswith(LABEL_ENDS):
            continue
        channel = re.fullmatch(rf"(.+)_({'|'.join(CHANNELS)})", path.stem, re.IGNORECASE)
        if channel:
            quadruples.setdefault(channel[1], {}).setdefault(channel[2].upper(), []).append(path)
        else:
            by_id.setdefault(path.stem, []).append(path)

    names = sorted({*by_id, *quadruples}, key=lambda name: (natural_order(name), name))
    spellings = Counter(name.lower() for name in names)
    for name in names:
        paths, members = by_id.get(name, []), quadruples.get(name, {})
        try:
            _check_alone(name, paths, members)
            images = _quadruple(place, name, members) if members else (paths[0],)
        except InputError as error:
            yield error
        else:
            yield Sample(name, images, _mask_of(name, masks, spellings[name.lower()] == 1), place)


def _masks_in(label_folders: list[Path]) -> list[tuple[dict[str, list[Path]], tuple[str, ...]]]:
    """The files of each folder of masks by name, and the ends that names of masks have there."""
    return [(_by_stem([*_rasters(folder), *_vectors(folder)]), (*LABEL_ENDS, "")) for folder in label_folders]


def _mask_of(name: str, masks: list[tuple[dict[str, list[Path]], tuple[str, ...]]], alone: bool) -> Path | None:
    """A sample's mask; `alone`: no other sample's name differs from its own in case only."""
    alike = [stems.get((name + end).lower(), []) for stems, ends in masks for end in ends]
    exact = next((path for paths in alike for path in paths if path.stem.startswith(name)), None)
    if exact or not alone:
        return exact
    # On systems whose names have no case, people write A0.tif and a0_gt.png: no other mask may be meant.
    return next((paths[0] for paths in alike if len({path.stem for path in paths}) == 1), None)


def _rasters(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SCENE_TYPES and not p.name.startswith("."))


def _vectors(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in VECTOR_TYPES and not p.name.startswith("."))


def _by_stem(paths: list[Path]) -> dict[str, list[Path]]:
    """The files of each name, whatever its case; JPEG, which no mask can be, last."""
    stems: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda path: path.suffix.lower() in (".jpg", ".jpeg")):
        stems.setdefault(path.stem.lower(), []).append(path)
    return stems


def _check_alone(name: str, paths: list[Path], members: dict[str, list[Path]]) -> None:
    """Raises InputError where two files would be the same sample."""
    twins = next((found for found in members.values() if len(found) > 1), None)
    if paths and members:
        twins = [paths[0], *next(iter(members.values()))]
    elif len(paths) > 1:
        twins = paths
    if twins:
        problem = f"sample {name}: {twins[1].name} would be the same one"
        raise InputError(twins[0], problem, "rename one; masks are named N_gt.png, or lie in lbl/")


def _quadruple(place: Path, name: str, members: dict[str, list[Path]]) -> tuple[Path, ...]:
    """The files of a quadruple in the order of CHANNELS. Raises InputError where one is missing or unlike HH."""
    missing = [channel for channel in CHANNELS if channel not in members]
    if missing:
        there = next(iter(members.values()))[0]
        names = " and ".join(f"{name}_{channel}{there.suffix}" for channel in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(place, f"sample {name}: {names} {verb} missing", f"add it beside {there.name}")
    paths = tuple(members[channel][0] for channel in CHANNELS)
    first = None
    for path in paths:
        with Raster(path) as member:
            kind = f"{member.width} x {member.height} px of {member.dtype}"
            if member.bands != 1:
                raise InputError(path, f"sample {name}: has {member.bands} bands", "a channel's file holds one")
        first = first or kind
        if kind != first:
            problem = f"sample {name}: {kind}, but {paths[0].name} is {first}"
            raise InputError(path, problem, "export the four alike")
    return paths
