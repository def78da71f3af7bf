"""The sample scenes: the contest's layout and formats, the same pixels however they are made, and no trivial task."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks")]

import colour_classifier  # noqa: E402
from in_process import status_of  # noqa: E402

from jingwei.cli.sample import sample_command  # noqa: E402
from jingwei.evaluation.metrics import ConfusionMatrix  # noqa: E402
from jingwei.legend import JINGWEI, NODATA  # noqa: E402
from jingwei.synthetic.county import MARGIN, Landscape  # noqa: E402
from jingwei.synthetic.county_sample import DEFAULT_SIZES  # noqa: E402
from jingwei.workspace import Workspace  # noqa: E402


def make(flags: list[str]) -> int:
    """The exit status of the sample maker."""
    return status_of(sample_command, *flags)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """The four default scenes."""
    root = tmp_path_factory.mktemp("sample")
    assert make(["--data_dir", str(root)]) == 0
    return root


def whole(land: Landscape, **how) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = zip(*land.strips(**how), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


@pytest.mark.parametrize(("rows", "workers"), [(64, 1), (64, 3), (257, 2), (401, 1)])
def test_strip_heights_and_threads_change_nothing(rows, workers):
    land = Landscape(seed=3, number=1, height=401, width=533)
    pixels, labels = land.strip(0, 401)
    other_pixels, other_labels = whole(land, rows=rows, workers=workers)
    np.testing.assert_array_equal(pixels, other_pixels)
    np.testing.assert_array_equal(labels, other_labels)


def test_seed_and_number_make_other_scenes():
    scenes = [Landscape(seed, number, 200, 200).strip(0, 200)[0] for seed, number in [(0, 1), (0, 1), (0, 2), (1, 1)]]
    np.testing.assert_array_equal(scenes[0], scenes[1])
    assert not np.array_equal(scenes[0], scenes[2])
    assert not np.array_equal(scenes[0], scenes[3])


def test_files_lie_where_the_contest_has_them(samples):
    made = {path.relative_to(samples).as_posix() for path in samples.rglob("*.png")}
    train, test = "jingwei_round1_train_20190619", "jingwei_round1_test_a_20190619"
    assert made == {
        f"{train}/image_1.png", f"{train}/image_1_label.png", f"{train}/image_2.png", f"{train}/image_2_label.png",
        f"{test}/image_3.png", f"{test}/image_4.png", "truth/image_3_label.png", "truth/image_4_label.png",
    }  # fmt: skip
    assert all(scene.label for scene in Workspace(samples).train_scenes() + Workspace(samples).test_scenes())


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_formats_sizes_and_shares(samples, number):
    image = cv2.imread(str(next(samples.glob(f"*/image_{number}.png"))), cv2.IMREAD_UNCHANGED)
    labels = cv2.imread(str(next(samples.glob(f"*/image_{number}_label.png"))), cv2.IMREAD_UNCHANGED)
    width, height = DEFAULT_SIZES[number]
    assert image.shape == (height, width, 4)
    assert labels.shape == (height, width)
    assert image.dtype == labels.dtype == np.uint8
    valid = image[..., 3] == 255
    assert set(np.unique(image[..., 3])) == {0, 255}
    assert 0.55 < valid.mean() < 0.65
    assert not image[~valid].any()
    assert not labels[~valid].any()
    shares = np.bincount(labels[valid], minlength=5) / valid.sum()
    assert len(shares) == len(JINGWEI)
    assert 0.40 < shares[0] < 0.60
    assert (shares[1:4] > 0.08).all()
    assert 0.02 < shares[4] < 0.07


def test_labels_are_a_little_wrong_but_not_much():
    """A second surveyor of the same land would agree on most pixels: the errors are small and at the borders."""
    land = Landscape(seed=0, number=1, height=800, width=800)
    kinds = land.ground(0, 800)[0][MARGIN:-MARGIN, MARGIN:-MARGIN]
    exact = np.where(kinds < len(JINGWEI), kinds, 0)
    wrong = exact != land.strip(0, 800, picture=False)[1]
    assert 0.002 < wrong.mean() < 0.05


def test_size_by_flag(tmp_path):
    assert make(["--data_dir", str(tmp_path), "--size", "301x203"]) == 0
    made = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert made == ["image_1.png", "image_1_label.png"]
    assert cv2.imread(str(next(tmp_path.rglob("image_1.png"))), cv2.IMREAD_UNCHANGED).shape == (203, 301, 4)


def test_labels_only_are_the_labels_of_the_full_scene(tmp_path):
    for folder, flags in [("both", []), ("labels", ["--labels-only"])]:
        make(["--data-dir", str(tmp_path / folder), "--size", "300x200", "--scenes", "2", *flags])
    assert not list((tmp_path / "labels").rglob("image_2.png"))
    first, second = (next((tmp_path / folder).rglob("image_2_label.png")) for folder in ("both", "labels"))
    assert first.read_bytes() == second.read_bytes()


def test_rerun_keeps_finished_scenes_and_makes_changed_ones(tmp_path, capsys):
    flags = ["--data_dir", str(tmp_path), "--size", "200x150"]
    make(flags)
    image = next(tmp_path.rglob("image_1.png"))
    before, time_before = image.read_bytes(), image.stat().st_mtime_ns
    make(flags)
    assert image.stat().st_mtime_ns == time_before
    assert "kept" in capsys.readouterr().out
    next(tmp_path.rglob("image_1_label.png")).unlink()
    make(flags)
    assert image.read_bytes() == before
    assert next(tmp_path.rglob("image_1_label.png")).exists()
    make([*flags, "--seed", "1"])
    assert image.read_bytes() != before


def test_killed_run_leaves_no_half_scene_and_can_be_run_again(tmp_path, monkeypatch):
    flags = ["--data_dir", str(tmp_path), "--size", "200x150"]

    def killed(*_, **__):
        yield np.zeros((10, 200, 4), np.uint8), np.zeros((10, 200), np.uint8)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Landscape, "strips", killed)
        assert make(flags) == 130
    assert not list(tmp_path.rglob("*.png"))
    assert make(flags) == 0


@pytest.mark.parametrize(
    "foreign",
    ["jingwei_round1_train_20190619/image_1.png", "my_test/image_7.tif", "truth/image_3_label.png"],
)
def test_never_among_a_users_own_scenes(tmp_path, foreign, capsys):
    path = tmp_path / foreign
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    assert make(["--data_dir", str(tmp_path), "--size", "200x150"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ")
    assert error.count("\n") == 1
    assert path.read_bytes() == b"precious"
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_a_sample_that_the_user_replaced_is_the_users(tmp_path):
    flags = ["--data_dir", str(tmp_path), "--size", "200x150"]
    make(flags)
    image = next(tmp_path.rglob("image_1.png"))
    image.write_bytes(b"precious")
    assert make([*flags, "--seed", "1"]) == 2
    assert image.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "flags",
    [["--size", "big"], ["--size", "9x200"], ["--scenes", "9"], ["--seed", "-1"], ["--workers", "0"], ["--siz", "1x1"]],
)
def test_bad_flags_get_one_line(tmp_path, flags, capsys):
    assert make(["--data_dir", str(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_folders_place_gets_one_line(tmp_path, capsys):
    (tmp_path / "data").write_text("precious")
    assert make(["--data_dir", str(tmp_path / "data"), "--size", "64x64"]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'data'}: is a file, not a folder: name another place: --data_dir\n"
    )
    assert (tmp_path / "data").read_text() == "precious"


def test_broken_manifest_gets_one_line(tmp_path, capsys):
    (tmp_path / "sample.json").write_text("{")
    assert make(["--data_dir", str(tmp_path)]) == 2
    assert "sample.json" in capsys.readouterr().err


def test_manifest_names_every_file(samples):
    manifest = json.loads((samples / "sample.json").read_text())
    assert sorted(manifest) == sorted(path.relative_to(samples).as_posix() for path in samples.rglob("*.png"))


def tiny_network(width: int = 16) -> nn.Module:
    """Four 3 x 3 convolutions at half the resolution, dilated by up to 4: sees some 33 pixels."""
    layers, channels = [], 3
    for stride, dilation in ((2, 1), (1, 1), (1, 2), (1, 4)):
        how = {"stride": stride, "padding": dilation, "dilation": dilation}
        layers += [nn.Conv2d(channels, width, 3, **how, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, len(JINGWEI), 1), nn.Upsample(scale_factor=2, mode="bilinear"))


def read_scene(scene) -> tuple[np.ndarray, np.ndarray]:
    """Scaled colours, CHW float32, and labels with NODATA outside the flight area; an even number of px a side."""
    image, labels = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (scene.image, scene.label))
    even = tuple(slice(0, side - side % 2) for side in labels.shape)
    image, labels = image[even], labels[even]
    labels[image[..., 3] == 0] = NODATA
    return image[..., :3].transpose(2, 0, 1).astype(np.float32) / 64 - 2, labels


def train_network(scenes: list, steps: int = 250, crop: int = 128, batch: int = 8) -> nn.Module:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = tiny_network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    loss_function = nn.CrossEntropyLoss(ignore_index=NODATA)
    for _ in range(steps):
        crops = []
        while len(crops) < batch:
            pixels, labels = scenes[rng.integers(len(scenes))]
            row, col = rng.integers(0, labels.shape[0] - crop), rng.integers(0, labels.shape[1] - crop)
            window = slice(row, row + crop), slice(col, col + crop)
            if (labels[window] != NODATA).mean() > 0.6:
                flip = rng.choice([1, -1])
                crops.append((pixels[:, *window][:, ::flip], labels[window][::flip]))
        pixels_BCHW, labels_BHW = (torch.from_numpy(np.stack(parts)) for parts in zip(*crops, strict=True))
        loss = loss_function(network(pixels_BCHW), labels_BHW.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def network_confusion(network: nn.Module, scenes: list) -> ConfusionMatrix:
    confusion = ConfusionMatrix(len(JINGWEI))
    with torch.inference_mode():
        for pixels, labels in scenes:
            for row in range(0, len(labels), 512):
                logits = network(torch.from_numpy(np.ascontiguousarray(pixels[None, :, row : row + 512])))
                confusion.update(labels[row : row + 512], logits.argmax(1)[0].numpy().astype(np.uint8))
    return confusion


def test_a_network_beats_the_colours(samples, monkeypatch):
    """Not trivial: one pixel's colour tells little, seconds of training of the smallest network far more."""
    workspace = Workspace(samples)
    monkeypatch.setattr(colour_classifier, "TRAIN_PIXELS", 20_000)  # a tenth: the floor is the same to a hundredth
    monkeypatch.setattr(colour_classifier, "TEST_PIXELS", 30_000)
    floor = colour_classifier.colour_confusion(samples).mean_iou(JINGWEI.foreground)
    network = train_network([read_scene(scene) for scene in workspace.train_scenes()])
    reached = network_confusion(network, [read_scene(scene) for scene in workspace.test_scenes()])
    reached = reached.mean_iou(JINGWEI.foreground)
    print(f"mIoU without background: colours {floor:.3f}, tiny network {reached:.3f}")
    assert 0.1 < floor < 0.35
    assert reached > floor + 0.2
