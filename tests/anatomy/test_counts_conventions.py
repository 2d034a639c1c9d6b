"""Two of the conventions against the libraries whose they are, to the last digit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision
from counting import Run, by_fvcore, numbers
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.zoo import create, get, list_models

OF_TORCHVISION = torchvision.models.list_models(module=torchvision.models)
SHARED = [name for name in list_models() if name in OF_TORCHVISION]
WEIGHTS = [
    (name, weights)
    for name in SHARED
    for weights in torchvision.models.get_model_weights(name)  # each tag, not only the first
]


def _meta(name: str, size: int | None = None) -> nn.Module:
    given = {} if size is None else {"input_size": (3, size, size)}
    with torch.device("meta"):
        return create(name, seed=0, **given)


# "torchvision": what it publishes for its weights.


def test_all_of_torchvisions_weights_are_compared() -> None:
    """48 networks; those with weights at several sizes of image count several times."""
    assert len(SHARED) == 48
    assert len(WEIGHTS) == 64
    assert len({weights.transforms().crop_size[0] for _, weights in WEIGHTS}) > 8


@pytest.mark.parametrize(
    ("name", "weights"), WEIGHTS, ids=[f"{name}-{weights.name}" for name, weights in WEIGHTS]
)
def test_torchvisions_networks_have_the_published_counts(name: str, weights: Any) -> None:
    """At each weight's own crop.

    GoogLeNet's published parameters leave its auxiliary heads out, which its weights hold and which
    Inception v3's count includes. Nothing else is treated by itself.
    """
    body = dissect(_meta(name, weights.transforms().crop_size[0]))
    left_out = get(name).aux_params if name == "googlenet" else 0
    assert body.params - left_out == weights.meta["num_params"]
    assert round(body.macs / 1e9, 3) == weights.meta["_ops"]


@pytest.mark.parametrize(
    "name", ["vgg11", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "shufflenet_v2_x0_5"]
)
def test_networks_that_are_not_ours(name: str) -> None:
    """Any module can be taken apart; torchvision publishes what must come out."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
    body = dissect(net, (3, 224, 224))
    assert body.partial == ()
    assert body.params == published["num_params"]
    assert round(body.macs / 1e9, 3) == published["_ops"]


# "fvcore": what its FlopCountAnalysis finds, network by network.

OF_EACH_FAMILY = """
    lenet5 alexnet nin vgg11_bn googlenet googlenet_2014 resnet18 seresnet50 resnet20 resnet50_v2
    inception_v3 densenet121 mobilenet_v1_050 mobilenet_v2_050 mobilenet_v3_small efficientnet_b0
    efficientnet_lite0 convnext_atto vit_ti_16 swin_t mobilevit_xxs
""".split()


def test_every_family_is_compared() -> None:
    assert {get(name).family for name in OF_EACH_FAMILY} == {
        get(name).family for name in list_models()
    }


@pytest.mark.parametrize("name", OF_EACH_FAMILY)
def test_zoo_against_fvcore(name: str) -> None:
    net = create(name, seed=0)
    body = dissect(net, convention="fvcore")
    found = by_fvcore(net, (1, *net.input_size))
    # fvcore sees attention as one operation, which it does not know and counts as zero, whatever
    # kernel runs. Our networks have no other product of two maps.
    passed_over = body.subtotals["attention"] + body.subtotals["matrix product"]
    assert body.partial == ()
    assert body.macs - passed_over == found.total()
    assert bool(passed_over) == (get(name).family in ("vit", "swin", "mobilevit"))
    # With the one number that it lacks, from the shapes that it traced, it comes to the same.
    found = by_fvcore(net, (1, *net.input_size))
    found.set_op_handle("aten::scaled_dot_product_attention", _two_products)
    assert body.macs == found.total()


def _two_products(inputs: list[Any], outputs: list[Any]) -> int:
    query, key, value = (get_shape(one) for one in inputs[:3])
    assert query is not None
    assert key is not None
    assert value is not None
    return math.prod(query) * key[-2] + math.prod(query[:-1]) * key[-2] * value[-1]


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet50", 4.11), ("efficientnet_b7", 38.33), ("swin_t", 4.51), ("vit_b_16", 17.58)],
)
def test_zoo_against_what_timm_publishes(name: str, published: float) -> None:
    """``infer_gmacs`` of timm's benchmark tables: resnet50, tf_efficientnet_b7 and so on."""
    assert round(dissect(_meta(name), convention="fvcore").macs / 1e9, 2) == published


# Layer by layer, where a network would hide one that it has not.


