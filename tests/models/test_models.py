"""What surrounds networks: encoders by name, normalisation, weights from files, torchvision beside a CPU torch.

What all network families have in common is in test_zoo.py.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from weight_files import load_weights, read_tensors

from jingwei.errors import CheckpointError, SettingError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.families import MODELS, find_backbone
from jingwei.models.libraries import smp
from jingwei.models.pretrained import load_imagenet
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ("resnet18", "mobilenet_v3_large", "regnetx_002")  # smp's own, by torchvision's name, by timm's name
SIZES = ((65, 70), (33, 200), (1, 1))
OF_ANY_ENCODER = [name for name, family in MODELS.items() if not family.backbones]
CLASSES = 5


def build(family="attention_unet", backbone="resnet18", bands=3, *, seed=0, auxiliary=False, mean=0.0, std=1.0):
    torch.manual_seed(seed)
    spec = ModelSpec(family, backbone, bands, CLASSES, auxiliary=auxiliary)
    return build_model(spec, (mean,) * bands, (std,) * bands)


def pictures(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 255


# ---- encoders ----


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("family", OF_ANY_ENCODER)
def test_families_of_any_encoder_work_and_train_over_several(family, backbone):
    model = build(family, backbone, auxiliary=True).eval()
    with torch.inference_mode():
        for height, width in SIZES:
            logits = model(pictures(1, 3, height, width))
            assert logits.shape == (1, CLASSES, height, width)
            assert torch.isfinite(logits).all()
    main, auxiliary = model.train()(pictures(1, 3, 65, 70))
    ((main + auxiliary) * pictures(1, CLASSES, 65, 70, seed=2)).mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# Attention that pools to a single pixel and normalises that; a transformer made for one size; one without stride 2.
@pytest.mark.parametrize("backbone", ["skresnet18", "resnest14d", "swin_tiny_patch4_window7_224", "mit_b0"])
def test_encoders_with_ways_of_their_own_take_any_size_and_a_single_window(backbone):
    model = build("upernet", backbone, 4).train()
    assert model(pictures(1, 4, 65, 70)).shape == (1, CLASSES, 65, 70)
    model.eval()
    with torch.inference_mode():
        for height, width in SIZES:
            assert model(pictures(1, 4, height, width)).shape == (1, CLASSES, height, width)


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "maxvit_nano_rw_256", "levit_128"])
def test_an_encoder_that_nothing_can_be_segmented_with_is_the_users_mistake(backbone):
    with pytest.raises(SettingError, match=f"`backbone` {backbone}: needs pictures of one size, or"):
        build("upernet", backbone)


@pytest.mark.parametrize("backbone", ["edgenext_xx_small", "densenet121"])
@pytest.mark.parametrize("family", ["deeplabv3", "deeplab", "pspnet"])
def test_an_encoder_that_cannot_be_dilated_is_the_users_mistake(family, backbone):
    with pytest.raises(SettingError, match=rf"`backbone` {backbone}: can't be run at an output stride of (8|16)"):
        build(family, backbone)


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def broken(spec):
        raise ZeroDivisionError

    monkeypatch.setitem(MODELS, "gcn", replace(MODELS["gcn"], build=broken))
    with pytest.raises(ZeroDivisionError):
        build("gcn")


def test_looking_at_an_encoder_leaves_no_trace():
    model, again = build("upernet", "resnest14d"), build("upernet", "resnest14d")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    statistics = [tensor for name, tensor in model.state_dict().items() if "running_mean" in name]
    assert statistics
    assert not any(tensor.any() for tensor in statistics)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


# ---- normalisation ----


def test_normalisation_is_the_networks_first_step():
    plain, folded = build().eval(), build(mean=117.0, std=58.0).eval()
    pixels = pictures(2, 3, 65, 70)  # no multiple of 32: the padding must be the mean colour, not black
    with torch.inference_mode():
        torch.testing.assert_close(folded(pixels), plain((pixels - 117) / 58), rtol=0, atol=1e-5)


def test_normalisation_is_per_band_and_travels_with_the_weights():
    spec = ModelSpec("attention_unet", "resnet18", 2, CLASSES)
    model = build_model(spec, (10.0, 3000.0), (2.0, 500.0)).eval()
    other = build_model(spec, (0.0, 0.0), (1.0, 1.0)).eval()
    other.load_state_dict(model.state_dict())
    assert other.mean.flatten().tolist() == [10.0, 3000.0]
    assert other.std.flatten().tolist() == [2.0, 500.0]


def test_the_same_seed_makes_the_same_network():
    one, two, third = build(seed=3).state_dict(), build(seed=3).state_dict(), build(seed=4).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_frozen_batch_norm_keeps_the_encoders_statistics_and_lets_the_decoders_learn():
    model = build("deeplabv3").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "running_mean" in name}
    model.freeze_batch_norm()
    model(pictures(2, 3, 32, 32))
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if ".encoder." in name)
    assert not all(torch.equal(before[name], after[name]) for name in before if ".decoder." in name)


def test_unknown_family_lists_the_known():
    with pytest.raises(SettingError, match="`model` unnet") as caught:
        build("unnet")
    assert all(family in str(caught.value) for family in MODELS)


def test_unknown_backbone_lists_known_ones():
    with pytest.raises(SettingError, match="`backbone` resnet5000.*resnet18.*timm"):
        build(backbone="resnet5000")


def test_backbones_go_by_the_names_of_smp_torchvision_and_timm():
    assert find_backbone("resnet18", "gcn") == "resnet18"
    assert find_backbone("mobilenet_v3_large", "gcn") == "tu-mobilenetv3_large_100"
    assert find_backbone("regnetx_002", "gcn") == find_backbone("tu-regnetx_002", "gcn") == "tu-regnetx_002"


# ---- weights from files ----


def checkpoint_of(model) -> Checkpoint:
    spec = model.spec
    return Checkpoint(spec, "uint8", (0.0,) * spec.bands, (1.0,) * spec.bands, JINGWEI, {}, model.state_dict())


def test_a_whole_checkpoint_of_ours_is_taken_but_for_its_normalisation(tmp_path):
    donor, model = build(seed=1, mean=5.0), build(seed=2, mean=7.0)
    save_checkpoint(tmp_path / "best.pt", checkpoint_of(donor))
    load_weights(model, tmp_path / "best.pt")
    wanted, got = donor.network.state_dict(), model.network.state_dict()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    assert model.mean.flatten().tolist() == [7.0] * 3


def test_the_encoder_is_taken_from_a_checkpoint_of_another_family(tmp_path):
    donor, model = build("attention_unet", seed=1), build("deeplabv3", seed=2)
    save_checkpoint(tmp_path / "best.pt", checkpoint_of(donor))
    load_weights(model, tmp_path / "best.pt")
    wanted, got = donor.network.encoder.state_dict(), model.network.encoder.state_dict()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)


def torchvision_weights() -> dict[str, torch.Tensor]:
    import torchvision  # only here: it needs the remedy that jingwei.models takes first

    torch.manual_seed(5)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.mark.parametrize("wrapped", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.encoder."])
def test_torchvisions_weights_fill_the_encoder_under_any_wrappers_prefix(tmp_path, prefix, wrapped):
    theirs = torchvision_weights()  # its last layer, fc, has no place here
    torch.save(wrapped({prefix + name: tensor for name, tensor in theirs.items()}), tmp_path / "resnet18.pth")
    model = build("deeplabv3")
    fitted = load_weights(model, tmp_path / "resnet18.pth")
    encoder = model.network.encoder.state_dict()
    assert fitted == len(encoder) == len(theirs) - 2
    assert all(torch.equal(encoder[name], theirs[name]) for name in encoder)


@pytest.mark.parametrize("bands", [1, 4, 7])
def test_a_three_band_first_layer_is_averaged_over_bands_without_names_and_scaled(tmp_path, bands):
    theirs = torchvision_weights()
    torch.save(theirs, tmp_path / "resnet18.pth")
    model = build(bands=bands)
    load_weights(model, tmp_path / "resnet18.pth")
    got = model.network.encoder.conv1.weight
    for band in range(bands):
        torch.testing.assert_close(got[:, band], theirs["conv1.weight"].mean(1) * (3 / bands))
    assert torch.equal(model.network.encoder.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])


def test_weights_of_another_backbone_are_refused_and_the_network_stays_as_it_was(tmp_path):
    torch.save(torchvision_weights(), tmp_path / "resnet18.pth")
    model = build(backbone="mobilenet_v3_large")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"resnet18.pth: \d+ of the \d+ tensors.*`backbone`"):
        load_weights(model, tmp_path / "resnet18.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(3), {"state_dict": {}}], ids=str)
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        read_tensors(tmp_path / "w.pt")


def test_imagenet_weights_go_into_the_encoder(monkeypatch):
    donor = build(seed=9).network.encoder
    asked = []
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, **how: asked.append((name, how)) or donor)
    model = build(seed=1)
    load_imagenet(model)
    assert asked[0][0] == "resnet18"
    assert asked[0][1]["weights"] == "imagenet"
    assert all(torch.equal(t, donor.state_dict()[name]) for name, t in model.network.encoder.state_dict().items())


@pytest.mark.parametrize("failure", [OSError("Max retries exceeded\nwith url"), RuntimeError(""), KeyError("imagenet")])
def test_offline_the_error_names_the_ways_out(monkeypatch, failure):
    def unreachable(*args, **how):
        raise failure

    monkeypatch.setattr(smp.encoders, "get_encoder", unreachable)
    with pytest.raises(
        SettingError, match='`backbone` resnet18.*`weights` FILE.*`scratch`.*"pretrained": false'
    ) as caught:
        load_imagenet(build())
    assert "\n" not in str(caught.value)


# ---- torchvision beside a torch that it was not built for ----

REMEDY = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("mixed_wheels", sys.argv[1])
mixed_wheels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mixed_wheels)
assert "torchvision" not in sys.modules
before = [mixed_wheels.declare_missing_operators() for _ in range(3)]
import torchvision
after = mixed_wheels.declare_missing_operators()
assert {*before, after} == {after}, (before, after)
torchvision.models.resnet18(weights=None)
print("imported")
"""


def test_torchvision_imports_after_the_remedy_which_may_be_taken_twice():
    source = ROOT / "jingwei" / "models" / "mixed_wheels.py"
    result = subprocess.run([sys.executable, "-c", REMEDY, str(source)], capture_output=True, text=True, timeout=120)
    assert result.stdout == "imported\n", result.stderr
