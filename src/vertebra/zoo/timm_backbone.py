"""The face of our networks over one of timm's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vertebra.core import Notice, VertebraError
from vertebra.nn import Backbone, StageInfo
from vertebra.zoo.family import Request

# Where timm's networks keep the dropout before their last layer; others drop within their blocks.
HEAD_DROPOUTS = ("head_drop", "head.drop", "head.head_drop", "classifier_drop")


class TimmBackbone(Backbone):
    """timm's network as ``net``; every method asks it.

    ``maps`` are (index in ``forward_intermediates``, channels, reduction) of what stands for
    stages. There is no ``stem``, ``stages`` or ``head``: timm's networks name their parts
    themselves.
    """

    def __init__(
        self, name: str, net: Any, maps: Sequence[tuple[int, int, int]], request: Request
    ) -> None:
        nn.Module.__init__(self)  # ours would ask for the three parts
        info = [
            StageInfo(f"stage{place}", channels, reduction)
            for place, (_, channels, reduction) in enumerate(maps, start=1)
        ]
        self._describe(name, info, request.num_classes, request.input_size)
        self.net = net
        self.indices = [index for index, _, _ in maps]

    @property
    def num_features(self) -> int:
        """Width of what :meth:`embed` returns."""
        hidden = getattr(self.net, "head_hidden_size", None)
        return int(hidden or self.net.num_features)

    @property
    def _smallest(self) -> int:
        return self.smallest  # unknown

    @property
    def pool_name(self) -> str:
        """timm's ``global_pool``."""
        return str(getattr(self.net, "global_pool", ""))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, num_classes); the pooled vector without a head."""
        logits: Tensor = self.net(x)
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> pooled vectors (N, num_features)."""
        vector: Tensor = self.net.forward_head(self.net.forward_features(x), pre_logits=True)
        return vector

    def features(self, x: Tensor, out_stages: Sequence[int] | None = None) -> list[Tensor]:
        """Images (N, C, H, W) -> one map (N, channels, H', W') a stage.

        Raises:
            VertebraError: timm gives no intermediate maps of this network, or no such stage.
        """
        if not self.indices:
            raise VertebraError(f"timm gives no intermediate maps of {self.name}")
        wanted = self._stage_indices(out_stages)
        indices = sorted({self.indices[place] for place in wanted})
        maps = self.net.forward_intermediates(
            x, indices=indices, stop_early=True, intermediates_only=True
        )
        found = dict(zip(indices, maps, strict=True))
        return [found[self.indices[place]] for place in wanted]

    def reset_head(
        self, num_classes: int, pool: str | None = None, dropout: float | None = None
    ) -> None:
        """Replace the last layer by a fresh one; ``pool`` is timm's ``global_pool``.

        Raises:
            VertebraError: a negative number of classes, a rate outside [0, 1), or a pooling that
                timm does not know here.
        """
        self._check_head(num_classes, dropout)
        try:
            self.net.reset_classifier(num_classes, *([] if pool is None else [pool]))
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            raise VertebraError(f"timm cannot pool {self.name} by '{pool}': {error}") from None
        if dropout is not None:
            self.net.drop_rate = dropout  # where timm drops by a function
            for path in HEAD_DROPOUTS:
                module = dict(self.net.named_modules()).get(path)
                if isinstance(module, nn.Dropout):
                    module.p = dropout
        like = next(self.net.parameters())
        self.net.to(like.device, like.dtype)
        self.num_classes = num_classes

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As timm does it, for the networks that timm can.

        Raises:
            VertebraError: timm cannot for this network.
        """
        try:
            self.net.set_grad_checkpointing(enable)
        except (AssertionError, AttributeError) as error:
            raise VertebraError(f"timm cannot checkpoint {self.name}: {error}") from None
        if enable and any(isinstance(module, _BatchNorm) for module in self.net.modules()):
            warnings.warn(
                f"timm computes the batch norms of {self.name} twice then: their running "
                f"statistics count each batch twice, unlike those of the zoo's own networks",
                Notice,
                stacklevel=2,
            )

    def layer_groups(self) -> list[tuple[str, list[nn.Parameter]]]:
        """timm's own groups, from the stem to the head.

        Raises:
            VertebraError: timm does not group the layers of this network.
        """
        from timm.models import group_parameters

        if not hasattr(self.net, "group_matcher"):
            raise VertebraError(f"timm does not group the layers of {self.name}")
        groups = group_parameters(self.net, self.net.group_matcher(coarse=False))
        named = dict(self.net.named_parameters())
        return [
            (f"group{place}", [named[name] for name in names])
            for place, (_, names) in enumerate(sorted(groups.items()))
        ]

    def parts(self) -> Iterator[tuple[str, str]]:
        """The children of timm's network."""
        return ((name, f"net.{name}") for name, _ in self.net.named_children())

    def classifiers(self) -> list[str]:
        """Paths of the last layers, as timm's configuration has them."""
        named = self.net.pretrained_cfg.get("classifier") or ()
        return [f"net.{path}" for path in ((named,) if isinstance(named, str) else named)]

    def input_layers(self) -> list[str]:
        """Paths of the layers that take the image."""
        named = self.net.pretrained_cfg.get("first_conv") or ()
        return [f"net.{path}" for path in ((named,) if isinstance(named, str) else named)]
