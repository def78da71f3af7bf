"""Networks are what their papers say, and take the weights that others have trained."""

import pytest
import torch
from all_networks import CLASSES, FAMILIES, build, parameters, pictures, weightless
from weight_files import load_weights

from jingwei.errors import SettingError
from jingwei.models import fcn8
from jingwei.models.pretrained import has_imagenet, load_imagenet
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of tracing, and of names that timm is about to change
    pytest.mark.usefixtures("small_networks"),
]
# ---- what the papers say ----
PAPER = [  # family, backbone, classes, millions of parameters, how far from it we may be
    ("enet", "enet", 12, 0.37, 0.03),
    ("segnet", "vgg16_bn", 12, 29.46, 0.001),
    ("unet", "plain64", 2, 31.03, 0.001),
    ("fcn8", "vgg16", 21, 134.3, 0.001),
    ("segformer", "mit_b0", 150, 3.8, 0.02),
    ("segformer", "mit_b1", 150, 13.7, 0.01),
    ("segformer", "mit_b2", 150, 27.5, 0.01),
    ("segformer", "mit_b3", 150, 47.3, 0.01),
    ("segformer", "mit_b4", 150, 64.1, 0.01),
    ("segformer", "mit_b5", 150, 84.7, 0.01),
]


@pytest.mark.parametrize(("family", "backbone", "classes", "millions", "tolerance"), PAPER)
def test_parameters_are_as_many_as_in_the_paper(monkeypatch, family, backbone, classes, millions, tolerance):
    monkeypatch.setattr(fcn8, "WIDTH", 4096)
    assert parameters(weightless(family, backbone, classes)) / 1e6 == pytest.approx(millions, rel=tolerance)


def dilations(stage) -> list[int]:
    return [block.conv2.dilation[0] for block in stage]


def test_hybrid_dilation_changes_from_block_to_block():
    eight, sixteen = (weightless("deeplab_duc_hdc", "resnet101", output_stride=stride) for stride in (8, 16))
    encoder = eight.network.encoder
    assert dilations(encoder.layer2) == [1] * 4
    assert dilations(encoder.layer3) == [1, 2, 5, 9] * 5 + [1, 2, 5]
    assert dilations(encoder.layer4) == [5, 9, 17]
    encoder = sixteen.network.encoder
    assert dilations(encoder.layer3) == [1] * 23
    assert dilations(encoder.layer4) == [1, 2, 5]


def test_dense_upsampling_gives_each_pixel_of_a_cell_its_own_scores():
    head = build("deeplab_duc_hdc", classes=2).network.segmentation_head.eval()
    scores = torch.arange(2 * 64.0).view(1, 128, 1, 1)
    head[0].weight.data.zero_()
    head[0].bias.data.copy_(scores.flatten())
    cell = head(torch.zeros(1, 256, 1, 1))
    assert torch.equal(cell, torch.arange(128.0).view(1, 2, 8, 8))


def test_pspdensenet_spreads_what_it_no_longer_halves():
    encoder = build("pspdensenet", output_stride=8).network.encoder.features
    rates = [
        {layer.conv2.dilation[0] for layer in block.children()}
        for block in (encoder.denseblock1, encoder.denseblock2, encoder.denseblock3, encoder.denseblock4)
    ]
    assert rates == [{1}, {1}, {2}, {4}]


def test_segformers_decoder_is_wider_over_the_larger_encoders():
    heads = [weightless("segformer", name).network.segmentation_head[0] for name in ("mit_b0", "mit_b1", "mit_b2")]
    assert [head.in_channels for head in heads] == [256, 256, 768]


# ---- weights to start from ----


def test_families_with_encoders_of_their_own_have_no_imagenet_weights():
    assert [name for name in FAMILIES if not has_imagenet(name)] == ["unet", "enet"]
    for family in ("unet", "enet"):
        with pytest.raises(SettingError, match=f"`model` {family}.*`scratch`.*`weights`"):
            load_imagenet(build(family))


def test_fcn8_takes_the_fully_connected_layers_of_a_vgg(tmp_path):
    model = build("fcn8", seed=1)
    theirs = {name: pictures(*tensor.shape) for name, tensor in model.network.encoder.state_dict().items()}
    classifier = {
        "classifier.0.weight": pictures(32, 32 * 49),
        "classifier.0.bias": pictures(32),
        "classifier.3.weight": pictures(32, 32),
        "classifier.3.bias": pictures(32),
        "classifier.6.weight": pictures(1000, 32),
    }
    torch.save({**theirs, **classifier}, tmp_path / "vgg11.pth")
    assert load_weights(model, tmp_path / "vgg11.pth") == len(theirs) + 4
    decoder = model.network.decoder
    assert torch.equal(decoder.fc6.weight, classifier["classifier.0.weight"].view(32, 32, 7, 7))
    assert torch.equal(decoder.fc7.weight[:, :, 0, 0], classifier["classifier.3.weight"])
    assert torch.equal(decoder.fc7.bias, classifier["classifier.3.bias"])
    assert torch.equal(model.network.encoder.features[0].weight, theirs["features.0.weight"])


def test_torchvisions_older_names_fill_a_densenet(tmp_path):
    model = build("pspdensenet", bands=4, seed=1)
    encoder = model.network.encoder
    theirs = {name: pictures(*tensor.shape) for name, tensor in encoder.state_dict().items() if tensor.ndim}
    theirs["features.conv0.weight"] = theirs["features.conv0.weight"][:, :3]
    older = {}
    for name, tensor in theirs.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        older[name] = tensor
    assert set(older) != set(theirs)
    torch.save(older, tmp_path / "densenet121.pth")
    assert load_weights(model, tmp_path / "densenet121.pth") == len(theirs)
    name = "features.denseblock3.denselayer2.conv2.weight"
    assert torch.equal(encoder.state_dict()[name], theirs[name])
    adapted = encoder.state_dict()["features.conv0.weight"]
    torch.testing.assert_close(adapted[:, 3], theirs["features.conv0.weight"].mean(1) * 3 / 4)


@pytest.mark.parametrize("name", ["regnetx_002", "mobilenetv3_small_050", "densenet121"])
def test_timms_files_fill_timms_encoders(tmp_path, name):
    from jingwei.models.libraries import timm

    theirs = timm.create_model(name).state_dict()
    torch.save(theirs, tmp_path / "timm.pth")
    torch.manual_seed(3)
    model = build_model(ModelSpec("upernet", f"tu-{name}", 3, CLASSES), (0,) * 3, (1,) * 3)
    assert load_weights(model, tmp_path / "timm.pth") == len(model.network.encoder.state_dict())
    first = next(tensor for tensor in theirs.values() if tensor.ndim == 4)
    assert torch.equal(next(p for p in model.network.encoder.parameters() if p.ndim == 4), first)
