"""Ten networks of timm that our zoo has not, against fvcore: in total and kind by kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import timm
import torch
from counting import by_fvcore
from timm.layers import set_fused_attn, use_fused_attn

from vertebra.anatomy import dissect

# Attention over windows, grids and tokens; weights that are standardised as they are used; several
# resolutions side by side; convolutions padded by name; linear layers across positions.
NETWORKS = """
    regnety_032 dm_nfnet_f0 convmixer_768_32 maxvit_tiny_rw_224 beit_base_patch16_224 ghostnet_100
    hrnet_w18 resmlp_12_224 poolformer_s12 efficientformer_l1
""".split()
PRODUCTS_OF_MAPS = ("matmul", "bmm", "addmm", "einsum", "mm")


@pytest.fixture
def attention_in_the_open() -> Iterator[None]:
    """fvcore does not know fused attention; timm can write it out."""
    before = use_fused_attn(), use_fused_attn(experimental=True)
    set_fused_attn(False)
    yield
    set_fused_attn(*before)


@pytest.mark.usefixtures("attention_in_the_open")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_timm_against_fvcore(name: str) -> None:
    """fvcore lacks "same" padding (convmixer); :mod:`counting` lends it its own formula there."""
    net = timm.create_model(name, pretrained=False).eval()
    size = net.default_cfg["input_size"]
    body = dissect(net, size, convention="fvcore")
    found = by_fvcore(net, (1, *size))
    kinds = found.by_operator()
    assert body.partial == ()
    assert body.subtotals == {
        "convolution": kinds["conv"],
        "linear": kinds["linear"],
        "matrix product": sum(kinds[kind] for kind in PRODUCTS_OF_MAPS),
        "attention": 0,
    }
    assert body.macs == found.total()
    assert body.params == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_timm_has_a_price_throughout(name: str) -> None:
    """Nothing in it lacks a rule, under any convention; what is fused is still counted."""
    with torch.device("meta"):
        net = timm.create_model(name, pretrained=False)
    size = net.default_cfg["input_size"]
    plain = dissect(net, size)
    full = dissect(net, size, convention="full")
    assert plain.partial == full.partial == ()
    assert plain.macs == sum(plain.subtotals.values())
    assert plain.macs < full.macs < 1.3 * plain.macs
