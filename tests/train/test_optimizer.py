"""Groups of parameters and optimisers against torch's and timm's own."""

import pytest
import timm
import torch
from small_nets import small, train
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import SGD, Adam, AdamW

from vertebra import zoo
from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.runs.sections import TrainSection
from vertebra.train.optimizer import (
    frozen_names,
    head_names,
    make_optimizer,
    parameter_groups,
    set_rates,
)

NETWORKS = ["resnet18", "resnet20", "resnet50", "lenet5", "resnext50_32x4d"]


def decaying(weight_decay: float) -> TrainSection:
    return TrainSection(weight_decay=weight_decay)


def weights_by_type(net: nn.Module) -> set[int]:
    """The weights of convolutions and linear layers, by their modules."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return {id(module.weight) for module in net.modules() if isinstance(module, kinds)}


@pytest.mark.parametrize("name", NETWORKS)
def test_conv_and_linear_weights_decay_and_nothing_else(name: str) -> None:
    with torch.device("meta"):
        net = zoo.create(name)
    decayed, spared = parameter_groups(net, decaying(5e-4))
    assert decayed["weight_decay"] == 5e-4
    assert spared["weight_decay"] == 0
    expected = weights_by_type(net)
    assert {id(p) for p in params(decayed)} == expected
    assert {id(p) for p in params(spared)} == {id(p) for p in net.parameters()} - expected
    assert len(params(decayed)) + len(params(spared)) == len(list(net.parameters()))


def params(group: dict[str, object]) -> list[nn.Parameter]:
    found = group["params"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "net",
    [
        nn.Linear(1, 8),
        nn.Conv2d(8, 1, 1),
        nn.Conv2d(8, 8, 3, groups=8),
    ],
    ids=["from one", "to one", "depthwise"],
)
def test_slender_weights_are_weights_too(net: nn.Module) -> None:
    decayed, _ = parameter_groups(net, decaying(0.1))
    assert {id(p) for p in params(decayed)} == weights_by_type(net)


def test_shared_parameters_are_given_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    decayed, spared = parameter_groups(net, decaying(0.1))
    assert len(params(decayed)) == 1
    assert len(params(spared)) == 2


# Optimisers


def groups_by_type(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    chosen = weights_by_type(net)
    return [
        {"params": [p], "weight_decay": weight_decay if id(p) in chosen else 0.0}
        for p in net.parameters()
    ]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_is_torchs_with_nesterov(momentum: float) -> None:
    section = TrainSection(optimizer="sgd", lr=0.05, momentum=momentum, weight_decay=0.01)
    ours, theirs = small(), small()
    optimizer = make_optimizer(ours, section)
    assert isinstance(optimizer, SGD)
    nesterov = momentum > 0
    assert all(group["nesterov"] is nesterov for group in optimizer.param_groups)
    reference = SGD(groups_by_type(theirs, 0.01), lr=0.05, momentum=momentum, nesterov=nesterov)
    for one, other in zip(train(ours, optimizer), train(theirs, reference), strict=True):
        assert torch.equal(one, other)


def test_adamw_is_torchs() -> None:
    section = TrainSection(optimizer="adamw", lr=0.01, betas=(0.8, 0.95), weight_decay=0.05)
    ours, theirs = small(), small()
    optimizer = make_optimizer(ours, section)
    assert isinstance(optimizer, AdamW)
    reference = AdamW(groups_by_type(theirs, 0.05), lr=0.01, betas=(0.8, 0.95))
    for one, other in zip(train(ours, optimizer), train(theirs, reference), strict=True):
        assert torch.equal(one, other)


def scales(net: nn.Module, section: TrainSection) -> dict[str, float]:
    """Each parameter's share of the rate, by name."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = parameter_groups(net, section)
    return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}


def test_plain_sgd_and_adam_are_torchs() -> None:
    section = TrainSection(optimizer="sgd", lr=0.05, nesterov=False, weight_decay=0.01, decay="all")
    ours, theirs = small(), small()
    reference = SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    results = train(ours, make_optimizer(ours, section)), train(theirs, reference)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    section = TrainSection(optimizer="adam", lr=0.01, eps=1e-5, weight_decay=0.01, decay="all")
    ours, theirs = small(), small()
    reference = Adam(theirs.parameters(), lr=0.01, eps=1e-5, weight_decay=0.01)
    results = train(ours, make_optimizer(ours, section)), train(theirs, reference)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("name", ["lion", "lamb"])
