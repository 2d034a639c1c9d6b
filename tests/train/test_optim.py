"""Rates, groups and averages against torch's own."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel

from vertebra import zoo
from vertebra.runs.recipe import TrainSection
from vertebra.train.optim import WeightAverage, learning_rate, make_optimizer, parameter_groups

# Learning rate


def torch_rates(section: TrainSection, warmup: int, total: int) -> list[float]:
    """The rates of LinearLR and then CosineAnnealingLR."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=section.lr)
    cosine = CosineAnnealingLR(optimizer, T_max=max(total - warmup, 1))
    schedule: SequentialLR | CosineAnnealingLR = cosine
    if warmup > 1:
        # LinearLR reaches the peak after total_iters steps, we with step number ``warmup``.
        linear = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        schedule = SequentialLR(optimizer, [linear, cosine], milestones=[warmup])
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            schedule.step()
    return rates


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup_epochs"),
    [(30, 16, 2.0), (5, 7, 1.0), (4, 10, 0.5), (3, 10, 0.0), (10, 1, 5.0), (2, 3, 2.0)],
)
def test_learning_rate_is_torchs(epochs: int, steps: int, warmup_epochs: float) -> None:
    section = TrainSection(epochs=epochs, lr=0.3, warmup_epochs=warmup_epochs)
    total = epochs * steps
    ours = [learning_rate(section, step, steps) for step in range(total)]
    expected = torch_rates(section, round(warmup_epochs * steps), total)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_learning_rate_rises_to_its_peak_once_and_falls_to_nearly_nothing() -> None:
    section = TrainSection(epochs=20, lr=0.1, warmup_epochs=2)
    rates = [learning_rate(section, step, 50) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 100)
    assert max(rates) == rates[99] == rates[100] == 0.1
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(section, 1000, 50) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup_epochs", [1.0, 2.0, 5.0])
def test_a_run_shorter_than_its_warm_up_never_leaves_it(warmup_epochs: float) -> None:
    section = TrainSection(epochs=1, lr=0.1, warmup_epochs=warmup_epochs)
    rates = [learning_rate(section, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.1 * (s + 1) / (10 * warmup_epochs) for s in range(10)])


# Parameter groups

NETWORKS = ["resnet18", "resnet20", "resnet50", "lenet5", "resnext50_32x4d"]


def weights_by_type(net: nn.Module) -> set[int]:
    """The weights of convolutions and linear layers, by their modules."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return {id(module.weight) for module in net.modules() if isinstance(module, kinds)}


@pytest.mark.parametrize("name", NETWORKS)
def test_conv_and_linear_weights_decay_and_nothing_else(name: str) -> None:
    with torch.device("meta"):
        net = zoo.create(name)
    decayed, spared = parameter_groups(net, 5e-4)
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
    decayed, _ = parameter_groups(net, 0.1)
    assert {id(p) for p in params(decayed)} == weights_by_type(net)


def test_shared_parameters_are_given_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    decayed, spared = parameter_groups(net, 0.1)
    assert len(params(decayed)) == 1
    assert len(params(spared)) == 2


# Optimisers


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[Tensor]:
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.randn(6, 3, 4, 4)), torch.arange(6) % 5)
        loss.backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]


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


# The average of the weights


def changed(net: nn.Module, steps: int) -> None:
    """Move everything that training moves, batch norm's statistics and counter too."""
    train(net, SGD(net.parameters(), lr=0.3), steps)


def averaged_with(decays: list[float]) -> AveragedModel:
    """Torch's average with one decay an update; its first update is ours at the beginning."""

    def average(old: Tensor, new: Tensor, number: Tensor | int) -> Tensor:
        decay = decays[int(number) - 1]
        return decay * old + (1 - decay) * new

    return AveragedModel(small(), avg_fn=average)


@pytest.mark.parametrize("decay", [0.5, 0.99, 0.9999])
def test_weight_average_is_torchs(decay: float) -> None:
    net = small()
    ours = WeightAverage(net, decay)
    decays = [min(decay, (1 + step) / (10 + step)) for step in range(1, 31)]
    assert decays[0] == pytest.approx(2 / 11), "0.18, as the docstring has it"
    theirs = averaged_with(decays)
    theirs.update_parameters(net)  # the first one copies
    for step in range(1, 31):
        train(net, SGD(net.parameters(), lr=0.3), 1)
        ours.update(net, step)
        theirs.update_parameters(net)
    assert set(ours.tensors) == set(net.state_dict())
    for name, value in theirs.module.named_parameters():
        torch.testing.assert_close(ours.tensors[name], value.detach(), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(ours.tensors[name], net.state_dict()[name])


def test_buffers_follow_the_network() -> None:
    net = small()
    ours = WeightAverage(net, 0.99)
    changed(net, 4)
    ours.update(net, 4)
    for name, value in net.named_buffers():
        assert torch.equal(ours.tensors[name], value), name
        assert ours.tensors[name].dtype == value.dtype


def test_any_buffer_follows_whatever_its_name() -> None:
    """A buffer is known by being one: parameters may have "running_" in their names."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.zeros(3))
            self.running_gain = nn.Parameter(torch.zeros(3))

    net = Odd()
    ours = WeightAverage(net, 0.5)
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            value.fill_(1.0)
    ours.update(net, 10**6)
    assert torch.equal(ours.tensors["table"], torch.ones(3))
    assert torch.equal(ours.tensors["running_gain"], torch.full((3,), 0.5))


def test_the_average_touches_nothing() -> None:
    net = small()
    before = copy.deepcopy(net.state_dict())
    ours = WeightAverage(net, 0.9)
    ours.update(net, 1)
    for tensor in ours.tensors.values():
        tensor.zero_()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(tensor.requires_grad for tensor in ours.tensors.values())


def test_an_average_of_equal_weights_is_these_weights() -> None:
    net = small()
    ours = WeightAverage(net, 0.999)
    for step in range(1, 100):
        ours.update(net, step)
    assert all(torch.equal(ours.tensors[name], value) for name, value in net.state_dict().items())
