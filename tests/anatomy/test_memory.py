"""Memory of training and inference, against what PyTorch's allocators really handed out."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import timm.optim
import torch
from allocator import handed_out
from counting import Run
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vertebra.anatomy import Memory, dissect, memory_of
from vertebra.core import VertebraError
from vertebra.machine import describe
from vertebra.nn import Backbone
from vertebra.zoo import create

# One of each family: image side and batch.
NETS = {
    "lenet5": (32, 16),
    "alexnet": (96, 4),
    "nin": (32, 8),
    "vgg11_bn": (64, 4),
    "googlenet": (96, 4),
    "inception_v3": (299, 2),
    "resnet18": (64, 16),
    "resnet50_v2": (96, 4),
    "seresnet50": (64, 8),
    "densenet121": (64, 8),
    "mobilenet_v1": (96, 8),
    "mobilenet_v3_small": (96, 8),
    "efficientnet_b0": (96, 8),
    "mobilevit_xxs": (128, 4),
    "vit_ti_16": (224, 4),
    "swin_t": (112, 2),
    "convnext_atto": (96, 8),
}
CASTS = {"fp32": None, "bf16": torch.bfloat16}
MOST_IN_BF16 = 2
# A CPU without bfloat16 takes half a minute for a step of any larger network in it.
QUICK_WITHOUT_BF16 = {"lenet5", "mobilenet_v3_small", "mobilevit_xxs", "convnext_atto"}


def made(name: str, most: int | None = None) -> tuple[Backbone, Tensor]:
    side, batch = NETS[name]
    batch = min(batch, most or batch)
    channels = 1 if name == "lenet5" else 3
    torch.manual_seed(0)
    net = create(name, num_classes=10, input_size=(channels, side, side), seed=0)
    return net, torch.randn(batch, channels, side, side)


def cast(precision: str) -> Any:
    return torch.autocast("cpu", CASTS[precision] or torch.bfloat16, CASTS[precision] is not None)


def step(net: Backbone, images: Tensor, precision: str) -> None:
    labels = torch.zeros(len(images), dtype=torch.long)
    for parameter in net.parameters():
        parameter.grad = None
    with cast(precision):
        outputs = net.forward_train(images)
        loss = sum(F.cross_entropy(o.float(), labels) for o in (outputs.logits, *outputs.aux))
    loss.backward()


def near(real: int) -> Any:
    # The bar is 10 %. What differs is the loss, which is another one, and a few scalars.
    return pytest.approx(real, rel=0.01, abs=4096)


def _cases() -> Iterator[Any]:
    for name, precision in itertools.product(NETS, CASTS):
        slow = precision == "bf16" and name not in QUICK_WITHOUT_BF16 and not describe().has_bf16
        yield pytest.param(name, precision, marks=[pytest.mark.large] if slow else [])


@pytest.mark.parametrize(("name", "precision"), _cases())
def test_against_the_allocator(name: str, precision: str) -> None:
    net, images = made(name, MOST_IN_BF16 if precision == "bf16" else None)
    needs = memory_of(net, images.shape[1:], len(images), precision, "sgd")
    there = needs.parameters + needs.buffers + needs.inputs
    net.train()
    step(net, images, precision)  # what is allocated once is there
    for parameter in net.parameters():
        parameter.grad = None
    peak, _ = handed_out(lambda: step(net, images, precision))
    assert needs.training_peak - there == near(peak)

    def forward() -> Any:
        with cast(precision):
            return net.forward_train(images)

    _, kept = handed_out(forward)
    assert needs.activations == near(kept)
    net.eval()

    def inference() -> Tensor:
        with torch.no_grad(), cast(precision):
            return net(images)

    inference()
    peak, _ = handed_out(inference)
    assert needs.inference_peak - there == near(peak)


def test_what_is_there_before_a_step() -> None:
    net, images = made("resnet18")
    needs = memory_of(net, (3, 64, 64), 16)
    assert needs.parameters == sum(p.numel() * 4 for p in net.parameters()) == needs.gradients
    assert needs.buffers == sum(b.numel() * b.element_size() for b in net.buffers())
    assert needs.inputs == images.numel() * 4
    assert needs.batch == 16
    assert sum(needs.activations_by_module.values()) == needs.activations
    assert set(needs.activations_by_module) <= {path for path, _ in net.named_modules()}


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "lamb": lambda p: timm.optim.create_optimizer_v2(p, "lamb", lr=0.1),
    "lion": lambda p: timm.optim.create_optimizer_v2(p, "lion", lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_of_the_optimiser(name: str) -> None:
    net = create("resnet20", seed=0)
    net.stages[0].requires_grad_(False)
    learnt = [p for p in net.parameters() if p.requires_grad]
    for parameter in learnt:
        parameter.grad = torch.ones_like(parameter)
    optimizer = OPTIMIZERS[name](learnt)
    optimizer.step()
    kept = [v for state in optimizer.state.values() for v in state.values()]
    real = sum(v.numel() * v.element_size() for v in kept if isinstance(v, Tensor))
    assert memory_of(net, optimizer=name).optimizer_state == real


def test_the_optimisers_state_is_there_throughout() -> None:
    net = create("resnet20", seed=0)
    plain, adam = (memory_of(net, batch=4, optimizer=name) for name in ("sgd", "adam"))
    assert adam.training_peak - plain.training_peak == adam.optimizer_state
    assert adam.inference_peak == plain.inference_peak


@pytest.mark.parametrize("how", ["frozen", "checkpointing", "linear probe"])
def test_what_saves_memory_really_does(how: str) -> None:
    """Each by as much as the allocator says."""
    net, images = made("resnet18")
    before = memory_of(net, (3, 64, 64), 16, optimizer="sgd")
    if how == "checkpointing":
        net.set_grad_checkpointing()
    elif how == "frozen":
        net.stem.requires_grad_(False)
        net.stages[:2].requires_grad_(False)
    else:
        net.requires_grad_(False)
        net.head.requires_grad_(True)
    needs = memory_of(net, (3, 64, 64), 16, optimizer="sgd")
    assert needs.activations < before.activations
    net.train()
    step(net, images, "fp32")
    for parameter in net.parameters():
        parameter.grad = None
    peak, _ = handed_out(lambda: step(net, images, "fp32"))
    there = needs.parameters + needs.buffers + needs.inputs
    assert needs.training_peak - there == near(peak)


class Shared(nn.Module):
    """A map that three operations save, two of them views of it: in memory it lies once."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        y = (x + self.shift).exp()
        return y.sigmoid() * y.flatten(1).view_as(y) + y[:, :1].mean()


