"""Loader processes without shared memory, and those that die: the same batches, or one line."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from jingwei.errors import SettingError, TrainingError
from jingwei.system.machine import team_size
from jingwei.training import datasets, distributed
from jingwei.training.datasets import Loader, killed_loaders_named

ROOT = Path(__file__).resolve().parents[2]


class Windows(Dataset):
    """Windows as training has them: (pixels_CHW, labels_HW), each of its own."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        pixels = torch.randint(0, 30_000, (4, 64, 48), generator=generator, dtype=torch.int32)
        return pixels, torch.randint(0, 256, (64, 48), generator=generator).to(torch.uint8)


class Dying(Windows):
    """Ends its process at the third window, as a system without memory does."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def assert_batches_of(loader: Loader) -> None:
    batches = list(loader)
    expected = [Windows()[index] for index in range(6)]
    for number, (pixels, labels) in enumerate(batches):
        both = expected[2 * number : 2 * number + 2]
        assert torch.equal(pixels, torch.stack([item[0] for item in both]))
        assert torch.equal(labels, torch.stack([item[1] for item in both]))
        assert (pixels.dtype, labels.dtype) == (torch.int32, torch.uint8)
        pixels += 1  # as a network's input it may be written to


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.filterwarnings("error:The given NumPy array")
def test_without_shared_memory_batches_are_the_same(monkeypatch, workers):
    collate = datasets.default_collate

    def full(items):
        if torch.utils.data.get_worker_info() is None:
            return collate(items)
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
        )

    monkeypatch.setattr(datasets, "default_collate", full)
    assert_batches_of(Loader(Windows(), batch_size=2, num_workers=workers))


IN_LITTLE = """
import sys
sys.path.insert(0, "tests/training")
from test_loader_processes import Loader, Windows, assert_batches_of
assert_batches_of(Loader(Windows(), batch_size=2, num_workers=2, prefetch_factor=2))
print("the same")
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a /dev/shm of its own")
def test_a_dev_shm_of_64_kb_is_enough():
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("may not mount one")
    command = f'{mount} && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, IN_LITTLE],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
    )  # fmt: skip
    assert done.stdout == "the same\n", done.stderr


def test_other_errors_of_a_loader_keep_their_traceback(monkeypatch):
    def broken(items):
        raise RuntimeError("stack expects each tensor to be equal size")

    monkeypatch.setattr(datasets, "default_collate", broken)
    with pytest.raises(RuntimeError, match="equal size"):
        list(Loader(Windows(), batch_size=2, num_workers=0))


def test_a_loader_process_that_is_killed_gives_one_line():
    with pytest.raises(TrainingError) as caught:
        list(Loader(Dying(), batch_size=2, num_workers=1))
    message = str(caught.value)
    assert message.startswith("`workers` 1: a process that reads and augments has died (")
    assert "take fewer, or `workers` 0" in message
    assert "\n" not in message


def test_its_death_is_named_wherever_torch_raises_it():
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...\nmore")
    with pytest.raises(TrainingError, match="`workers` 3: .*killed by signal: Bus error"), killed_loaders_named(3):
        raise error
    with pytest.raises(RuntimeError, match="of its own"), killed_loaders_named(3):
        raise RuntimeError("of its own")


# ---- numbers that torchrun keeps in the environment ----


@pytest.mark.parametrize("value", ["abc", "", "-1", "1.5", "1e3", "٣", "9" * 9])
@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("WORLD_SIZE", distributed.in_team),
        ("RANK", distributed.leads),
        ("LOCAL_RANK", distributed.local_rank),
        ("LOCAL_WORLD_SIZE", distributed.local_size),
        ("LOCAL_WORLD_SIZE", team_size),
    ],
)
def test_an_environment_of_something_else_gives_one_line(monkeypatch, name, ask, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as caught:
        ask()
    assert str(caught.value).startswith(f"{name}: is {value!r}, not a number of processes: unset it")


def test_a_team_that_nobody_started_gives_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingError) as caught, distributed.team(torch.device("cpu")):
        pass
    assert "torchrun: the processes of the team can't find each other (" in str(caught.value)
    assert "\n" not in str(caught.value)
