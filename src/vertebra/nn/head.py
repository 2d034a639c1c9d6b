"""From the last stage's map to logits."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from vertebra.core import VertebraError, unknown


class AvgMaxPool(nn.Module):
    """The mean of average and maximum over all positions.

    Shapes: (N, C, H, W) -> (N, C, 1, 1).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return 0.5 * (x.mean((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True))


GLOBAL_POOLS: Mapping[str, Callable[[], nn.Module]] = {
    "avg": lambda: nn.AdaptiveAvgPool2d(1),
    "max": lambda: nn.AdaptiveMaxPool2d(1),
    "avgmax": AvgMaxPool,
}


class Head(nn.Module):
    """What turns what the last stage gives into a vector and the vector into logits.

    A subclass implements :meth:`embed`; the last layer is always ``fc``, the identity where
    ``num_classes`` is 0. ``pools`` are the kinds of pooling that :meth:`reset` can change to,
    ``pool_name`` the present one; "" where it is none of them. ``smallest`` is the least height and
    width of an image whose last map it can take, where that is more than the stages need.
    """

    pools: ClassVar[tuple[str, ...]] = ()
    pool_name = ""
    smallest = 1

    def __init__(self, num_features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.num_features = num_features
        self.dropout: nn.Module = nn.Dropout(dropout)
        self.fc = self.make_classifier(num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """What the last stage gives -> the vector (N, num_features)."""
        raise NotImplementedError(f"{type(self).__name__} must say how a map becomes a vector")

    def forward(self, x: Tensor) -> Tensor:
        """What the last stage gives -> logits (N, num_classes); without classes the vector."""
        logits: Tensor = self.fc(self.dropout(self.embed(x)))
        return logits

    def make_classifier(self, num_classes: int) -> nn.Module:
        """A fresh last layer, the identity for 0 classes."""
        return nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def reset(
        self, num_classes: int, dropout: float | None, pool: str | None, like: Tensor
    ) -> "Head":
        """The head with a fresh last layer, on the device and in the type of ``like``.

        ``dropout`` sets the rate of every dropout in the head. None keeps what there is.

        Raises:
            VertebraError: a kind of pooling that this head does not know.
        """
        head = self if pool is None else self.with_pool(pool).train(self.training)
        if dropout is not None:
            for module in head.modules():
                if isinstance(module, nn.Dropout):
                    module.p = dropout
        head.fc = head.make_classifier(num_classes)
        return head.to(like.device, like.dtype)

    def with_pool(self, pool: str) -> "Head":
        """This head, or another in its place, with the named pooling."""
        if not self.pools:
            raise VertebraError("the pooling of this network's head cannot be changed")
        raise unknown("pooling", pool, self.pools)


class LinearHead(Head):
    """Global pooling, dropout, one linear layer (Lin et al., 2013, arXiv:1312.4400).

    ``before`` maps the last map (N, channels, H, W) to the one that is pooled, of ``pooled``
    channels; ``after`` maps the pooled vector (N, pooled) to (N, num_features). Both None where a
    family has nothing there.
    """

    pools = tuple(GLOBAL_POOLS)

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        dropout: float = 0.0,
        *,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__(num_features, num_classes, dropout)
        self.pool_name = "avg"
        self.before = before or nn.Identity()
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.after = after or nn.Identity()

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_features)."""
        vector: Tensor = self.after(self.pool(self.before(x)).flatten(1))
        return vector

    def with_pool(self, pool: str) -> Head:
        """The same head; only what it does over positions changes."""
        if pool not in GLOBAL_POOLS:
            raise unknown("pooling", pool, GLOBAL_POOLS)
        self.pool, self.pool_name = GLOBAL_POOLS[pool](), pool
        return self


class FlattenHead(Head):
    """Fixed-size maps flattened into fully connected layers: AlexNet's and VGG's.

    ``pool`` brings every map to (grid, grid); ``hidden`` maps (N, channels * grid * grid) to
    (N, num_features). :meth:`reset` with a kind of global pooling replaces all this by a
    :class:`LinearHead` on the same maps.
    """

    pools = tuple(GLOBAL_POOLS)

    def __init__(
        self,
        channels: int,
        num_features: int,
        num_classes: int,
        dropout: float,
        *,
        pool: nn.Module,
        hidden: nn.Module,
    ) -> None:
        super().__init__(num_features, num_classes, dropout)
        self.channels = channels
        self.pool = pool
        self.hidden = hidden

    def embed(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, num_features)."""
        vector: Tensor = self.hidden(self.pool(x).flatten(1))
        return vector

    def with_pool(self, pool: str) -> Head:
        """Another head: the hidden layers only fit the grid that they were built for."""
        rates = [module.p for module in self.modules() if isinstance(module, nn.Dropout)]
        return LinearHead(self.channels, 0, max(rates, default=0.0)).with_pool(pool)
