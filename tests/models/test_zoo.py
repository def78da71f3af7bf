"""One tester for all network families: sizes, gradients, batches of one, freezing, files, exports, counts.

A new family costs a line in SMALL (an encoder that is quick to run) and, where its paper says how many parameters it
has, one in PAPER.
"""

import importlib
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from weight_files import load_weights

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI
from jingwei.models import fcn8
from jingwei.models.blocks import AveragePooling, PooledBatchNorm, _unpool_in_plain_steps, bilinear_doubling, unpool
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.families import ALIASES, MODELS, find_backbone, find_family
from jingwei.models.libraries import smp
from jingwei.models.pretrained import has_imagenet, load_imagenet
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

SMALL = {
    "fcn8": "vgg11",
    "unet": "plain16",
    "segnet": "vgg11_bn",
    "enet": "enet",
    "pspdensenet": "densenet121",
    "segformer": "mit_b0",
    "vit": "vit_tiny_patch16_224",
}
CLASSES = len(JINGWEI)
SIZES = ((1, 1), (33, 47), (64, 64), (100, 7))
OF_ANY_ENCODER = {"deeplabv3", "attention_unet", "gcn", "deeplab", "upernet", "pspnet", "unet_resnet", "segformer"}
FAMILIES = list(MODELS)

pytestmark = pytest.mark.filterwarnings("ignore")  # of tracing, and of names that timm is about to change


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """One thread, since small pictures are done before threads have met; VGG and DenseNet with a tenth of the work."""
    torch.set_num_threads(1)
    monkeypatch.setattr(fcn8, "WIDTH", 32)
    narrow = [8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, 32, "M"]
    for vgg in ("vgg11", "vgg11_bn"):
        settings = {"config": narrow, "out_channels": [8, 16, 24, 32, 32, 32]}
        monkeypatch.setitem(smp.encoders.encoders[vgg], "params", smp.encoders.encoders[vgg]["params"] | settings)
    settings = {"block_config": (2, 2, 2, 2), "out_channels": [3, 64, 128, 128, 128, 128]}
    densenet = smp.encoders.encoders["densenet121"]
    monkeypatch.setitem(densenet, "params", densenet["params"] | settings)


def build(family, bands=3, classes=CLASSES, *, auxiliary=False, output_stride=0, seed=0):
    torch.manual_seed(seed)
    spec = ModelSpec(family, SMALL.get(family, "resnet18"), bands, classes, output_stride, auxiliary)
    return build_model(spec, (117.0,) * bands, (58.0,) * bands)


