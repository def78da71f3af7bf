"""Checkpoints: bit for bit there and back, whole or not at all, and never a stranger's code."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from weight_files import read_tensors

from jingwei.errors import CheckpointError
from jingwei.legend import GF2, GF3, JINGWEI
from jingwei.models.checkpoints import FORMAT, Checkpoint, check_fits, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.torch_files import first_line
from jingwei.training.recipes import ATTENTION_UNET

SPEC = ModelSpec("attention_unet", "mobilenetv3_small_050", 4, len(JINGWEI))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build_model(SPEC, (1.5, 2.0, 3.0, 4.0), (1.0, 0.1, 7.0, 1e4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.rand(2, 4, 32, 32)).square().mean().backward()
    optimizer.step()
    return Checkpoint(
        spec=model.spec,
        dtype="uint16",
        mean=(1.5, 2.0, 3.0, 4.0),
        std=(1.0, 0.1, 7.0, 1e4),
        legend=JINGWEI,
        recipe=ATTENTION_UNET.to_dict(),
        weights=model.state_dict(),
        scores={"miou": 0.25, "classes": {"corn": {"iou": None}}},
        training={"epoch": 3, "optimizer": optimizer.state_dict(), "scaler": {}, "best_score": 0.5, "best_epoch": 1},
    )


@pytest.fixture
def saved(checkpoint, tmp_path) -> Path:
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    return tmp_path / "last.pt"


def same(one, two) -> bool:
    """Whether two nested contents are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def test_a_round_trip_changes_no_bit(checkpoint, saved):
    read = load_checkpoint(saved)
    for name in ("spec", "dtype", "mean", "std", "legend", "recipe", "scores"):
        assert getattr(read, name) == getattr(checkpoint, name), name
    assert same(dict(checkpoint.weights), dict(read.weights))
    assert same(checkpoint.training, read.training)


def test_the_network_is_rebuilt_from_the_file_alone_in_evaluation_mode(checkpoint, saved):
    model = load_checkpoint(saved).build()
    assert not model.training
    assert model.spec == checkpoint.spec
    pixels = torch.rand(1, 4, 40, 50) * 9
    reference = build_model(SPEC, checkpoint.mean, checkpoint.std)
    reference.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        assert torch.equal(model(pixels), reference.eval()(pixels))


@pytest.mark.parametrize(("scores", "score"), [({"miou": 0.25}, 0.25), ({"miou": None}, -1.0), ({}, -1.0)])
def test_the_score_without_a_validation_is_below_every_other(checkpoint, scores, score):
    assert replace(checkpoint, scores=scores).score == score


def test_weights_alone_are_a_checkpoint_too(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "best.pt", replace(checkpoint, training=None))
    assert load_checkpoint(tmp_path / "best.pt").training is None


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("reader", [load_checkpoint, read_tensors])
@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "bare pickle"])
def test_code_in_a_file_is_refused_and_never_run(tmp_path, reader, old_format):
    victim = tmp_path / "touched"
    content = {"format": FORMAT, "weights": {"a": torch.zeros(1)}, "recipe": Bomb(victim)}
    path = tmp_path / "best.pt"
    if old_format:
        path.write_bytes(pickle.dumps(content | {"weights": {}}))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="best.pt: carries code"):
        reader(path)
    assert not victim.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="last.pt: is not a checkpoint file"):
        load_checkpoint(saved)


def test_a_librarys_words_are_not_cut_within_a_word():
    assert first_line(RuntimeError("corrupted " * 40)).endswith("corrupted corrupted ...")
    assert first_line(RuntimeError("\n one line\nand another")) == "one line"
    assert first_line(EOFError()) == "EOFError"


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n", b'{"a": 1}', b"\xef\xbb\xbf{}", b"PK\x03\x04 no zip", b"\x89PNG\r\n\x1a\n", b"\x80\x02."],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "best.pt")
    assert "\n" not in str(caught.value)
    assert "best.pt: is not a checkpoint file" in str(caught.value)
    assert "code" not in str(caught.value)


