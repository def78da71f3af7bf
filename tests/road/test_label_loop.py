"""The label loop by its commands: from no label at all to a second choice of places, by a network's own doubt."""

import shutil

import numpy as np
from projects_to_label import fill_labels, layer

from jingwei.legend import JINGWEI
from jingwei.raster.reading import open_labels
from jingwei.workspace import Workspace

QUICK = (
    "--train", "--scratch", "--backbone", "test_resnet", "--output_stride", "16", "--crop_size", "32",
    "--batch_size", "2", "--epochs", "1", "--steps_per_epoch", "1", "--workers", "0", "--device", "cpu",
)  # fmt: skip
SIDE = 34


def test_from_no_label_to_places_by_a_networks_doubt(call, county, tmp_path, one_thread):
    root = tmp_path / "p"
    shutil.copytree(county, root)
    for folder in root.glob("*train*"):
        shutil.rmtree(folder)
    where = ("--data_dir", root)

    def done(script: str, *flags) -> str:
        status, out, err = call(script, *where, *flags)
        assert status == 0, f"{script}: {err}"
        return out

    done("generate_test_data.py")
    assert "no map yet" in done("label.py", "--count", 8, "--window", SIDE)
    workspace = Workspace(root)
    scene = workspace.cut_scenes()[0]
    with open_labels(root / "truth" / "image_3_label.png") as truth:
        labels = truth.read_label_rows(0, truth.height)
    _, places = layer(workspace.next_labels(scene), "places")
    corners = zip(places["row"].tolist(), places["col"].tolist(), strict=True)
    main = [np.bincount(labels[r : r + SIDE, c : c + SIDE].ravel()).argmax() for r, c in corners]
    fill_labels(workspace.next_labels(scene), [JINGWEI.names[k] for k in main])
    assert "0 crops for train" not in done("generate_train_data.py", "--crop_size", 48)
    done("train.py", *QUICK, "--exp", "first")
    done("predict.py", "--window", 64, "--overlap", 16, "--device", "cpu")
    out = done("label.py", "--count", 3, "--window", SIDE)
    assert "round_1.gpkg (8 labelled regions)" in out
    assert "chosen by confidence" in out
    regions, fields = layer(workspace.next_labels(scene), "labels")
    assert len(regions)
    assert set(fields["guess"]) <= set(JINGWEI.names)
    assert "--exp round_1 --init_from cross_entropy/first" in done("generate_train_data.py", "--crop_size", 48)
    assert "image_3 round_1" in done("label.py", "--status")
    assert "mIoU" in done("evaluate.py")