def test_lion_and_lamb_are_timms(name: str) -> None:
    section = TrainSection(optimizer=name, lr=0.01, betas=(0.9, 0.98), weight_decay=0.05)
    ours, theirs = small(), small()
    options = {"max_grad_norm": None} if name == "lamb" else {}
    reference = create_optimizer_v2(
        groups_by_type(theirs, 0.05), opt=name, lr=0.01, betas=(0.9, 0.98), **options
    )
    for one, other in zip(
        train(ours, make_optimizer(ours, section)), train(theirs, reference), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert not torch.equal(one, list(small().parameters())[-1])


def test_layer_decay_is_timms() -> None:
    """On one of timm's own networks, whose layers timm groups."""
    ours = zoo.create("timm/vit_tiny_patch16_224", num_classes=10)
    found = scales(ours, TrainSection(layer_decay=0.75))
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=10)
    names = {id(parameter): f"net.{name}" for name, parameter in theirs.named_parameters()}
    optimizer = create_optimizer_v2(theirs, opt="sgd", lr=1.0, layer_decay=0.75)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert found[names[id(parameter)]] == pytest.approx(group["lr_scale"])
    assert len(set(found.values())) > 10


def test_the_stem_learns_slowest_and_the_head_at_the_full_rate() -> None:
    net = zoo.create("resnet18", num_classes=10)
    found = scales(net, TrainSection(layer_decay=0.5, backbone_lr=0.1))
    assert found["head.fc.weight"] == 1
    stem = next(name for name in found if name.startswith("stem"))
    assert found[stem] == pytest.approx(0.1 * 0.5 ** (len(net.layer_groups()) - 1))
    optimizer = make_optimizer(net, TrainSection(lr=0.4, layer_decay=0.5, warmup=0))
    assert set_rates(optimizer, TrainSection(lr=0.4, layer_decay=0.5, warmup=0), 0, 10) == 0.4
    rates = [group["lr"] for group in optimizer.param_groups]
    assert max(rates) == 0.4
    assert min(rates) == pytest.approx(0.4 * 0.5 ** (len(net.layer_groups()) - 1))


def test_one_cycle_moves_the_momentum_of_every_group() -> None:
    net = small()
    section = TrainSection(schedule="onecycle", warmup=3, duration=10, momentum=0.95)
    optimizer = make_optimizer(net, section)
    set_rates(optimizer, section, 29, 10)
    assert all(group["momentum"] == pytest.approx(0.85) for group in optimizer.param_groups)
    adam = make_optimizer(net, section.model_copy(update={"optimizer": "adamw"}))
    set_rates(adam, section.model_copy(update={"optimizer": "adamw"}), 29, 10)
    assert all(group["betas"] == (pytest.approx(0.8), 0.999) for group in adam.param_groups)


def test_frozen_names_by_parts_and_by_patterns() -> None:
    net = zoo.create("resnet18", num_classes=10)
    every = {name for name, _ in net.named_parameters()}
    assert frozen_names(net, ("stem",)) == {n for n in every if n.startswith("stem.")}
    assert frozen_names(net, ("stages.1", "head")) == {
        n for n in every if n.startswith(("stages.1.", "head."))
    }
    biases = frozen_names(net, ("*.bias",))
    assert biases == {n for n in every if n.endswith(".bias")}
    left = parameter_groups(net, TrainSection(freeze=("stages", "stem")))
    assert {id(p) for group in left for p in group["params"]} == {
        id(p) for p in net.head.parameters()
    }
    with pytest.raises(VertebraError, match=r"fits no parameter.*head, stages, stem"):
        frozen_names(net, ("layer1",))
    with pytest.raises(VertebraError, match="leaves no parameter"):
        parameter_groups(net, TrainSection(freeze=("*",)))


def test_the_head_is_what_changes_with_the_classes() -> None:
    for name in ("resnet18", "timm/mobilenetv3_small_050", "vit_ti_16"):
        net: Backbone = zoo.create(name, num_classes=7)
        shapes = {n: p.shape for n, p in net.named_parameters()}
        other = {n: p.shape for n, p in zoo.create(name, num_classes=8).named_parameters()}
        assert head_names(net) == {n for n in shapes if shapes[n] != other[n]}
