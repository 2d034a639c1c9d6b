"""What Inception v3's unpadded layers mean for sizes, and what its auxiliary head weighs.

The numbers themselves are compared with torchvision and timm (``oracles/inception.py``).
"""

import pytest
import torch
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create


def _meta(aux_heads: bool) -> Backbone:
    with torch.device("meta"):
        return create("inception_v3", seed=0, aux_heads=aux_heads)


def _images(size: int) -> Tensor:
    return torch.empty(2, 3, size, size, device="meta")


@pytest.mark.parametrize(("aux_heads", "params"), [(True, 27_161_264), (False, 23_834_568)])
def test_parameters(aux_heads: bool, params: int) -> None:
    assert sum(parameter.numel() for parameter in _meta(aux_heads).parameters()) == params


def test_sizes_at_299() -> None:
    """Table 1 of arXiv:1512.00567: what each part leaves of 299 pixels."""
    net = _meta(aux_heads=False)
    sizes = [net.stem(_images(299)).shape[-1], *(m.shape[-1] for m in net.features(_images(299)))]
    assert sizes == [147, 71, 35, 17, 8]


def test_299_pixels_are_just_enough_for_the_auxiliary_head() -> None:
    net = _meta(aux_heads=True)
    assert net.forward_train(_images(299)).aux[0].shape == (2, 1000)
    with pytest.raises(VertebraError, match=r"at least 299x299 pixels; .* aux_heads=False"):
        net.forward_train(_images(298))
    assert _meta(aux_heads=False).forward_train(_images(298)).aux == ()
