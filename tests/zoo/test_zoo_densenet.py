"""What only DenseNets have: recomputed bottlenecks, and weight files with names of old."""

from collections import Counter

import pytest
import torch
import torchvision
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from vertebra.nn import Backbone
from vertebra.zoo import create, load_foreign


def _pair() -> tuple[Backbone, Backbone]:
    """The same weights, without and with the option."""
    plain, efficient = (
        create("densenet121", 10, seed=0, memory_efficient=efficient).double()
        for efficient in (False, True)
    )
    return plain, efficient


def _images(size: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)


def _loss(net: Backbone) -> Tensor:
    logits = net(_images())
    return (logits * torch.linspace(-1, 1, 10, dtype=logits.dtype)).sum()


def _saved_bytes(net: Backbone) -> int:
    """What autograd keeps of one forward, each storage once, parameters aside."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address comes twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss(net)
    return sum(
        tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in parameters
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_memory_efficient_computes_the_same(checkpointing: bool) -> None:
    plain, efficient = _pair()
    # Blocks that are computed again compute their bottlenecks again, within.
    efficient.set_grad_checkpointing(checkpointing)
    losses = [_loss(net) for net in (plain, efficient)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0], atol=0, rtol=1e-12)
    gradients = [[p.grad for p in net.parameters()] for net in (plain, efficient)]
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-12, rtol=1e-12)
    # The buffers too: a second forward that counted would show in the running statistics.
    torch.testing.assert_close(efficient.state_dict(), plain.state_dict(), atol=0, rtol=1e-12)
    assert plain.stages[2][1].layers[0].norm1.num_batches_tracked == 1


def test_memory_efficient_keeps_less() -> None:
    """Concatenations and their norms go; what is linear in the depth stays."""
    plain, efficient = _pair()
    assert _saved_bytes(efficient) < 0.5 * _saved_bytes(plain)


def test_memory_efficient_recomputes_no_convolution() -> None:
    """Only what comes before a layer's 1x1, which is cheap, runs twice."""
    _, efficient = _pair()
    ran: Counter[str] = Counter()
    for path, module in efficient.stages.named_modules():
        if not list(module.children()):
            name = path.rpartition(".")[2]
            module.register_forward_hook(lambda *_, name=name: ran.update([name]))
    _loss(efficient).backward()
    layers, transitions = 6 + 12 + 24 + 16, 3
    assert ran["norm1"] == 2 * layers
    assert ran["conv1"] == ran["norm2"] == ran["conv2"] == layers
    assert ran["norm"] == ran["conv"] == transitions


def test_evaluation_recomputes_nothing() -> None:
    _, efficient = _pair()
    ran: list[object] = []
    layer = efficient.eval().stages[0][0].layers[2]
    layer.norm1.register_forward_hook(lambda norm, *_: ran.append(norm))
    _loss(efficient).backward()
    assert ran == [layer.norm1]


def _old_name(name: str) -> str:
    """As torchvision's files have it: "denselayer1.norm.1.bias" for "denselayer1.norm1.bias"."""
    for kind in ("norm", "conv"):
        for number in "12":
            name = name.replace(f".{kind}{number}.", f".{kind}.{number}.")
    return name


def test_torchvisions_files_have_names_of_old() -> None:
    reference = torchvision.models.densenet121().eval()
    old = {_old_name(name): tensor for name, tensor in reference.state_dict().items()}
    assert "features.denseblock3.denselayer24.conv.2.weight" in old
    assert len(old.keys() - reference.state_dict().keys()) > 500
    net = create("densenet121", seed=0).eval()
    load_foreign(net, old, "torchvision")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference(x))
