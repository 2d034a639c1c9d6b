"""Local response normalisation, against the paper's formula and against PyTorch's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.nn.local_response import ResponseNorm


def _maps(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 30 * torch.randn(2, channels, 3, 4, dtype=torch.float64, generator=generator)


def _formula(a: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Section 3.3 of Krizhevsky et al. (2012), channel by channel."""
    b, count = torch.empty_like(a), a.shape[1]
    for i in range(count):
        first, last = max(0, i - size // 2), min(count - 1, i + size // 2)
        total = sum(a[:, j] ** 2 for j in range(first, last + 1))
        b[:, i] = a[:, i] / (k + alpha * total) ** beta
    return b


@pytest.mark.parametrize("channels", [1, 3, 9])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_papers_formula(channels: int, size: int) -> None:
    x = _maps(channels)
    expected = _formula(x, size, 1e-2, 0.75, 2.0)
    torch.testing.assert_close(ResponseNorm(size, 1e-2, 0.75, 2.0)(x), expected)
    assert not torch.allclose(expected, x)


def test_pytorch_and_caffe_divide_alpha_by_the_size() -> None:
    x = _maps(9)
    ours = ResponseNorm(5, alpha=1e-3, beta=0.6, k=1.0)(x)
    torch.testing.assert_close(ours, F.local_response_norm(x, 5, alpha=5e-3, beta=0.6, k=1.0))


def test_positions_are_kept_apart() -> None:
    """The anatomy follows it: one position of the map still sees one pixel."""
    body = dissect(ResponseNorm(5, 1e-4, 0.75, 2.0), (8, 6, 6))
    assert str(body.receptive_field) == "1"
    assert body.partial == ()


def test_an_even_window_has_no_middle() -> None:
    with pytest.raises(ValueError, match="odd"):
        ResponseNorm(4, 1e-4, 0.75, 2.0)