@pytest.mark.parametrize("content", [{"conv.weight": torch.zeros(3)}, [1], torch.ones(2), {"format": "jingwei-0"}])
def test_a_foreign_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(
        CheckpointError, match="is not a checkpoint of this library.*best.pt under model/.*saved/.*`weights`"
    ):
        load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize("content", [{"format": FORMAT}, {"format": FORMAT, "spec": {"family": "u", "depth": 3}}])
def test_a_checkpoint_of_another_version_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="another version"):
        load_checkpoint(tmp_path / "best.pt")


def test_weights_that_do_not_fit_their_network_are_the_files_fault(checkpoint, tmp_path):
    lacking = dict(list(checkpoint.weights.items())[:-3])
    save_checkpoint(tmp_path / "best.pt", replace(checkpoint, weights=lacking))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "best.pt").build()


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "best.pt", tmp_path):
        with pytest.raises(CheckpointError, match="no such file|is a folder"):
            load_checkpoint(path)


def test_other_classes_and_other_bands_do_not_fit(checkpoint):
    check_fits(checkpoint, Path("best.pt"), JINGWEI, 4)
    for legend in (GF2, GF3):
        with pytest.raises(CheckpointError, match="best.pt: was trained on other classes.*corn"):
            check_fits(checkpoint, Path("best.pt"), legend, 4)
    with pytest.raises(CheckpointError, match="best.pt: was trained on 4 bands, but the data has 3"):
        check_fits(checkpoint, Path("best.pt"), JINGWEI, 3)


@pytest.mark.parametrize(
    "source", [{}, {"values": "db", "lee": 7, "looks": 1, "low": (-20.5,) * 4, "high": (3.0,) * 4}]
)
def test_how_radar_files_become_its_input_travels_with_it(checkpoint, source, tmp_path):
    save_checkpoint(tmp_path / "best.pth", replace(checkpoint, source=source))
    assert load_checkpoint(tmp_path / "best.pth").source == source


def test_a_file_from_before_radar_is_one_of_optical_scenes(saved, tmp_path):
    content = torch.load(saved, weights_only=True)
    del content["source"]
    torch.save(content, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").source == {}


def test_a_legend_of_older_rules_is_no_reason_to_lose_a_checkpoint(checkpoint, tmp_path):
    twins = tuple(replace(land_class, color=(9, 9, 9)) for land_class in JINGWEI.classes)
    save_checkpoint(tmp_path / "old.pt", replace(checkpoint, legend=replace(JINGWEI, classes=twins)))
    assert load_checkpoint(tmp_path / "old.pt").legend.names == JINGWEI.names


def test_what_parallel_wrappers_put_before_names_is_left_out(checkpoint, saved, tmp_path):
    content = torch.load(saved, weights_only=True)
    content["weights"] = torch.nn.DataParallel(checkpoint.build()).state_dict()
    assert all(name.startswith("module.") for name in content["weights"])
    torch.save(content, tmp_path / "best.pth")
    read = load_checkpoint(tmp_path / "best.pth")
    assert same(dict(read.weights), dict(checkpoint.weights))
    read.build()


def test_a_file_written_on_a_gpu_loads_on_a_cpu(checkpoint, saved, tmp_path, monkeypatch):
    content = torch.load(saved, weights_only=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
        torch.save(content, tmp_path / "best.pth")
    with pytest.raises(RuntimeError, match="(?i)cuda"):
        torch.load(tmp_path / "best.pth", weights_only=True)
    read = load_checkpoint(tmp_path / "best.pth")
    assert same(dict(read.weights), dict(checkpoint.weights))
    assert {tensor.device.type for tensor in read.weights.values()} == {"cpu"}


FULL_DISK = """
import resource, sys
from pathlib import Path
from dataclasses import replace
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.errors import OutputError
path = Path(sys.argv[1])
checkpoint = replace(load_checkpoint(path), dtype="float32")
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2,) * 2)
try:
    save_checkpoint(path, checkpoint)
except OutputError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_older_checkpoint_as_it_was(saved):
    before = saved.read_bytes()
    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(saved)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{saved}: can't be written"), result.stdout + result.stderr
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
