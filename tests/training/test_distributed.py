"""Several processes train as one: two on this machine, over Gloo, against one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.distributed import TCPStore
from warm_processes import Running

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.libraries import timm
from jingwei.training import distributed
from jingwei.training.distributed import Team, synchronize_batch_norm
from jingwei.training.log_file import read_log
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
# SGD without dropout: all that remains of a difference is the order of additions.
TRAINING = [
    "train.py", "--train", "--scratch", "--model", "attention_unet", "--backbone", "test_resnet", "--aux_weight", "0",
    "--crop_size", "64", "--batch_size", "4", "--epochs", "2", "--steps_per_epoch", "2", "--workers", "0",
    "--device", "cpu", "--precision", "fp32", "--base_lr", "0.002",
]  # fmt: skip
SMALLER = ["--epochs", "1"]
# A fresh network is chaotic: weights that differ by 1e-7 have losses that differ by 0.2 % three steps later. In float64
# the order of additions matters as little as it should; only the losses are computed in float32. Batch norms, which a
# team of CPUs can't share, become norms of each window by itself, under the same names.
IN_FLOAT64 = """
import runpy, sys, torch
from torch import nn
from jingwei.training import learner, validate
class WindowNorm(nn.BatchNorm2d):
    def forward(self, input):
        return nn.functional.group_norm(input, 1, self.weight, self.bias)
build = learner.build_model
def build_for_windows(*spec):
    model = build(*spec).double()
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WindowNorm
    return model
learner.build_model = build_for_windows
learner.to_device = validate.to_device = lambda pixels, device: pixels.double()
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def team_of(processes: int, *command) -> list[tuple[int, str, str]]:
    """Runs a script as so many processes that find each other as torchrun's do: (status, stdout, stderr) of each."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # the launcher's
    everywhere = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    members = [Running(*command, **everywhere, RANK=f"{n}", LOCAL_RANK=f"{n}") for n in range(processes)]
    try:
        return [member.finish() for member in members]
    finally:
        for member in members:
            member.kill()


def torchrun(processes: int, *command, timeout: int = 240) -> subprocess.CompletedProcess:
    """The same by torchrun itself. Processes that hang tell where, and the test fails."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    line = [*launcher, *map(str, command)]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(line, cwd=ROOT, env=environment, **how) as team:
        try:
            output = team.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            members = psutil.Process(team.pid).children(recursive=True)
            for member in members:
                member.send_signal(signal.SIGABRT)  # faulthandler's: the stack of every thread goes to stderr
            psutil.wait_procs(members, timeout=10)
            os.killpg(team.pid, signal.SIGKILL)
            pytest.fail(f"hung for {timeout} s\n" + "\n".join(team.communicate()))
    return subprocess.CompletedProcess(line, team.returncode, *output)


@pytest.fixture(scope="module")
def cut(county, tmp_path_factory) -> Path:
    """A project folder with 64-px training crops."""
    root = tmp_path_factory.mktemp("team")
    cut_train(Workspace(root), Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=2)
    return root


@pytest.fixture(scope="module")
def both(cut, tmp_path_factory) -> dict[int, Path]:
    """The same run in float64 by one process and by two: their folders."""
    script = tmp_path_factory.mktemp("script") / "in_float64.py"
    script.write_text(IN_FLOAT64)
    command = [script, *TRAINING, "--data_dir", cut, "--exp"]
    ((status, _, errors),) = team_of(1, *command, "by1")
    assert status == 0, errors
    done = torchrun(2, *command, "by2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained:") == 1  # the leader alone speaks
    return {processes: cut / "model" / "cross_entropy" / f"by{processes}" for processes in (1, 2)}


def test_two_processes_have_the_loss_curve_of_one(both):
    one, two = (read_log(both[n] / "log.csv") for n in (1, 2))
    assert len(one) == len(two) == 2
    for name in ("loss", "cross_entropy", "grad_norm", "lr", "val_loss"):
        np.testing.assert_allclose([row[name] for row in two], [row[name] for row in one], rtol=1e-4, err_msg=name)
    assert one[0]["loss"] != one[1]["loss"]


def test_a_team_whose_run_has_ended_says_so_and_leaves(cut, both):
    done = team_of(2, *TRAINING, "--exp", "by2", "--data_dir", cut)
    assert [status for status, _, _ in done] == [0, 0], done
    assert ["2 epochs are trained already" in out for _, out, _ in done] == [True, False]