def pictures(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 255


def without_dropout(model):
    """The model with nothing left to chance in training: no dropout of values or, in transformers, of whole blocks."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return model


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def weightless(family, backbone, classes=CLASSES, output_stride=0):
    """A network that has shapes, but no numbers: quick to make at any size."""
    linspace = torch.linspace
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(
            torch, "linspace", lambda *ends, **how: linspace(*ends, **how | {"device": "cpu"})
        )  # MiT reads numbers from it
        return build_model(ModelSpec(family, backbone, 3, classes, output_stride), (0,) * 3, (1,) * 3)


# ---- every family ----


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_have_the_size_of_the_input(family):
    model = build(family, auxiliary=True).eval()
    with torch.inference_mode():
        for height, width in SIZES:
            logits = model(pictures(2, 3, height, width))
            assert logits.shape == (2, CLASSES, height, width)
            assert torch.isfinite(logits).all()
            assert height * width == 1 or logits.std() > 0


@pytest.mark.parametrize(("bands", "classes"), [(1, 2), (4, 15), (7, 2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_bands_and_classes(family, bands, classes):
    model = build(family, bands, classes).eval()
    pixels = pictures(1, bands, 40, 50)
    with torch.inference_mode():
        logits = model(pixels)
        assert logits.shape == (1, classes, 40, 50)
        for band in range(bands):  # each is really looked at
            changed = pixels.clone()
            changed[:, band] = 255 - changed[:, band]
            assert not torch.equal(model(changed), logits), band


@pytest.mark.parametrize("family", FAMILIES)
def test_one_window_trains_and_its_gradient_reaches_every_parameter(family):
    model = without_dropout(build(family, auxiliary=True)).train()
    main, auxiliary = model(pictures(1, 3, 33, 47))
    assert main.shape == auxiliary.shape == (1, CLASSES, 33, 47)
    weights = torch.randn(2, 1, CLASSES, 33, 47, generator=torch.Generator().manual_seed(2))
    (main * weights[0] + auxiliary * weights[1]).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    # A ReLU inside an attention may be shut for a single picture; a part that is wired wrong is more than that.
    still = [name for name, gradient in gradients.items() if not gradient.any()]
    assert len(still) <= 0.04 * len(gradients), still


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_window_of_a_single_pixel_trains(family):
    main, auxiliary = build(family, auxiliary=True).train()(pictures(1, 3, 1, 1))
    assert torch.isfinite(main).all()
    assert torch.isfinite(auxiliary).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_training_and_evaluation_are_different_modes(family):
    model = build(family).train()
    pixels = pictures(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "running_mean" in name}
    trained = model(pixels)
    assert isinstance(trained, torch.Tensor)  # no auxiliary head: logits alone
    moved = [name for name, tensor in model.state_dict().items() if name in before and (tensor != before[name]).any()]
    assert moved or not before
    model.eval()
    with torch.inference_mode():
        first, second = model(pixels), model(pixels)
        assert torch.equal(first, second)  # no dropout, no statistics
        torch.testing.assert_close(model(pixels[:1]), first[:1], rtol=1e-4, atol=1e-4)  # nor any from the other window


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_against_the_gradient_lower_the_loss(family):
    model = without_dropout(build(family)).train()
    pixels = pictures(2, 3, 64, 64) / 2
    pixels[:, :, :, 32:] += 100
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    labels[:, :, 32:] = 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        loss = functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_the_same_network_again(family, tmp_path):
    model = build(family, 4, auxiliary=True)
    model.train()(pictures(2, 4, 64, 64))  # statistics that are not those of a fresh network
    model.eval()
    content = Checkpoint(model.spec, "uint8", (117.0,) * 4, (58.0,) * 4, JINGWEI, {}, model.state_dict())
    save_checkpoint(tmp_path / "best.pt", content)
    again = load_checkpoint(tmp_path / "best.pt").build()
    assert again.spec == model.spec
    pixels = pictures(1, 4, 33, 47)
    with torch.inference_mode():
        assert torch.equal(again(pixels), model(pixels))


USED = {  # which of the encoder's maps the decoder looks at
    "deeplabv3": {5}, "attention_unet": {1, 2, 3, 4, 5}, "fcn8": {2, 3, 5}, "unet": {0, 1, 2, 3, 4},
    "unet_resnet": {1, 2, 3, 4, 5}, "segnet": {0, 1, 2, 3, 4, 5}, "segresnet": {1, 2, 3, 4, 5}, "enet": {0, 1, 3},
    "gcn": {2, 3, 4, 5}, "deeplab": {2, 5}, "deeplab_duc_hdc": {5}, "upernet": {2, 3, 4, 5}, "pspnet": {5},
    "pspdensenet": {5}, "segformer": {2, 3, 4, 5}, "vit": {0, 1, 2, 3},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_look_at_the_maps_that_they_should(family):
    network = build(family).eval().network
    with torch.no_grad():
        features = network.encoder(pictures(1, 3, 64, 96) / 100)
        plain = network.decoder(list(features))
        used = set()
        for place in range(len(features)):
            changed = [x.flip(3) if i == place else x for i, x in enumerate(features)]
            if not torch.allclose(network.decoder(changed), plain):
                used.add(place)
    assert used == USED[family]


@pytest.mark.parametrize(("family", "undone"), [
    ("segnet", [4, 3, 2, 1, 0]), ("segresnet", [4, 3, 2, 1]), ("enet", [1, 0]),
])  # fmt: skip
def test_unpooling_goes_by_the_maps_that_were_halved(family, undone, monkeypatch):
    network = build(family).eval().network
    asked = []
    module = importlib.import_module(f"jingwei.models.{family}")
    monkeypatch.setattr(module, "unpool", lambda values, before: asked.append(before) or unpool(values, before))
    with torch.no_grad():
        features = network.encoder(pictures(1, 3, 64, 96) / 100)
        network.decoder(features)
    assert all(before is features[place] for before, place in zip(asked, undone, strict=True))


# ---- backbones, output strides, names ----


@pytest.mark.parametrize("family", [name for name in FAMILIES if MODELS[name].backbones])
def test_every_backbone_of_a_family_is_another_network(family):
    sizes = {backbone: parameters(weightless(family, backbone)) for backbone in MODELS[family].backbones}
    assert len(set(sizes.values())) == len(sizes), sizes
    assert MODELS[family].backbone in sizes


@pytest.mark.parametrize("family", sorted(OF_ANY_ENCODER))
def test_families_of_any_encoder_take_its_size(family):
    backbones = ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "regnetx_002")
    sizes = [parameters(weightless(family, backbone)) for backbone in backbones]
    assert len(set(sizes)) == len(sizes)


def test_these_families_take_any_encoder_and_no_others():
    assert {name for name, family in MODELS.items() if not family.backbones} == OF_ANY_ENCODER


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_backbone_it_is_the_usual_one(family):
    usual = MODELS[family].backbone
    assert find_backbone(None, family) == find_backbone("", family) == find_backbone(usual, family) == usual


@pytest.mark.parametrize("family", [name for name in FAMILIES if MODELS[name].backbones])
def test_a_backbone_of_another_kind_is_refused_with_the_known(family):
    with pytest.raises(SettingError, match=f"`backbone` mobilenet_v2: {family} has no such encoder") as caught:
        build_model(ModelSpec(family, "mobilenet_v2", 3, CLASSES), (0,) * 3, (1,) * 3)
    assert all(backbone in str(caught.value) for backbone in MODELS[family].backbones)


@pytest.mark.parametrize("family", FAMILIES)
def test_output_strides(family):
    """Those a family has shape the encoder's last map; all others, and all of a family without, are refused."""
    if family == "attention_unet":
        pytest.skip("takes any and uses none: recipes name one for it")
    choices = MODELS[family].output_strides
    for stride in (4, 8, 16, 32):
        if stride in choices:
            model = build(family, output_stride=stride).eval()
            with torch.inference_mode():
                assert model.network.encoder(torch.zeros(1, 3, 64, 96))[-1].shape[2:] == (64 // stride, 96 // stride)
                assert model(pictures(1, 3, 33, 47)).shape == (1, CLASSES, 33, 47)
            assert model.spec.output_stride == stride
        else:
            with pytest.raises(SettingError, match=f"`output_stride` {stride}: {family} "):
                build(family, output_stride=stride)
    assert build(family).spec.output_stride == (choices[0] if choices else 0)


CONTEST = (
    "FCN8", "UNet", "UNetResnet", "SegNet", "SegResNet", "ENet",
    "GCN", "DeepLab", "DeepLab_DUC_HDC", "UperNet", "PSPNet", "PSPDenseNet",
)  # fmt: skip


@pytest.mark.parametrize("name", CONTEST)
def test_the_contests_spelling_is_understood(name):
    family = find_family(name)
    assert family.replace("_", "") == name.lower().replace("_", "")
    assert build_model(ModelSpec(name, SMALL.get(family, "resnet18"), 3, 2), (0,) * 3, (1,) * 3).spec.family == family


def test_aliases_lead_to_families_and_hide_none():
    assert set(ALIASES.values()) <= set(MODELS)
    assert not set(ALIASES) & set(MODELS)


# ---- freezing ----


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_batch_norm_keeps_its_statistics_through_training(family):
    model = build(family).train()
    model.freeze_batch_norm()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.network.encoder.named_buffers()}
    model(pictures(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.encoder.named_buffers())
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_backbone_gets_no_gradient_and_the_rest_does(family):
    model = build(family, auxiliary=True)
    model.freeze_backbone()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.network.encoder.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    main, auxiliary = model(pictures(2, 3, 64, 64))
    (main.square().mean() + auxiliary.square().mean()).backward()
    optimizer.step()
    assert all(parameter.grad is None for parameter in model.backbone_parameters())
    assert all(parameter.grad is not None for parameter in model.head_parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.encoder.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_backbone_and_head_are_all_parameters_once(family):
    model = build(family, auxiliary=True)
    backbone, head = list(model.backbone_parameters()), list(model.head_parameters())
    assert backbone
    assert head
    both = [id(parameter) for parameter in backbone + head]
    assert len(both) == len(set(both)) == len(list(model.parameters()))
    assert {id(p) for p in model.auxiliary.parameters()} <= {id(p) for p in head}


# ---- exports ----


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_networks_give_the_same_logits_at_any_size(family):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = build(family).eval()
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 100, 90),), file, dynamo=False, opset_version=17, input_names=["pixels"],
            dynamic_axes={"pixels": {2: "height", 3: "width"}},
        )  # fmt: skip
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    for size in (*SIZES, (70, 130)):
        pixels = pictures(1, 3, *size)
        with torch.inference_mode():
            wanted = model(pixels)
        (got,) = session.run(None, {"pixels": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=1e-3, atol=1e-4 * max(1, float(wanted.std())))


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


# ---- pieces ----


def unpooled(values: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Max unpooling, pixel by pixel."""
    result = np.zeros_like(before)
    for batch, channel, row, column in np.ndindex(values.shape):
        window = before[batch, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        down, right = divmod(int(window.argmax()), 2)
        result[batch, channel, 2 * row + down, 2 * column + right] = values[batch, channel, row, column]
    return result


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_unpooling_puts_values_where_the_maxima_were_both_ways(batch, channels, height, width, seed):
    random = np.random.default_rng(seed)
    before = random.integers(0, 3, (batch, channels, 2 * height, 2 * width)).astype(np.float32)  # many ties
    values = random.normal(size=(batch, channels, height, width)).astype(np.float32)
    wanted = unpooled(values, before)
    values, before = torch.from_numpy(values), torch.from_numpy(before)
    assert np.array_equal(unpool(values, before).numpy(), wanted)
    assert np.array_equal(_unpool_in_plain_steps(values, before).numpy(), wanted)


@given(st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
def test_average_pooling_is_torchs_adaptive_one(cells, height, width):
    x = pictures(2, 3, height, width)
    wanted = functional.adaptive_avg_pool2d(x, cells)
    torch.testing.assert_close(AveragePooling(cells)(x), wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("windows", "size"), [(2, 1), (1, 2), (3, 4)])
def test_pooled_batch_norm_is_batch_norm_of_two_values_or_more(windows, size):
    plain = nn.BatchNorm2d(3)
    plain.weight.data.uniform_(0.5, 2)
    pooled = PooledBatchNorm.instead_of(plain)
    x = pictures(windows, 3, size, size)
    assert torch.equal(plain(x), pooled(x))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), pooled.buffers(), strict=True))
    assert torch.equal(plain.eval()(x), pooled.eval()(x))


def test_pooled_batch_norm_of_one_value_goes_by_the_running_statistics_and_leaves_them():
    pooled = PooledBatchNorm(3).train()
    pooled.running_mean.fill_(10.0)
    pooled.running_var.fill_(4.0)
    before = [buffer.clone() for buffer in pooled.buffers()]
    x = pictures(1, 3, 1, 1).requires_grad_()
    y = pooled(x)
    torch.testing.assert_close(y, (x - 10) / (4 + pooled.eps) ** 0.5)
    y.sum().backward()
    assert x.grad.all()
    assert pooled.weight.grad.any()
    assert pooled.bias.grad.any()
    assert all(torch.equal(a, b) for a, b in zip(before, pooled.buffers(), strict=True))


def test_doubling_starts_as_bilinear_interpolation():
    x = pictures(1, 3, 5, 7)
    wanted = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        got = bilinear_doubling(3)(x)
    torch.testing.assert_close(got[:, :, 1:-1, 1:-1], wanted[:, :, 1:-1, 1:-1])  # at the rim it sees its padding


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
