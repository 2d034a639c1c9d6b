"""The average of the weights against torch's own."""

import copy

import pytest
import torch
from small_nets import small, train
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel

from vertebra.train.average import WeightAverage


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


def test_an_average_every_third_step_sees_every_third_weights() -> None:
    net, seen = small(), []
    ours = WeightAverage(net, 0.9, every=3)
    reference = WeightAverage(net, 0.9)
    for step in range(1, 13):
        train(net, SGD(net.parameters(), lr=0.3), 1)
        ours.update(net, step)
        if step % 3 == 0:
            seen.append(step)
            reference.update(net, step // 3)
        assert all(torch.equal(ours.tensors[n], reference.tensors[n]) for n in ours.tensors)
    assert seen == [3, 6, 9, 12]
