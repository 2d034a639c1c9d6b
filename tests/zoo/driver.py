"""What every network of the zoo must do, whichever it is: one function a promise.

Each takes a maker of the network, so that it runs on real numbers or, by shapes only, on meta.
"""

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vertebra.core import Notice, VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, save_weights
from vertebra.zoo.registry import family_of

CLASSES = 42

# Sides of the images for real networks: small, but enough for each family's last map. The others
# take 64 pixels, or their own size where that is smaller.
SIZES = {"alexnet": 96, "nin": 96, "googlenet": 96, "inception": 107, "vit": 56}
# Networks whose auxiliary heads fit the published size only; elsewhere they are left out.
AUX_AT_OWN_SIZE = {"googlenet_2014", "inception_v3"}
# Families that take only multiples of something, or only one size.
FIXED = {"lenet", "vit"}
# Families whose stems lose a border: stage_info's reduction is not the whole story.
UNPADDED = {"lenet", "alexnet", "nin", "inception"}

Maker = Callable[..., Backbone]


def on_meta(name: str, *arguments: Any, **options: Any) -> Backbone:
    """The network at its own size, without numbers."""
    with torch.device("meta"):
        return create(name, *arguments, seed=0, **options)


def small(name: str, *arguments: Any, size: int | None = None, **options: Any) -> Backbone:
    """The network with numbers, for small images, without chance in training."""
    rates: dict[str, Any] = {"dropout": 0.0, "drop_path": 0.0}
    if name in AUX_AT_OWN_SIZE and size is None:
        rates["aux_heads"] = False
    size = size or small_size(name)
    channels = arguments[1] if len(arguments) > 1 else channels_of(name)
    return create(
        name, *arguments, seed=0, **{"input_size": (channels, size, size), **rates, **options}
    )


def small_size(name: str) -> int:
    """The side of the images that :func:`small` is for; a multiple of any patch."""
    row = family_of(name).variants[name]
    size = SIZES.get(family_of(name).name, 64)
    if family_of(name).name == "vit":
        size = 2 * row.patch
    return min(size, row.input_size[1])


def channels_of(name: str) -> int:
    """Channels of the images that the network was published for."""
    channels: int = family_of(name).variants[name].input_size[0]
    return channels


def images(net: Backbone, batch: int = 2, size: tuple[int, int] | None = None) -> Tensor:
    """Random images where the network lies, of its own size or another."""
    device = next(net.parameters()).device
    shape = (batch, net.input_size[0], *(size or net.input_size[1:]))
    if device.type == "meta":
        return torch.empty(shape, device="meta")
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def check_forward(name: str, make: Maker) -> None:
    """Logits, the embedding, and the embedding of a network without classes."""
    net = make(name, CLASSES).eval()
    x = images(net)
    with torch.no_grad():
        before = x if x.is_meta else x.clone()
        assert net(x).shape == (2, CLASSES)
        assert net.embed(x).shape == (2, net.num_features)
        assert x.is_meta or torch.equal(x, before), "the caller's images were changed"
        headless = make(name, 0).eval()
        assert headless.num_classes == 0
        assert headless(x).shape == (2, net.num_features)


def check_odd_size(name: str, make: Maker) -> None:
    """An odd, oblong image is taken, or refused in words."""
    net = make(name).eval()
    height, width = net.input_size[1:]
    x = images(net, size=(height + 1 - height % 2, width + 33 - width % 2))
    if family_of(name).name in FIXED:
        with pytest.raises(VertebraError):
            net(x)
        return
    with torch.no_grad():
        assert net(x).shape == (2, net.num_classes)
        check_maps(net, net.features(x), x)


def check_features(name: str, make: Maker) -> None:
    """One map a stage, as ``stage_info`` promises; some, where some are asked for."""
    net = make(name).eval()
    x = images(net)
    with torch.no_grad():
        maps = net.features(x)
        assert len(maps) == len(net.stage_info) >= 3
        check_maps(net, maps, x)
        picked = net.features(x, [-1, 0])
        first = net.features(x, [0])
    if not x.is_meta:
        # A later stage that works in place would overwrite a map already given.
        assert torch.equal(first[0], maps[0])
    assert [each.shape for each in picked] == [maps[-1].shape, maps[0].shape]