def _at_points(net: Run, x: Tensor) -> Tensor:
    return F.grid_sample(x, net.grid, align_corners=False)


MAP, SEQUENCE, VOLUME = (2, 4, 8, 6), (2, 4, 9), (2, 4, 5, 6, 7)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), MAP),
    "in groups": (nn.Conv2d(4, 8, 3, groups=4), MAP),
    "padding by name": (nn.Conv2d(4, 6, (3, 5), padding="same"), MAP),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), MAP),
    "convolution of a sequence": (nn.Conv1d(4, 6, 3), SEQUENCE),
    "convolution of a volume": (nn.Conv3d(4, 2, 3), VOLUME),
    "linear": (nn.Linear(6, 3), MAP),
    "linear without bias": (nn.Linear(9, 3, bias=False), SEQUENCE),
    "matmul with a parameter": (Run(lambda s, x: x @ s.w, w=numbers(6, 5)), MAP),
    "matmul of maps": (Run(lambda s, x: x @ x.mT), MAP),
    "bmm": (Run(lambda s, x: torch.bmm(x, x.mT)), SEQUENCE),
    "einsum": (Run(lambda s, x: torch.einsum("bchw,bdhw->bcd", x, x)), MAP),
    "einsum with outer axes": (Run(lambda s, x: torch.einsum("bchw,bcvw->bhv", x, x)), MAP),
    "batch norm": (nn.BatchNorm2d(4), MAP),
    "batch norm of a sequence": (nn.BatchNorm1d(4), SEQUENCE),
    "batch norm of a volume": (nn.BatchNorm3d(4), VOLUME),
    "batch norm, plain": (nn.BatchNorm2d(4, affine=False), MAP),
    "batch norm that measures": (nn.BatchNorm2d(4, track_running_stats=False), MAP),
    "the same, plain": (nn.BatchNorm2d(4, affine=False, track_running_stats=False), MAP),
    "layer norm": (nn.LayerNorm(6), MAP),
    "layer norm without shift": (nn.LayerNorm(6, bias=False), MAP),
    "layer norm, plain": (nn.LayerNorm(6, elementwise_affine=False), MAP),
    "group norm": (nn.GroupNorm(2, 4), MAP),
    "group norm, plain": (nn.GroupNorm(2, 4, affine=False), MAP),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), MAP),
    "instance norm, plain": (nn.InstanceNorm2d(4), MAP),
    "instance norm that keeps": (
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        MAP,
    ),
    "root mean square norm": (nn.RMSNorm(6), MAP),
    "pooling to one position": (nn.AdaptiveAvgPool2d(1), MAP),
    "pooling to some": (nn.AdaptiveAvgPool2d((3, 2)), MAP),
    "pooling a row to one position": (nn.AdaptiveAvgPool2d(1), (2, 4, 1, 6)),
    # Of sequences, volumes, maxima and plain means fvcore knows nothing.
    "pooling of a sequence": (nn.AdaptiveAvgPool1d(1), SEQUENCE),
    "pooling of a sequence to some": (nn.AdaptiveAvgPool1d(2), SEQUENCE),
    "pooling of a volume": (nn.AdaptiveAvgPool3d(1), VOLUME),
    "maximum to one position": (nn.AdaptiveMaxPool2d(1), MAP),
    "maximum over windows": (nn.MaxPool2d(2), MAP),
    "mean over windows": (nn.AvgPool2d(2), MAP),
    "mean": (Run(lambda s, x: x.mean((2, 3), keepdim=True)), MAP),
    "nearest": (nn.Upsample(scale_factor=2), MAP),
    "nearest, exact": (nn.Upsample(scale_factor=2, mode="nearest-exact"), MAP),
    "nearest in a sequence": (nn.Upsample(scale_factor=2), SEQUENCE),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), MAP),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), MAP),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME),
    "area": (Run(lambda s, x: F.interpolate(x, scale_factor=0.5, mode="area")), MAP),
    "at points": (Run(_at_points, grid=numbers(2, 5, 3, 2)), MAP),
    "at points of a volume": (Run(_at_points, grid=numbers(2, 2, 5, 3, 3)), VOLUME),
    "softmax": (nn.Softmax(1), MAP),
    "activation": (nn.GELU(), MAP),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_layers_against_fvcore(layer: nn.Module, shape: tuple[int, ...]) -> None:
    body = dissect(layer, inputs=(shape,), convention="fvcore")
    assert body.partial == ()
    assert body.macs == by_fvcore(layer, shape).total()
