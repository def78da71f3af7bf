"""Checkpoints that were damaged, or hold what a network can't use: the same weights, or one line."""

import io
import math
import random
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from weight_files import load_weights, read_tensors

from jingwei.errors import CheckpointError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.torch_files import read_torch_file
from jingwei.training.recipes import ATTENTION_UNET

FLIPS = 50


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = build_model(ModelSpec("enet", "enet", 3, len(JINGWEI)), (100.0,) * 3, (50.0,) * 3)
    return Checkpoint(
        model.spec, "uint8", (100.0,) * 3, (50.0,) * 3, JINGWEI, ATTENTION_UNET.to_dict(), model.state_dict(),
        scores={"miou": 0.5, "classes": {}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def content(checkpoint, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "best.pt"
    save_checkpoint(path, checkpoint)
    return path.read_bytes()


def assert_refused_in_one_line(path: Path, read=load_checkpoint) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def outcome(path: Path) -> tuple[Checkpoint | None, str]:
    """A file's checkpoint, or what is said instead."""
    try:
        return load_checkpoint(path), ""
    except CheckpointError as error:
        return None, str(error)


def flipped(content: bytes, bit: int) -> bytes:
    broken = bytearray(content)
    broken[bit // 8] ^= 1 << bit % 8
    return bytes(broken)


def of_headers(content: bytes) -> list[int]:
    """The bytes of a zip that are no member's content: headers, padding and the directory."""
    outside = set(range(len(content)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            name, extra = content[info.header_offset + 26], content[info.header_offset + 28 : info.header_offset + 30]
            begin = info.header_offset + 30 + name + int.from_bytes(extra, "little")
            outside -= set(range(begin, begin + info.file_size))
    return sorted(outside)


@pytest.mark.parametrize("where", ["anywhere", "headers"])
def test_a_flipped_bit_gives_the_same_weights_or_one_line(content, checkpoint, tmp_path, where):
    rng, path, refused = random.Random(where), tmp_path / "best.pt", 0
    places = range(len(content)) if where == "anywhere" else of_headers(content)
    for _ in range(FLIPS):
        path.write_bytes(flipped(content, 8 * rng.choice(places) + rng.randrange(8)))
        read, message = outcome(path)
        if read is None:
            refused += 1
            assert message.startswith(f"{path}: ")
            assert "\n" not in message
            continue
        assert read.weights.keys() == checkpoint.weights.keys()
        assert all(torch.equal(read.weights[name], value) for name, value in checkpoint.weights.items())
        assert replace(read, weights={}, path=None) == replace(checkpoint, weights={})
    assert refused > (0.9 if where == "anywhere" else 0.05) * FLIPS


def test_a_flipped_bit_in_a_tensor_is_named_by_its_checksum(content, tmp_path):
    path = tmp_path / "best.pt"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    place = content.index(zipfile.ZipFile(io.BytesIO(content)).read(largest))
    path.write_bytes(flipped(content, 8 * (place + largest.file_size // 2)))
    for read in (load_checkpoint, read_tensors):
        message = assert_refused_in_one_line(path, read)
        assert f"is damaged: the checksum of {largest.filename} in it is wrong: copy it again or train again" in message


def test_bits_all_over_a_small_file_flipped_give_the_same_or_one_line(tmp_path):
    """All 13,736 were tried once: none gave anything else. Here is a part, for the time that it takes."""
    path, whole = tmp_path / "a.pt", {"layer": torch.arange(12.0).view(3, 4), "n": [1, 2.5, "abc", None, True]}
    torch.save(whole, path)
    content, refused = path.read_bytes(), 0
    for bit in range(0, 8 * len(content), 17):
        path.write_bytes(flipped(content, bit))
        try:
            read = read_torch_file(path)
        except CheckpointError:
            refused += 1
            continue
        assert read["n"] == whole["n"], bit
        assert torch.equal(read["layer"], whole["layer"]), bit
    assert refused > 0.3 * 8 * len(content) / 17


def test_a_tensor_with_the_mark_of_a_folder_is_refused(content, tmp_path):
    """torch takes it for empty, and the weights are what lay in memory."""
    path = tmp_path / "best.pt"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        begin = content.index(b"PK\1\2", archive.start_dir)
        name = archive.infolist()[0].filename
    path.write_bytes(flipped(content, 8 * (begin + 38) + 4))
    assert f"the checksum of {name} in it is wrong" in assert_refused_in_one_line(path)


def test_a_pickle_of_old_has_no_checksums_and_is_read(checkpoint, tmp_path):
    torch.save(dict(checkpoint.weights), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "old.pth").keys() == checkpoint.weights.keys()


# ---- content ----


def changed(checkpoint: Checkpoint, path: Path, **values) -> Path:
    """A checkpoint file with some of its content replaced, whole by its checksums."""
    save_checkpoint(path, checkpoint)
    content = torch.load(path, weights_only=True) | values
    torch.save({key: value for key, value in content.items() if value is not ...}, path)
    return path


SPEC = {"family": "enet", "backbone": "enet", "bands": 3, "classes": 5, "output_stride": 0, "auxiliary": False}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"mean": [1.0, math.nan, 1.0]}, "mean is .*not a list, each a number"),
        ({"mean": [1.0, 1e300, 1.0]}, "means or standard deviations that are not finite"),
        ({"mean": [1.0, 1.0]}, "3 bands, but 2 means and 3 standard deviations"),
        ({"std": [1.0, 0.0, 1.0]}, "standard deviations that are not above 0"),
        ({"std": [1.0, -1.0, 1.0]}, "standard deviations that are not above 0"),
        ({"std": [1.0, 1e-300, 1.0]}, "standard deviations that are not above 0"),
        ({"std": "abc"}, 'std is "abc", not a list'),
        ({"dtype": "float64"}, "trained on pixels of float64, not uint8, uint16"),
        ({"dtype": 8}, "dtype is 8, not a text"),
        ({"dtype": torch.uint8}, "values that a checkpoint can't have"),
        ({"scores": None}, "scores is null, not a section"),
        ({"scores": [1]}, "scores is .1., not a section"),
        ({"scores": {"miou": "high"}}, 'scores.miou is "high", not a number'),
        ({"scores": {"miou": math.nan}}, "scores.miou is NaN, not a number"),
        ({"scores": {"miou": torch.ones(2)}}, "values that a checkpoint can't have"),
        ({"scores": {3: 0.5}}, "values that a checkpoint can't have"),
        ({"spec": None}, "spec is null, not a section"),
        ({"spec": SPEC | {"bands": 3.5}}, "spec.bands is 3.5, not a whole number"),
        ({"spec": SPEC | {"bands": 4}}, "4 bands, but 3 means"),
        ({"spec": SPEC | {"classes": 6}}, "6 classes, but its legend has 5"),
        ({"spec": SPEC | {"depth": 6}}, "has an unknown spec.depth"),
        ({"spec": ...}, "has no spec"),
        ({"legend": {"classes": []}}, 'holds has no list "classes"|has no list'),
        ({"legend": 3}, "legend is 3, not a section"),
        ({"recipe": {3: 4}}, "values that a checkpoint can't have|recipe"),
        ({"recipe": "swa"}, 'recipe is "swa", not a section'),
        ({"weights": {"a": [1.0]}}, "weights.a is .1.0., not"),
        ({"weights": ...}, "has no weights"),
        ({"training": 3}, "training is 3, not"),
        ({"source": {"values": "volts", "lee": 0, "looks": 1, "low": [], "high": []}}, "no such kind of values"),
        ({"source": 4}, "source is 4, not"),
        ({"crops": None}, "crops is null, not a text"),
    ],
    ids=repr,
)
def test_content_that_no_network_can_use_gives_one_line(checkpoint, tmp_path, values, problem):
    message = assert_refused_in_one_line(changed(checkpoint, tmp_path / "best.pt", **values))
    assert re.search(problem, message), message
    assert message.count(": ") <= 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(checkpoint, tmp_path, value):
    name, tensor = next((n, t) for n, t in checkpoint.weights.items() if t.ndim == 4)
    spoilt = tensor.clone()
    spoilt.view(-1)[-1] = value
    path = changed(checkpoint, tmp_path / "best.pt", weights={**checkpoint.weights, name: spoilt})
    for read in (load_checkpoint, read_tensors):
        assert f"weights that are not finite ({name})" in assert_refused_in_one_line(path, read)
    model = checkpoint.build()
    with pytest.raises(CheckpointError, match="not finite"):
        load_weights(model, path)


def test_large_weights_whose_sum_is_not_finite_are_fine(checkpoint, tmp_path):
    name, tensor = next((n, t) for n, t in checkpoint.weights.items() if t.ndim == 4)
    large = torch.full_like(tensor, 3e38)
    path = changed(checkpoint, tmp_path / "best.pt", weights={**checkpoint.weights, name: large})
    assert torch.equal(load_checkpoint(path).weights[name], large)


def test_standard_deviations_among_the_weights_are_above_0_too(checkpoint, tmp_path):
    path = changed(checkpoint, tmp_path / "best.pt", weights={**checkpoint.weights, "std": torch.zeros(1, 3, 1, 1)})
    assert "standard deviations that are not above 0" in assert_refused_in_one_line(path)


@pytest.mark.parametrize(
    "tensor", [torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64)], ids=["sparse", "complex"]
)
def test_tensors_of_another_kind_are_refused(checkpoint, tmp_path, tensor):
    path = changed(checkpoint, tmp_path / "best.pt", weights={**checkpoint.weights, "more": tensor})
    assert "tensors that are not plain weights (more)" in assert_refused_in_one_line(path)


@pytest.mark.parametrize(
    "spec", [SPEC | {"family": "enett"}, SPEC | {"backbone": "resnet5000"}, SPEC | {"output_stride": 8}]
)
def test_a_network_that_cannot_be_built_is_the_files_fault(checkpoint, tmp_path, spec):
    path = changed(checkpoint, tmp_path / "best.pt", spec=spec)
    with pytest.raises(CheckpointError, match="best.pt: is of a network that can't be built"):
        load_checkpoint(path).build()
