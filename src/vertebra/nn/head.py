"""From the last stage's map to logits."""

from torch import Tensor, nn


class Head(nn.Module):
    """What turns the last map into the pooled vector and the vector into logits.

    A subclass implements :meth:`embed`; the last layer is always ``fc``, the identity where
    ``num_classes`` is 0.
    """

    def __init__(self, num_features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.num_features = num_features
        self.dropout = nn.Dropout(dropout)
        self.fc = _classifier(num_features, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """The last stage's map (N, C, H, W) -> the vector (N, num_features)."""
        raise NotImplementedError(f"{type(self).__name__} must say how a map becomes a vector")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, num_classes), or the vector where there are no classes."""
        logits: Tensor = self.fc(self.dropout(self.embed(x)))
        return logits

    def reset(self, num_classes: int, dropout: float | None, like: Tensor) -> None:
        """Put a fresh last layer in place, on the device and in the type of ``like``."""
        self.fc = _classifier(self.num_features, num_classes).to(like.device, like.dtype)
        if dropout is not None:
            self.dropout.p = dropout


class LinearHead(Head):
    """Global average pooling, dropout, one linear layer (Lin et al., 2013, arXiv:1312.4400)."""

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(num_features, num_classes, dropout)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C): the mean over positions."""
        pooled: Tensor = self.pool(x)
        return pooled.flatten(1)


def _classifier(num_features: int, num_classes: int) -> nn.Module:
    return nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