def test_a_storage_counts_once() -> None:
    x = torch.randn(4, 3, 16, 16)
    needs = memory_of(Shared(), inputs=[x])
    net = Shared()
    _, kept = handed_out(lambda: net(x))
    # The exponential, the sigmoid and the sum: three maps, though autograd saves seven times.
    assert needs.activations == kept
    assert kept // 1024 == 3 * 4 * x.numel() // 1024


def test_a_network_in_which_nothing_learns() -> None:
    net = create("resnet20", seed=0).requires_grad_(False)
    needs = memory_of(net)
    assert (needs.gradients, needs.optimizer_state) == (0, 0)


def test_auxiliary_heads_train_too() -> None:
    net = create("googlenet", num_classes=10, seed=0)
    modules = memory_of(net, (3, 96, 96), 2).activations_by_module
    assert any(path.startswith("aux.") for path in modules)


def test_the_network_is_left_as_it_was() -> None:
    net, _ = made("resnet18")
    net.stages[1].eval()
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    memory_of(net, (3, 64, 64), 4, "bf16")
    assert [module.training for module in net.modules()] == modes
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.stages.modules())


def test_large_networks_need_no_memory() -> None:
    with torch.device("meta"):
        net = create("vit_h_14", seed=0)
    needs = memory_of(net, batch=256, precision="bf16")
    assert needs.parameters == 4 * 632_045_800
    assert needs.training_peak > 100 * 2**30