def test_two_processes_end_with_the_weights_of_one(both):
    one, two = (load_checkpoint(both[n] / "last.pt").weights for n in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_shared_validation_finds_exactly_what_one_process_finds(cut, both, tmp_path):
    """The same weights over the crops shared out: counts to the pixel, and the loss, are those of one process."""
    script = tmp_path / "count.py"
    script.write_text(
        f"""
import json, torch
from pathlib import Path
from jingwei.models.checkpoints import load_checkpoint
from jingwei.training import datasets, experiments
from jingwei.training.distributed import team
from jingwei.training.learner import Learner
from jingwei.training.recipes import recipe_from_dict
from jingwei.training.start import Start
from jingwei.workspace import Workspace
checkpoint = load_checkpoint(Path({str(both[1] / "last.pt")!r}))
data = experiments.read_training_data(Workspace(Path({str(cut)!r})))
device = torch.device("cpu")
with team(device) as crew:
    learner = Learner(recipe_from_dict(checkpoint.recipe), data.kind, device, crew, Start())
    model = checkpoint.build()
    loader = datasets.validation_loader(data.folder, crew.share(data.validation), checkpoint.mean, 0)
    found = learner.validate(loader, model).scores
    learner.leave_team()
    found = [found["val_loss"], found["confusion"]]
    Path({str(tmp_path)!r}, f"{{crew.size}}_{{crew.rank}}.json").write_text(json.dumps(found))
"""
    )
    for processes in (1, 2):
        done = team_of(processes, script)
        assert {status for status, _, _ in done} == {0}, done
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(found) == {"1_0", "2_0", "2_1"}
    assert found["2_0"] == found["2_1"] == found["1_0"]
    loss, counts = found["1_0"]
    assert np.sum(counts) > 0
    assert loss > 0


def test_a_batch_that_cannot_be_shared_out_gives_one_line(cut):
    done = team_of(2, *TRAINING, "--exp", "odd", "--data_dir", cut, "--batch_size", "5")
    assert [status for status, _, _ in done] == [2, 2]
    line = "error: --batch_size 5: can't be shared out over 2 processes: give a multiple of 2"
    assert [err.splitlines() for _, _, err in done] == [[line], [line]]


COUNTING = """
import gc, os, runpy, sys
from pathlib import Path
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
leave = distributed.destroy_process_group
def counted():
    left = sum(isinstance(each, DistributedDataParallel) for each in gc.get_objects())
    Path(counts, f"{os.environ['RANK']}.txt").write_text(str(left))
    leave()
distributed.destroy_process_group = counted
counts = sys.argv[1]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(("rate", "end"), [("0.002", "trained:"), ("1e30", "error: recipe cross_entropy: the ")])
def test_nothing_that_holds_the_process_group_outlives_the_team(cut, tmp_path, rate, end):
    """Else a run may hang at its very end, whether it ends well or not."""
    script = tmp_path / "counting.py"
    script.write_text(COUNTING)
    command = [*TRAINING, "--exp", f"left_{rate}", "--data_dir", cut, "--base_lr", rate, *SMALLER]
    ((_, out, err), _) = team_of(2, script, tmp_path, *command)
    assert end in out + err, err
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["0", "0"]


def test_shares_are_all_and_each_once():
    items = list(range(7))
    parts = [Team(rank, 3).share(items) for rank in range(3)]
    assert sorted(sum(parts, [])) == items


def test_a_process_alone_is_a_team_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.team(torch.device("cpu")) as crew:
        assert (crew.rank, crew.size, crew.leads) == (0, 1, True)
        crew.wait()
        counts = np.array([[2**60]])
        assert crew.total_counts(counts, torch.device("cpu")) is counts


def test_synchronized_batch_norms_keep_what_the_plain_ones_know_and_their_activations():
    model = nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.2), nn.Sequential(timm.layers.BatchNormAct2d(4)))
    model[0].running_mean += 3
    state = {name: value.clone() for name, value in model.state_dict().items()}
    changed = synchronize_batch_norm(model)
    plain, active = changed[0], changed[1][0]
    assert isinstance(plain, nn.SyncBatchNorm)
    assert isinstance(active, nn.SyncBatchNorm)
    assert (plain.eps, plain.momentum) == (1e-3, 0.2)
    assert isinstance(active.act, nn.ReLU)
    assert changed.state_dict().keys() == state.keys()
    for name, value in changed.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_a_team_of_cpus_refuses_synchronized_batch_norms(cut):
    done = team_of(2, *TRAINING, "--exp", "sync", "--data_dir", cut, "--sync_bn", *SMALLER)
    assert [status for status, _, _ in done] == [2, 2]
    for _, _, errors in done:
        assert "error: --sync_bn: batch norm over several processes" in errors
        assert "works on GPUs only: leave it out" in errors
    assert not (cut / "model" / "cross_entropy" / "sync").exists()
