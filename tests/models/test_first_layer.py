"""Weights on the bands that they were made for: permuting bands and their names changes nothing."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from weight_files import load_weights

from jingwei.errors import CheckpointError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.first_layer import first_layers, onto_bands
from jingwei.models.libraries import smp
from jingwei.models.pretrained import put
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.weights import Donor
from jingwei.spectrum import RGB, SETS

pytestmark = pytest.mark.filterwarnings("ignore")  # names that timm is about to change
BGRN = SETS["bgrn"]
MEAN, STD = (90.0, 100.0, 110.0, 60.0), (30.0, 35.0, 40.0, 50.0)


def network(family="attention_unet", backbone="resnet18", bands=3, seed=0):
    torch.manual_seed(seed)
    return build_model(ModelSpec(family, backbone, bands, 3), MEAN[:bands], STD[:bands]).eval()


def donor_of(backbone: str, bands: int = 3) -> dict:
    torch.manual_seed(9)
    return smp.encoders.get_encoder(backbone, in_channels=bands, weights=None).state_dict()


@pytest.mark.parametrize("backbone", [
    "resnet18", "mit_b0", "mobileone_s0", "densenet121", "tu-mobilenetv3_small_050", "tu-tf_efficientnet_lite0",
    "tu-convnext_atto",
])  # fmt: skip
def test_the_layers_that_meet_the_picture_are_those_whose_shape_changes_with_its_bands(backbone):
    encoders = [smp.encoders.get_encoder(backbone, in_channels=bands, weights=None) for bands in (4, 5)]
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in encoders]
    assert set(first_layers(encoders[0], 4)) == {name for name in shapes[0] if shapes[0][name] != shapes[1][name]}


def test_a_pooled_picture_has_no_first_layer_alone():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.filters, self.pooling = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.MaxPool2d(2)

        def forward(self, x):
            return torch.cat([self.filters(x), self.pooling(x)], dim=1)

    assert first_layers(Pooled(), 3) == ()


@given(st.permutations(BGRN), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_filters_follow_their_names(order, seed):
    filters = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    first, other = (onto_bands(filters, RGB, names) for names in (BGRN, order))
    places = [BGRN.index(name) for name in order]
    torch.testing.assert_close(other, first[:, places])
    torch.testing.assert_close(first[:, 3], filters.mean(1) * 3 / 4)
    torch.testing.assert_close(first[:, 0], filters[:, 2] * 3 / 4)
    torch.testing.assert_close(first.sum(1), (filters.sum(1) + filters.mean(1)) * 3 / 4)
    assert torch.equal(onto_bands(filters, RGB, RGB), filters)


@pytest.mark.parametrize(
    ("family", "backbone"),
    [
        ("attention_unet", "resnet18"),
        ("deeplabv3", "tf_efficientnet_lite0"),
        ("segformer", "mit_b0"),
        ("upernet", "convnext_atto"),
    ],
)
def test_permuting_bands_and_their_names_changes_no_output(family, backbone):
    pixels = torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(3)) * 255
    first = network(family, backbone, bands=4)
    donor = Donor("weights", donor_of(first.spec.backbone), RGB)
    put(first, donor, BGRN)
    with torch.inference_mode():
        expected = first(pixels)
    order = random.Random(4).sample(range(4), 4)
    other = network(family, backbone, bands=4)
    other.mean, other.std = other.mean[:, order], other.std[:, order]
    put(other, donor, [BGRN[i] for i in order])
    with torch.inference_mode():
        torch.testing.assert_close(other(pixels[:, order]), expected, rtol=1e-4, atol=1e-4)


def test_blue_green_red_files_get_their_own_filters(tmp_path):
    theirs = donor_of("resnet18")
    torch.save(theirs, tmp_path / "w.pth")
    model = network()
    load_weights(model, tmp_path / "w.pth", RGB[::-1])
    assert torch.equal(model.network.encoder.conv1.weight, theirs["conv1.weight"].flip(1))


def test_a_checkpoint_of_ours_knows_its_bands(tmp_path):
    donor = network("enet", "enet", bands=4, seed=1)
    legend = replace(JINGWEI, classes=JINGWEI.classes[:3], bands=BGRN)
    save_checkpoint(tmp_path / "enet.pt", Checkpoint(donor.spec, "uint8", MEAN, STD, legend, {}, donor.state_dict()))
    load_weights(network("enet", "enet", bands=4), tmp_path / "enet.pt", BGRN)
    with pytest.raises(CheckpointError, match="enet can't have them in another order"):  # it pools the bands too
        load_weights(network("enet", "enet", bands=4), tmp_path / "enet.pt", SETS["rgbn"])
    with pytest.raises(CheckpointError, match="is for other bands"):
        load_weights(network("enet", "enet", bands=3), tmp_path / "enet.pt")
    donor = network(bands=4, seed=1)
    save_checkpoint(tmp_path / "best.pt", Checkpoint(donor.spec, "uint8", MEAN, STD, legend, {}, donor.state_dict()))
    model = network(bands=3)
    load_weights(model, tmp_path / "best.pt", RGB)
    wanted = donor.network.encoder.conv1.weight[:, [2, 1, 0]] * 4 / 3
    torch.testing.assert_close(model.network.encoder.conv1.weight, wanted)


def test_a_source_of_other_bands_needs_their_names_and_is_never_cut_short(tmp_path):
    theirs = donor_of("resnet18", 13)
    torch.save(theirs, tmp_path / "sentinel.pth")
    model = network(bands=4)
    before = model.network.encoder.conv1.weight.clone()
    with pytest.raises(CheckpointError, match="first layer is for 13 bands that nobody has named.*`weights_bands`"):
        load_weights(model, tmp_path / "sentinel.pth", BGRN)
    assert torch.equal(model.network.encoder.conv1.weight, before)
    put(model, Donor("sentinel.pth", theirs, SETS["sentinel2"]), BGRN)
    wanted = theirs["conv1.weight"][:, [1, 2, 3, 7]] * 13 / 4
    torch.testing.assert_close(model.network.encoder.conv1.weight, wanted)
    with pytest.raises(CheckpointError, match="is for 13 bands, not the 12 named"):
        put(model, Donor("sentinel.pth", theirs, SETS["sentinel2_l2a"]), BGRN)


def test_a_first_layer_that_is_missing_or_of_another_kind_is_refused():
    theirs = donor_of("resnet18")
    for odd in ({}, {"conv1.weight": torch.zeros(64, 3, 3, 3)}):
        tensors = {name: tensor for name, tensor in theirs.items() if name != "conv1.weight"} | odd
        with pytest.raises(CheckpointError, match="has no first layer that fits"):
            put(network(), Donor("odd.pth", tensors), ())


def test_bands_without_names_are_said():
    donor = Donor("w", donor_of("resnet18"), RGB, about="weights w")
    assert put(network(), donor)[1] == ["weights w"]
    assert "4 bands have no names" in put(network(bands=4), donor)[1][1]
    assert "the mean of the others: nir" in put(network(bands=4), donor, BGRN)[1][1]