def _refused(**options: Any) -> Memory:
    return memory_of(create("resnet20", seed=0), **options)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(VertebraError, match="unknown precision 'fp8'; known: bf16, fp16, fp32"):
        _refused(precision="fp8")
    with pytest.raises(VertebraError, match="did you mean adamw"):
        _refused(optimizer="adamww")
    with pytest.raises(VertebraError, match=r"resnet20 cannot run on an input of shape \(1, 4,"):
        _refused(input_size=(4, 32, 32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_ti_16"])
@pytest.mark.parametrize("precision", CASTS)
def test_against_cuda(name: str, precision: str) -> None:
    net, images = made(name, MOST_IN_BF16 if precision == "bf16" else None)
    needs = memory_of(net, images.shape[1:], len(images), precision, "sgd")
    net, images = net.cuda().train(), images.cuda()

    def run() -> None:
        labels = torch.zeros(len(images), dtype=torch.long, device="cuda")
        with torch.autocast("cuda", CASTS[precision], CASTS[precision] is not None):
            loss = F.cross_entropy(net(images).float(), labels)
        loss.backward()

    run()
    net.zero_grad(set_to_none=True)
    torch.cuda.reset_peak_memory_stats()
    run()
    assert needs.training_peak == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.1)


class Caching(nn.Module):
    """Makes its table of positions when it first runs, and others by size."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.positions: Tensor | None = None
        self.by_size: dict[int, Tensor] = {}
        self.register_buffer("mask", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.positions is None:
            self.positions = torch.linspace(0, 1, x.shape[-1])
        if x.shape[-1] not in self.by_size:
            self.by_size[x.shape[-1]] = torch.arange(x.shape[-1]) * self.scale.detach()
        self.mask = torch.ones(x.shape[-1])
        return x * self.positions * self.scale + self.by_size[x.shape[-1]] * self.mask


@pytest.mark.parametrize("look", [dissect, memory_of])
def test_what_a_forward_stores_is_gone_again(look: Any) -> None:
    net = Caching()
    look(net, (3, 8, 8))
    assert (net.positions, net.by_size, net.mask) == (None, {}, None)
    real = net(torch.ones(1, 3, 8, 8))
    look(net, (3, 8, 8))
    torch.testing.assert_close(net(torch.ones(1, 3, 8, 8)), real)


class Reentrant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.second, self.first(x), use_reentrant=True)


def test_a_reentrant_checkpoint_leaves_no_gradients() -> None:
    net = Reentrant()
    kept = torch.ones_like(net.second.weight)
    net.second.weight.grad = kept
    memory_of(net, (3, 8, 8))
    assert net.second.weight.grad is kept
    assert [p.grad is None for p in net.parameters()] == [True, True, False, True]


def test_what_only_a_kernel_knows_is_named() -> None:
    needs = memory_of(nn.LSTM(8, 8), inputs=[(5, 2, 8)])
    assert needs.partial
    assert needs.to_dict()["partial"] == list(needs.partial)
    assert memory_of(create("resnet20", seed=0)).partial == ()


@pytest.mark.parametrize("batch", [0, -1, 2.0, True])
def test_a_batch_is_a_whole_number(batch: Any) -> None:
    with pytest.raises(VertebraError, match="batch must be a whole number"):
        memory_of(create("resnet20", seed=0), batch=batch)


def _checkpointed(kind: str) -> tuple[nn.Module, tuple[int, ...], int]:
    """A network, the shape of its input, and how many blocks it runs twice."""
    if kind == "ours":
        net = create("vit_ti_16", input_size=(3, 64, 64), seed=0)
        net.set_grad_checkpointing()
        return net, (4, 3, 64, 64), 12

    def again(s: Any, x: Tensor) -> Tensor:
        for block in s.blocks:
            x = checkpoint(block, x, use_reentrant=kind == "reentrant")
        return x.mean((2, 3))

    def block() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3)
        )

    blocks = nn.ModuleList([block() for _ in range(3)])
    stem = nn.Conv2d(3, 16, 3)
    return Run(lambda s, x: again(s, s.stem(x)), stem=stem, blocks=blocks), (8, 3, 48, 48), 3


@pytest.mark.parametrize("precision", CASTS)
@pytest.mark.parametrize("kind", ["ours", "reentrant", "not reentrant"])
def test_checkpointing_against_the_allocator(kind: str, precision: str) -> None:
    """Casts that autocast caches for weights of checkpointed blocks are not kept for backward."""
    net, shape, blocks = _checkpointed(kind)
    images = torch.randn(shape)
    needs = memory_of(net, None, 1, precision, "sgd", inputs=[images])
    there = needs.parameters + needs.buffers + needs.inputs

    def forward() -> Any:
        with cast(precision):
            return net(images)

    def whole() -> None:
        for parameter in net.parameters():
            parameter.grad = None
        with cast(precision):
            loss = net(images).float().log_softmax(-1).sum()
        loss.backward()

    net.train()
    whole()
    for parameter in net.parameters():
        parameter.grad = None
    peak, _ = handed_out(whole)
    assert needs.training_peak - there == near(peak)
    _, kept = handed_out(forward)
    # And the state of the random generator for each block, to draw the same again: no operation.
    assert needs.activations == near(kept - blocks * len(torch.get_rng_state()))
    # Without numbers it is the same network.
    lean = copy.deepcopy(net).to("meta")
    assert memory_of(lean, None, 1, precision, "sgd", inputs=[images]) == needs


def test_parameters_that_no_gradient_comes_back_to() -> None:
    """As PyTorch leaves them: without gradient, and without the optimiser's state."""
    net = Run(lambda s, x: s.used(x), used=nn.Linear(8, 4), idle=nn.Linear(8, 100))
    needs = memory_of(net, inputs=[(2, 8)], optimizer="adam")
    assert needs.parameters == 4 * (8 * 4 + 4 + 8 * 100 + 100)
    assert needs.gradients == 4 * (8 * 4 + 4)
    assert needs.optimizer_state == 2 * needs.gradients + 2 * 4
