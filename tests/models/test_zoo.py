"""One tester for all network families: sizes, bands, gradients, batches of one, freezing, files, exports, names.

A new family costs a line in SMALL of `all_networks.py` (an encoder that is quick to run) and, where its paper says how
many parameters it has, one in PAPER of `test_papers.py`.
"""

import importlib
import io
import warnings

import pytest
import torch
from all_networks import (
    CLASSES,
    FAMILIES,
    OF_ANY_ENCODER,
    SIZES,
    SMALL,
    build,
    parameters,
    pictures,
    weightless,
    without_dropout,
)
from torch.nn import functional

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI
from jingwei.models.blocks import unpool
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.families import ALIASES, MODELS, find_backbone, find_family
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of tracing, and of names that timm is about to change
    pytest.mark.usefixtures("small_networks"),
]


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
    chance = torch.get_rng_state()
    again = load_checkpoint(tmp_path / "best.pt").build()
    assert torch.equal(torch.get_rng_state(), chance)  # no weights are drawn that the file's would replace
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
