"""Sharpness-aware minimisation against its equation."""

from __future__ import annotations

import torch
from torch import nn

from vertebra.train.sam import ascended


def test_the_gradient_is_taken_up_the_slope() -> None:
    """On 0.5 w'Aw, whose gradient is Aw everywhere: at w + rho g/|g| it is A(w + rho Aw/|Aw|)."""
    torch.manual_seed(0)
    root = torch.randn(4, 4, dtype=torch.float64)
    curve = root @ root.T
    parts = nn.ParameterList(torch.randn(2, dtype=torch.float64) for _ in range(2))

    def backward() -> None:
        w = torch.cat(list(parts))
        (0.5 * w @ curve @ w).backward()

    w = torch.cat(list(parts)).detach()
    before = [part.detach().clone() for part in parts]
    backward()
    with ascended(parts, rho=0.3):
        for part in parts:
            part.grad = None
        backward()
    gradient = curve @ w
    expected = curve @ (w + 0.3 * gradient / gradient.norm())
    found = torch.cat([part.grad for part in parts if part.grad is not None])
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(expected, gradient, rtol=0.05)
    assert all(torch.equal(part, old) for part, old in zip(parts, before, strict=True))
