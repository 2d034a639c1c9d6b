"""Weights that another library saved, put into a network of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vertebra.core import VertebraError, unknown
from vertebra.zoo.registry import family_of, row_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn.modules.batchnorm import _BatchNorm

    from vertebra.nn import Backbone


def load_foreign(
    net: Backbone, state_dict: Mapping[str, Tensor], source: str = "torchvision"
) -> None:
    """Load weights that another library saved: renamed by the family's own rule, then strictly.

    What belongs to the weights besides comes along: eps and momentum of batch norm, where the
    library has others. Auxiliary heads are left out where ``net`` was built without.

    Raises:
        VertebraError: the family knows no such source, or names or shapes do not fit.
    """
    renamed = rename(net, state_dict, source)
    load_strictly(net, renamed, f"{source} weights")
    apply_settings(net, source)


def rename(net: Backbone, state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The state dict of another library under our names.

    Raises:
        VertebraError: the family knows no such source.
    """
    family = family_of(net.name)
    if source not in family.sources:
        raise unknown(f"source of weights for {net.name}", source, family.sources)
    renamed = family.sources[source].rename(row_of(net.name, net.options), state_dict)
    if not net.aux:
        renamed = {name: value for name, value in renamed.items() if not name.startswith("aux.")}
    return renamed


def mismatches(net: Backbone, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Names that only one side has, or with another shape; batch counters may be missing.

    Files from before PyTorch counted batches lack the counter, which evaluation never reads.
    """
    ours = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    theirs = {name: tuple(getattr(value, "shape", ())) for name, value in state_dict.items()}
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if ours.get(name) != theirs.get(name)
        and not (name.endswith(".num_batches_tracked") and name not in theirs)
    )


def load_strictly(net: Backbone, state_dict: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict in our names.

    Raises:
        VertebraError: a name or shape does not fit; then nothing was loaded.
    """
    # Compared before anything is copied: PyTorch would load what fits and complain afterwards.
    wrong = mismatches(net, state_dict)
    ours = net.state_dict()
    if wrong:
        there, here = (
            tuple(side[wrong[0]].shape) if wrong[0] in side else "missing"
            for side in (state_dict, ours)
        )
        raise VertebraError(
            f"these {what} do not fit {net.name}: {wrong[0]} is {there} there and {here} here "
            f"({len(wrong)} such)"
        )
    net.load_state_dict({**ours, **state_dict}, strict=True)


def apply_settings(net: Backbone, source: str) -> None:
    """Set eps and momentum of every batch norm to those that a source's weights were made with."""
    norm = family_of(net.name).sources[source].norm
    if norm is not None:
        set_batch_norm(net, *norm(row_of(net.name, net.options)))


def set_batch_norm(net: Backbone, eps: float, momentum: float) -> None:
    """Set eps and momentum of every batch norm."""
    for module in _batch_norms(net):
        module.eps, module.momentum = eps, momentum


def batch_norm(net: Backbone) -> tuple[float, float] | None:
    """Eps and momentum that all batch norms share; None without batch norm or where they differ.

    A momentum of None (a cumulative average) is none that could be shared.
    """
    found = {
        (module.eps, module.momentum) for module in _batch_norms(net) if module.momentum is not None
    }
    return found.pop() if len(found) == 1 else None


def _batch_norms(net: Backbone) -> Iterator[_BatchNorm]:
    from torch.nn.modules.batchnorm import _BatchNorm

    return (module for module in net.modules() if isinstance(module, _BatchNorm))
