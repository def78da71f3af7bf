"""Plain vision transformers: what timm computes, pictures of any size, every engine."""

import numpy as np
import pytest
import torch

from jingwei.errors import CheckpointError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.libraries import timm
from jingwei.models.pretrained import put
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.vit import VITS, Encoder
from jingwei.models.weights import Donor
from jingwei.prediction.engines.registry import make_engine
from jingwei.spectrum import RGB

pytestmark = pytest.mark.filterwarnings("ignore")  # of tracing
PATCH14 = "vit_small_patch14_dinov2"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Transformers of four blocks and 48 channels, whatever their names."""
    create, small = timm.create_model, {"embed_dim": 48, "depth": 4, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda name, **how: create(name, **(small | how)))
    torch.set_num_threads(1)


def network(name="vit_tiny_patch16_224", bands=3):
    torch.manual_seed(1)
    return build_model(ModelSpec("vit", name, bands, len(JINGWEI)), (120.0,) * bands, (60.0,) * bands).eval()


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2)) * 255


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", PATCH14, "vit_small_patch14_reg4_dinov2"])
def test_the_last_map_is_what_timm_computes(name):
    torch.manual_seed(0)
    encoder = Encoder(name, 3).eval()
    size = encoder.model.patch_embed.img_size[0] if encoder.patch == 16 else encoder.patch * 37
    pixels = pictures(1, 3, size, size) / 100
    with torch.inference_mode():
        wanted = encoder.model.forward_features(pixels)[:, encoder.model.num_prefix_tokens :]
        got = encoder(pixels)
    assert len(got) == 4
    torch.testing.assert_close(got[-1].flatten(2).transpose(1, 2), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", PATCH14])
@pytest.mark.parametrize("shape", [(1, 1), (33, 47), (56, 112), (98, 42)])
def test_pictures_of_any_size(name, shape):
    with torch.inference_mode():
        assert network(name)(pictures(2, 3, *shape)).shape == (2, len(JINGWEI), *shape)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", PATCH14])
@pytest.mark.parametrize("engine", ["torch", "openvino", "onnx"])
def test_every_engine_gives_the_same_at_sizes_that_it_was_not_converted_for(name, engine):
    model = network(name)
    mean, std = (120.0,) * 3, (60.0,) * 3
    checkpoint = Checkpoint(model.spec, "uint8", mean, std, JINGWEI, {}, model.state_dict())
    ready = make_engine(engine, checkpoint, torch.device("cpu"), torch.float32)
    for shape in ((64, 64), (100, 90), (112, 170)):
        pixels = pictures(1, 3, *shape)
        with torch.inference_mode():
            wanted = model(pixels).softmax(1)
        np.testing.assert_allclose(ready(pixels.numpy()).numpy(), wanted.numpy(), atol=2e-4)


def test_it_learns():
    model = network().train()
    pixels = pictures(2, 3, 64, 64)
    labels = (pixels[:, 0] > 128).long()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_timms_tensors_fill_it_and_another_grid_is_refused():
    model = network(bands=4)
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7).state_dict()
    fitting, _ = put(model, Donor("w", theirs, RGB), ("blue", "green", "red", "nir"))
    assert fitting == len(model.network.encoder.state_dict())
    weight = model.network.encoder.model.patch_embed.proj.weight
    torch.testing.assert_close(weight[:, 0], theirs["patch_embed.proj.weight"][:, 2] * 3 / 4)
    theirs["pos_embed"] = theirs["pos_embed"][:, :50]
    with pytest.raises(CheckpointError, match="position embeddings of another size"):
        put(model, Donor("w", theirs, RGB), ())


def test_the_families_names_are_timms():
    assert all(timm.is_model(name) and timm.get_pretrained_cfg(name).has_weights for name in VITS[:8])