def check_maps(net: Backbone, maps: list[Tensor], x: Tensor) -> None:
    """Channels and sizes: within one pixel of the image's, divided by the reduction."""
    for stage, info in zip(maps, net.stage_info, strict=True):
        assert stage.shape[:2] == (x.shape[0], info.channels)
        if family_of(net.name).name in UNPADDED:
            continue
        for side, whole in zip(stage.shape[2:], x.shape[2:], strict=True):
            assert abs(side - whole / info.reduction) <= 1, (info, stage.shape)
    reductions = [info.reduction for info in net.stage_info]
    assert reductions == sorted(reductions)


def check_reset_head(name: str, make: Maker) -> None:
    """Other classes on the same embedding; every pooling that the head names."""
    net = make(name).eval()
    x = images(net)
    with torch.no_grad():
        before = net.embed(x)
        net.reset_head(7, dropout=0.25)
        assert net(x).shape == (2, net.num_classes) == (2, 7)
        if not before.is_meta:
            assert torch.equal(net.embed(x), before)
        for pool in net.head.pools:
            net.reset_head(5, pool=pool)
            assert net(x).shape == (2, 5)
            assert net.embed(x).shape == (2, net.num_features)
            # A new head in training mode would drop at random.
            assert x.is_meta or torch.equal(net(x), net(x))
    with pytest.raises(VertebraError, match="pool"):
        net.reset_head(5, pool="nonsense")


def check_channels(name: str, make: Maker) -> None:
    """Grey images, and five channels."""
    for channels in (1, 5):
        net = make(name, CLASSES, channels).eval()
        assert net.input_size[0] == net.preprocessing.channels == channels
        with torch.no_grad():
            assert net(images(net)).shape == (2, CLASSES)


def check_layer_groups(name: str, make: Maker) -> None:
    """Every parameter once, the head last."""
    net = make(name)
    groups = net.layer_groups()
    grouped = [id(parameter) for _, parameters in groups for parameter in parameters]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in net.parameters()}
    names = [group for group, _ in groups]
    assert len(names) == len(set(names)) >= 4
    assert names[-1] == "head"


def check_training_step(name: str) -> None:
    """Each parameter gets a finite gradient that is not zero everywhere."""
    own_size = family_of(name).variants[name].input_size[1]
    net = small(name, CLASSES, size=own_size if name in AUX_AT_OWN_SIZE else None)
    with torch.no_grad():
        for path, parameter in net.named_parameters():
            # ViT's classifier and MobileViT's last scales start at zero: no gradient gets through.
            if path.endswith("weight") and not parameter.any():
                parameter.normal_(std=0.1)
    outputs = net.forward_train(images(net, batch=8))
    target = torch.arange(8)
    loss = F.cross_entropy(outputs.logits, target)
    for aux in outputs.aux:
        loss = loss + outputs.aux_weight * F.cross_entropy(aux, target)
    loss.backward()
    assert (outputs.aux_weight > 0) == (len(outputs.aux) > 0) == (len(net.aux) > 0)
    for path, parameter in net.named_parameters():
        assert parameter.grad is not None, path
        assert bool(parameter.grad.isfinite().all()), path
        assert bool(parameter.grad.any()), path


def check_checkpointing(name: str) -> None:
    """The same loss, gradients and running statistics, with less kept for backward."""
    kept, plain = _trained(name, checkpointing=False)
    kept_saving, saving = _trained(name, checkpointing=True)
    assert plain.keys() == saving.keys()
    for path, value in plain.items():
        assert torch.equal(value, saving[path]), path
    assert kept_saving < kept


def _trained(name: str, checkpointing: bool) -> tuple[int, dict[str, Tensor]]:
    """Of one step: (bytes kept for backward, every gradient and running statistic by its path).

    The network itself is let go: two of the largest, in float64, are more than memory holds.
    """
    net = small(name).double()
    net.set_grad_checkpointing(checkpointing)
    kept = _kept_bytes(net)
    found = {path: value.grad for path, value in net.named_parameters() if value.grad is not None}
    return kept, {**found, **dict(net.named_buffers())}


