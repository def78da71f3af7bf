"""The Python blocks of docs/python.md, run one after another on a tiny county."""

import re
import shutil
from pathlib import Path

import pytest

import jingwei

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SMALL = {
    "scratch": True,
    "backbone": "resnet18",
    "output_stride": 16,
    "crop_sizes": (64,),
    "batch_size": 2,
    "epochs": 1,
    "steps_per_epoch": 2,
    "workers": 0,
    "device": "cpu",
}


def test_the_page_does_what_it_shows(county, tmp_path, monkeypatch, capsys, one_thread):
    for path in county.rglob("image_*.png"):
        shutil.copy(path, tmp_path)
    cut, train, predict = jingwei.cut, jingwei.train, jingwei.predict
    monkeypatch.setattr(jingwei, "cut", lambda *args: cut(*args, crop_size=64))
    monkeypatch.setattr(jingwei, "train", lambda *args, **chosen: train(*args, **chosen | SMALL))
    monkeypatch.setattr(jingwei, "predict", lambda *args, **chosen: predict(*args, **chosen, engine="torch"))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    printed = []
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
        printed.append(capsys.readouterr().out)
    scores, in_memory, calibration, error = (text.strip().splitlines()[-1] for text in printed)
    assert 0 <= float(scores.split()[0]) <= 1
    assert in_memory.endswith("(170, 140)")
    assert calibration == "None None" or float(calibration.split()[0]) > 0
    assert error.startswith("missing.png: ")
    assert (tmp_path / "fields.gpkg").exists()
    assert (tmp_path / "confidence" / "map.tif").exists()
    assert not (tmp_path / "nothing.tif").exists()


def test_the_page_has_blocks():
    assert len(BLOCKS) == 4
    with pytest.raises(AttributeError):
        jingwei.no_such_step  # noqa: B018
