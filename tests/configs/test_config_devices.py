"""Which devices a config's run takes."""

import sys

import pytest

from jingwei.errors import SettingError
from jingwei.training import launch

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("chosen", "wanted", "there", "device", "said"),
    [
        (None, 1, 0, "cpu", ""),
        (None, 2, 0, "cpu", "no GPU here: training on the CPU\n"),
        ("0,1", 1, 0, "cpu", "no GPU here: training on the CPU\n"),
        (None, 0, 2, "cpu", ""),
        (None, 1, 2, "cuda:0", ""),
        (None, 2, 1, "cuda:0", "n_gpu is 2, but there are 1 GPUs here: training on these\n"),
        ("1", 1, 2, "cuda:1", ""),
        ("cpu", 2, 2, "cpu", ""),
        ("cuda:1", 1, 2, "cuda:1", ""),
    ],
)
def test_the_device_is_the_one_asked_for_or_what_there_is(monkeypatch, capsys, chosen, wanted, there, device, said):
    monkeypatch.setattr(launch, "gpu_count", lambda: there)
    assert launch.choose_device(chosen, wanted, sys.argv) == device
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("chosen", "wanted", "visible", "expected"),
    [("0,2", 1, None, "0,2"), (None, 2, None, "0,1"), (None, 9, None, "0,1,2"), ("1,2", 1, "5,6,7", "6,7")],
)
def test_more_gpus_get_a_process_each(monkeypatch, chosen, wanted, visible, expected):
    started = []
    monkeypatch.setattr(launch, "gpu_count", lambda: 3)
    monkeypatch.setattr(launch.os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "x.json"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    launch.choose_device(chosen, wanted, sys.argv)
    ((*_, module, standalone, count, script, flag, config),) = started
    assert (module, standalone) == ("torch.distributed.run", "--standalone")
    assert count == f"--nproc_per_node={len(expected.split(','))}"
    assert (script, flag, config) == ("train.py", "-c", "x.json")
    assert launch.os.environ["CUDA_VISIBLE_DEVICES"] == expected
    monkeypatch.setenv("WORLD_SIZE", "2")  # in one of those processes
    assert launch.choose_device(chosen, wanted, sys.argv) == "auto"
    assert len(started) == 1


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(launch, "gpu_count", lambda: 2)
    with pytest.raises(SettingError, match="`device` 0,2: there are 2 GPUs here: number them from 0"):
        launch.choose_device("0,2", 1, sys.argv)
