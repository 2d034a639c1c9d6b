"""The transformer block, against PyTorch's own modules with the same weights."""

import pytest
import torch
from torch import Tensor, nn

from vertebra.nn import Attention, TransformerBlock

DIM, HEADS, HIDDEN = 24, 3, 40


def _tokens() -> Tensor:
    return torch.randn(2, 7, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _copy(pairs: list[tuple[nn.Module, nn.Module]]) -> None:
    for ours, theirs in pairs:
        ours.load_state_dict(theirs.state_dict())


def _copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_bias.normal_()
        theirs.out_proj.bias.normal_()
        ours.qkv.weight.copy_(theirs.in_proj_weight)
        ours.qkv.bias.copy_(theirs.in_proj_bias)
    _copy([(ours.proj, theirs.out_proj)])


def test_attention() -> None:
    torch.manual_seed(0)
    ours = Attention(DIM, HEADS).double()
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    _copy_attention(ours, theirs)
    x = _tokens()
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_block(eps: float) -> None:
    torch.manual_seed(0)
    ours = TransformerBlock(DIM, HEADS, HIDDEN, eps=eps).double()
    theirs = nn.TransformerEncoderLayer(
        DIM,
        HEADS,
        HIDDEN,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=eps,
        batch_first=True,
        norm_first=True,
    ).double()
    _copy_attention(ours.attention, theirs.self_attn)
    with torch.no_grad():
        for norm in (theirs.norm1, theirs.norm2):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
    _copy(
        [
            (ours.norm1, theirs.norm1),
            (ours.norm2, theirs.norm2),
            (ours.mlp.fc1, theirs.linear1),
            (ours.mlp.fc2, theirs.linear2),
        ]
    )
    x = _tokens()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-12)


def test_both_branches_are_dropped_and_each_by_itself() -> None:
    """At rate 1/2 the four outcomes of two independent draws occur, and no other."""
    torch.manual_seed(0)
    block = TransformerBlock(DIM, HEADS, HIDDEN, drop_path=0.5).double().eval()
    x = _tokens()[:1].expand(200, -1, -1)
    first = 2 * block.attention(block.norm1(x))
    expected = []
    for kept_first in (0, 1):
        between = x + kept_first * first
        second = 2 * block.mlp(block.norm2(between))
        expected += [between, between + second]
    out = block.train()(x)
    seen = [int(torch.isclose(out, each).all(dim=(1, 2)).sum()) for each in expected]
    assert sum(seen) == 200
    assert min(seen) > 20


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="24 channels do not divide into 5 heads"):
        Attention(24, 5)
