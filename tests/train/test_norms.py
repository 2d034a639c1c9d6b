"""Batch norms that stay as they are."""

from __future__ import annotations

import torch
from torchvision.ops import FrozenBatchNorm2d

from vertebra import zoo
from vertebra.train.norms import freeze_norms


def test_frozen_norms_survive_train_and_compute_as_torchvisions() -> None:
    net = zoo.create("resnet18", num_classes=4, seed=0)
    names = set(net.state_dict())
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for module in norms:
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2)
    assert freeze_norms(net) == len(norms) == 20
    net.train()
    assert net.training
    assert not any(module.training for module in norms)
    assert set(net.state_dict()) == names
    assert not any(p.requires_grad for module in norms for p in module.parameters())
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.randn(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in net.named_buffers())
    norm = norms[3]
    reference = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    reference.load_state_dict(
        {k: v for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    )
    x = torch.randn(2, norm.num_features, 5, 5)
    torch.testing.assert_close(norm(x), reference(x))


def test_frozen_norms_of_timms_networks_keep_their_activation() -> None:
    net = zoo.create("timm/mobilenetv3_small_050", num_classes=4)
    x = torch.randn(2, 3, 64, 64)
    expected = net.eval()(x)
    assert freeze_norms(net) > 0
    torch.testing.assert_close(net.train()(x), expected)
