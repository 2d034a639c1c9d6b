"""Every network's parameters and multiply-accumulates against PyTorch's counter, and their sums.

By which convention, forward and back and of what inputs: the files ``test_counts_*``.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vertebra.anatomy import Anatomy, dissect
from vertebra.core import VertebraError
from vertebra.zoo import create, get, list_models


def _meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create(name, seed=0)


def _counted_by_torch(net: nn.Module, shape: tuple[int, ...], device: str = "meta") -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.eval()(torch.empty(shape, device=device))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", list_models())
def test_every_network_against_the_flop_counter(name: str) -> None:
    net = _meta(name)
    body = dissect(net)
    assert body.macs == _counted_by_torch(net, (1, *net.input_size)) == get(name).macs
    assert body.partial == ()
    assert body.params == sum(parameter.numel() for parameter in net.parameters())


def test_resnet50() -> None:
    body = dissect(_meta("resnet50"))
    assert body.params == 25_557_032
    assert round(body.macs / 1e9, 3) == 4.089


@pytest.mark.parametrize("batch", [1, 3])
def test_macs_grow_with_the_batch(batch: int) -> None:
    net = create("resnet20", seed=0)
    assert dissect(net, batch=batch).macs == batch * get("resnet20").macs
    assert dissect(net, batch=batch).input_shape == (batch, 3, 32, 32)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "lenet5", "plain20"])
def test_layers_and_stages_add_up(name: str) -> None:
    body = dissect(_meta(name))
    for parts in (body.layers, body.stages):
        assert sum(part.params for part in parts) == body.params
        assert sum(part.macs for part in parts) == body.macs


class Unusual(nn.Module):
    """Products that no ResNet has: transposed, dilated, 1-d and 3-d, batched, einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2)
        self.dilated = nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2)
        self.line = nn.Conv1d(8, 8, 5)
        self.volume = nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dilated(self.up(x))
        tokens = x.flatten(2).transpose(1, 2)
        line = self.line(tokens.transpose(1, 2))
        volume = self.volume(x[:, None])
        gram = torch.einsum("bcn,bdn->bcd", line, line)
        return gram.sum() + volume.sum() + (tokens @ tokens.mT).sum()


def test_unusual_products_against_the_flop_counter() -> None:
    net = Unusual().eval()
    body = dissect(net, (4, 5, 5), batch=2)
    assert body.partial == ()
    assert body.macs == _counted_by_torch(net, (2, 4, 5, 5), "cpu")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).mT).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])


@pytest.mark.parametrize("frozen", [False, True])
def test_attention_is_counted_or_named(frozen: bool) -> None:
    """49 tokens of width 16: a projection and two products of 49 x 49 x 16."""
    net = Attention().requires_grad_(not frozen)
    body = dissect(net, (16, 7, 7))
    assert body.macs == 49 * 16 * 48 + 2 * 49 * 49 * 16 or body.partial
    assert body.macs >= 49 * 16 * 48


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.flatten(2).mT)[0]


def test_a_recurrent_layer_is_counted() -> None:
    """Nine steps, each four gates from eight inputs and five states."""
    body = dissect(Recurrent(), (8, 3, 3))
    assert (body.macs, body.partial) == (9 * 4 * 5 * (8 + 5), ())


class Spectral(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x).abs()


def test_a_fourier_transform_is_named() -> None:
    body = dissect(Spectral(), (3, 8, 8))
    assert body.macs == 0
    assert any("fft" in name for name in body.partial)
    assert body.to_dict()["partial"] == list(body.partial)


def _outcome(convention: str) -> Anatomy:
    return dissect(_meta("lenet5"), convention=convention)


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(VertebraError, match="did you mean torchvision"):
        _outcome("torchvison")
    known = "unknown counting convention 'x'; known: full, fvcore, torchvision"
    with pytest.raises(VertebraError, match=known):
        _outcome("x")
