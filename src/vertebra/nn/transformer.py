"""The pre-norm transformer encoder block over a sequence of tokens."""

from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.nn.drop import DropPath


class Attention(nn.Module):
    """Multi-head self-attention: ``softmax(q k^T / sqrt(d)) v`` a head, then one linear layer.

    Vaswani et al., 2017, arXiv:1706.03762, equation 1 and section 3.2.2. Query, key and value come
    from one matrix, in this order.

    Shapes: (N, T, dim) -> (N, T, dim).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels do not divide into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        # Views all the way to the kernel, and one copy in the backward pass, where the gradients
        # of the three parts are stacked as the linear layer wants them.
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with an activation between, position by position (section 3.3).

    Shapes: (..., dim) -> (..., dim).
    """

    def __init__(self, dim: int, hidden: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = act()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    The norm stands before each branch, not after the sum as in Vaswani et al.: equations 2 and 3 of
    Dosovitskiy et al., 2020, arXiv:2010.11929.

    Shapes: (N, T, dim) -> (N, T, dim).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        eps: float = 1e-6,
        act: type[nn.Module] = nn.GELU,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, hidden, act)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out
