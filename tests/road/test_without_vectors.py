"""Cutting, training and predicting need no package for vectors where nothing is drawn: they run without them."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As on a machine that has neither: whoever asks for them finds no such module.
RUN = """
import contextlib, importlib, json, runpy, sys
sys.modules["shapely"] = sys.modules["pyogrio"] = None
for module in ("cli.inference", "cli.vote", "cli.fill", "cli.config", "evaluation.scenes", "prediction.folder"):
    importlib.import_module(f"jingwei.{module}")
for sys.argv in json.loads(sys.argv[1]):
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""
SMALL = ["--model", "enet", "--scratch", "--crop_size", "64", "--batch_size", "2", "--steps_per_epoch", "1"]
SMALL += ["--epochs", "1", "--workers", "0", "--exp", "x"]


def test_scenes_are_cut_and_a_network_trained_on_them_predicts(tmp_path, county):
    train, test = (str(next(county.rglob(f"image_{number}.png"))) for number in (1, 3))
    where = ["--data_dir", str(tmp_path)]
    label = train.replace(".png", "_label.png")
    commands = [
        ["generate_train_data.py", *where, "--scene", train, label, "--crop_size", "100", "--stride", "100"],
        ["generate_test_data.py", *where, "--scene", test],
        ["train.py", *where, "--train", *SMALL],
        ["predict.py", *where, "--window", "64", "--overlap", "16"],
    ]
    command = [sys.executable, "-c", RUN, json.dumps(commands)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("test/mask*/*_x.tif"))