def _kept_bytes(net: Backbone) -> int:
    """Bytes that autograd keeps between forward and backward, each storage once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(0)  # auxiliary heads drop by a rate of their own
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = net.train().forward_train(images(net, batch=4).double())
    total = sum(sizes.values())
    loss = outputs.logits.square().sum() + sum(aux.square().sum() for aux in outputs.aux)
    loss.backward()
    return total


def check_state_dict(name: str) -> None:
    """Buffers too, which a step in training changes."""
    net, other = small(name), small(name)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    x = images(net, batch=4)
    with torch.no_grad():
        net.train().forward_train(x)
        other.load_state_dict(net.state_dict(), strict=True)
        assert torch.equal(net.eval()(x), other.eval()(x))


def check_weights(name: str) -> None:
    """Saved and loaded: the same; with other classes and channels: adapted, and said."""
    net = small(name).eval()
    net.reset_head(CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(net, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            again = small(name, weights=path).eval()
            grey = small(name, 7, 1, weights=path).eval()
    x = images(net)
    with torch.no_grad():
        assert torch.equal(again(x), net(x))
        assert again.preprocessing == net.preprocessing
        assert all("classes, and so has" in note for note in again.notes)
        assert grey(x[:, :1]).shape == (2, 7)
        told = " ".join(grey.notes)
        assert f"{CLASSES} classes and this network 7" in told
        if net.input_size[0] == 1:
            return
        assert "kernels of its first layer are summed" in told
        copied = net.embed(x[:, :1].expand(-1, net.input_size[0], -1, -1))
        # Inception's own initial weights let activations grow without bound.
        scale = float(copied.abs().max())
        torch.testing.assert_close(grey.embed(x[:, :1]), copied, rtol=1e-3, atol=1e-5 * scale)


def check_built_on_meta(name: str) -> None:
    """Built without numbers, given memory and weights: the same network, tables included."""
    net = small(name).eval()
    with torch.device("meta"):
        twin = small(name)
    twin.to_empty(device="cpu").eval()
    twin.load_state_dict(net.state_dict())
    x = images(net)
    with torch.no_grad():
        assert torch.equal(twin.embed(x), net.embed(x))


def check_copy(name: str) -> None:
    """Equal and independent."""
    net = small(name).eval()
    net.reset_head(CLASSES)
    twin, x = copy.deepcopy(net), images(net)
    with torch.no_grad():
        before = net(x)
        assert torch.equal(twin(x), before)
        for parameter in twin.parameters():
            parameter.add_(1)
        assert torch.equal(net(x), before)
        assert not torch.equal(twin(x), before)
    assert twin.stage_info == net.stage_info


def check_repeats(name: str) -> None:
    """Evaluation draws no numbers, with the published rates of dropout too."""
    net = small(name, dropout=None, drop_path=None).eval()
    x = images(net)
    with torch.no_grad():
        assert torch.equal(net(x), net(x))


def check_export(name: str) -> None:
    """``torch.export`` gives a program that gives the same."""
    net = small(name).eval()
    net.reset_head(CLASSES)
    x = images(net)
    with torch.no_grad():
        program = torch.export.export(net, (x,), strict=False)
        _assert_equal(program.module()(x), net(x))


def check_compile(name: str) -> None:
    """``torch.compile`` takes it in one graph; with no code generated, which needs a compiler."""
    net = small(name).eval()
    net.reset_head(CLASSES)
    x = images(net)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        _assert_equal(compiled(x), net(x))


def _assert_equal(one: Tensor, other: Tensor) -> None:
    assert bool(other.abs().max() > 0)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


ON_SHAPES: tuple[Callable[[str, Maker], None], ...] = (
    check_forward,
    check_odd_size,
    check_features,
    check_reset_head,
    check_channels,
    check_layer_groups,
)
ON_NUMBERS: tuple[Callable[[str], None], ...] = (
    check_training_step,
    check_checkpointing,
    check_state_dict,
    check_weights,
    check_built_on_meta,
    check_copy,
    check_repeats,
)
TRACED: tuple[Callable[[str], None], ...] = (check_export, check_compile)
