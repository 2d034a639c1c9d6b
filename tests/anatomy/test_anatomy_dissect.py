"""What a dissection sees, what it refuses, and that it leaves everything as it was."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import Anatomy, dissect
from vertebra.core import VertebraError
from vertebra.zoo import create

Shape = tuple[int, ...]
Row = tuple[str, str, Shape, Shape]


def _meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create(name, seed=0, **options)


# What it sees.


def _really_ran(net: nn.Module, x: Tensor) -> list[Row]:
    """Name, kind and shapes of every module without children, in the order in which they ran."""
    rows: list[Row] = []

    def note(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            rows.append((path, type(module).__name__, tuple(inputs[0].shape), tuple(output.shape)))

        return hook

    for path, module in net.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(note(path))
    with torch.no_grad():
        net.eval()(x)
    return rows


# These compute nothing in evaluation, and a layer is something that computes.
IDLE = {"Identity", "Dropout", "DropPath", "OnlyImages32"}


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", (3, 97, 64)), ("resnet50", (3, 64, 64)), ("lenet5", (1, 32, 32))],
)
def test_layers_are_those_that_really_run(name: str, size: Shape) -> None:
    body = dissect(create(name, seed=0), size, batch=2)
    real = _really_ran(create(name, seed=0), torch.zeros(2, *size))
    known = {path for path, *_ in real}
    seen = [
        (layer.name, layer.kind, layer.input_shape, layer.output_shape)
        for layer in body.layers
        if layer.name in known
    ]
    assert seen == [row for row in real if row[1] not in IDLE]


def test_what_a_block_does_itself_is_a_layer_too() -> None:
    names = [layer.name for layer in dissect(_meta("resnet18")).layers]
    assert names.count("stages.0.0.add") == 1
    assert len(names) == len(set(names))


def test_stages_carry_their_maps() -> None:
    net = create("resnet50", seed=0)
    body = dissect(net)
    shapes = {stage.name: stage.output_shape for stage in body.stages}
    with torch.no_grad():
        maps = net.eval().features(torch.zeros(1, 3, 224, 224))
    expected = {info.name: tuple(m.shape) for info, m in zip(net.stage_info, maps, strict=True)}
    assert {name: shapes[name] for name in expected} == expected
    assert shapes["head"] == (1, 1000)
    assert list(shapes) == ["stem", *expected, "head"]


def test_a_parameter_counts_where_it_is_used_first() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(self.first(x.flatten(1))))

    body = dissect(Tied(), (1, 2, 2))
    assert body.params == sum(layer.params for layer in body.layers) == 16 + 4 + 4
    assert [layer.params for layer in body.layers if layer.kind == "Linear"] == [20, 0, 4]
    assert body.macs == 3 * 16


def test_an_in_place_activation_makes_a_value_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
    graph = dissect(net, (3, 8, 8)).graph
    relu = next(node for node in graph.nodes if "relu" in node.operation)
    assert set(relu.inputs).isdisjoint(relu.outputs)
    last = graph.nodes[-1]
    assert last.operands["input"] == relu.outputs
    produced = [value for node in graph.nodes for value in node.outputs]
    assert len(produced) == len(set(produced))
    assert graph.outputs == last.outputs


def test_any_module_can_be_taken_apart() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Hardswish())
            self.scale = nn.Parameter(torch.ones(8, 1, 1))
            self.register_buffer("shift", torch.zeros(8, 1, 1))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.mix(x) * self.scale + self.shift + torch.ones(1)
            return {"map": y, "mean": y.mean((2, 3))}

    body = dissect(Gate(), (3, 5, 7))
    assert body.params == 3 * 8 + 8 + 8
    assert body.macs == 3 * 8 * 35
    assert [stage.name for stage in body.stages] == ["mix", "mul", "add", "add", "mean"]
    assert [body.graph.values[value].shape for value in body.graph.outputs] == [
        (1, 8, 5, 7),
        (1, 8),
    ]


class Rearranged(nn.Module):
    """A view that only works because an activation keeps the layout of its input."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        channels_last = self.act(x.permute(0, 2, 3, 1))
        return channels_last.permute(0, 3, 1, 2).view(x.shape[0], -1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh gelu": lambda x: F.gelu(x, approximate="tanh"),
    "sum": lambda x: x + x,
    "product": lambda x: x * 2.0,
}


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_what_runs_can_be_dissected(act: Callable[[Tensor], Tensor]) -> None:
    net = Rearranged(act)
    assert net(torch.zeros(2, 3, 4, 5)).shape == (2, 60)
    body = dissect(net, (3, 4, 5), batch=2)
    assert body.graph.values[body.graph.outputs[0]].shape == (2, 60)


class Mixed(nn.Module):
    """Operations that rules written for the usual arguments may stumble over."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


UNUSUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "add into": lambda x: torch.add(x, x, out=torch.empty(1, 3, 6, 6)),
    "join with nothing": lambda x: torch.cat([torch.empty(0), x], dim=1),
    "complex": lambda x: torch.view_as_real(x * 1j),
    "mean of a number": lambda x: x.sum().mean(dim=0),
    "number first": lambda x: 1 - x / 2 + 3 * x,
    "mean as double": lambda x: x.mean((2, 3), dtype=torch.float64),
    "mean by names": lambda x: x.mean(dim=-1, keepdim=True),
    "variance": lambda x: x.var((2, 3)),
    "norm of instances": F.instance_norm,
    "half": lambda x: F.relu(x.half() + 1),
    "where": lambda x: torch.where(x > 0, x, torch.zeros(())),
    "softmax as double": lambda x: x.softmax(1, dtype=torch.float64),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "max over positions": lambda x: x.amax((2, 3)),
    "pool with indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[1],
    "unbatched pool": lambda x: F.max_pool2d(x[0], 2),
    "unbatched convolution": lambda x: F.conv2d(x[0], torch.ones(2, 3, 3, 3)),
    "same padding": lambda x: F.conv2d(x, torch.ones(2, 3, 3, 5), padding="same"),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 1),
    "group norm": lambda x: F.group_norm(x, 3),
    "pixel shuffle": lambda x: F.pixel_unshuffle(x, 2),
    "list": lambda x: torch.stack(x.split(2, dim=2)),
    "glu": lambda x: F.glu(x, dim=2),
    "in place": lambda x: x.clone().add_(1).mul_(2).relu_(),
    "in place on a view": lambda x: F.relu_(x.clone()[:, :2]),
    "contiguous": lambda x: x.permute(0, 2, 3, 1).contiguous().view(1, -1),
    "channels last": lambda x: x.to(memory_format=torch.channels_last).relu().flatten(1),
}


@pytest.mark.parametrize("run", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_operations_have_their_real_shapes(run: Callable[[Tensor], Tensor]) -> None:
    real = run(torch.rand(1, 3, 6, 6))
    graph = dissect(Mixed(run), (3, 6, 6)).graph
    seen = graph.values[graph.outputs[0]]
    assert (seen.shape, f"torch.{seen.dtype}") == (tuple(real.shape), str(real.dtype))


# What it refuses.


# What it leaves.


@pytest.fixture
def half_trained() -> nn.Module:
    """A network of which parts are in training, as one is while it is fine-tuned."""
    net = create("resnet18", seed=0)
    for index, module in enumerate(net.modules()):
        module.training = index % 3 == 0
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    return net


def _hooks(net: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.modules() for kind in kinds)


def _state(net: nn.Module) -> tuple[Any, ...]:
    return (
        [module.training for module in net.modules()],
        [parameter.requires_grad for parameter in net.parameters()],
        [id(tensor) for tensor in (*net.parameters(), *net.buffers())],
        [tensor._version for tensor in (*net.parameters(), *net.buffers())],
        _hooks(net),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("size", [(3, 64, 64), (5, 64, 64)], ids=["fits", "fails"])
def test_the_network_is_left_as_it_was(half_trained: nn.Module, size: Shape) -> None:
    before, weights = _state(half_trained), {**half_trained.state_dict()}
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    try:
        dissect(half_trained, size)
        assert size[0] == 3
    except VertebraError:
        assert size[0] != 3
    assert _state(half_trained) == before
    for name, tensor in half_trained.state_dict().items():
        assert torch.equal(tensor, copies[name])
    half_trained.eval()(torch.zeros(1, 3, 32, 32))


def test_hooks_of_others_stay() -> None:
    net, seen = create("resnet20", seed=0), []
    net.stem.register_forward_hook(lambda *_args: seen.append(1))
    dissect(net)
    seen.clear()
    net.eval()(torch.zeros(1, 3, 32, 32))
    assert seen == [1]


def _same(first: Anatomy, second: Anatomy) -> bool:
    return first.to_dict() == second.to_dict() and first.graph == second.graph


@pytest.mark.parametrize("name", ["resnet18", "lenet5"])
def test_weights_modes_and_devices_do_not_matter(name: str) -> None:
    real = dissect(create(name, seed=0))
    assert _same(real, dissect(_meta(name)))
    assert _same(real, dissect(create(name, seed=1).eval()))
    net = create(name, seed=0).to(memory_format=torch.channels_last)
    assert _same(real, dissect(net))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_the_caller_does_with_gradients_does_not_matter(mode: Callable[[], Any]) -> None:
    net = create("lenet5", seed=0)
    outside = dissect(net)
    with mode():
        inside = dissect(net)
    assert inside.partial == ()
    assert inside.macs == outside.macs
    assert inside.fingerprint == outside.fingerprint


def test_taking_a_large_network_apart_needs_no_memory() -> None:
    """resnet152 has 240 MB of weights and as much again of maps."""
    code = (
        "import resource, torch\n"
        "from vertebra.anatomy import dissect\n"
        "from vertebra.zoo import create\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "with torch.device('meta'):\n"
        "    small, large = create('resnet18', seed=0), create('resnet152', seed=0)\n"
        "dissect(small).to_dict(); before = peak()\n"
        "dissect(large, batch=8).to_dict(); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


def test_a_dissection_loads_no_compiler_and_no_torchvision() -> None:
    code = (
        "import sys\n"
        "from vertebra.anatomy import dissect\n"
        "from vertebra.zoo import create\n"
        "body = dissect(create('resnet18', seed=0)); body.to_dict(); body.fingerprint\n"
        "heavy = ('torchvision', 'torch._dynamo', 'torch._inductor', 'sympy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class InPlace(nn.Module):
    """Tensors that get another shape, and are then asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = (x * 2).transpose_(1, 2)
        y = self.linear(y).mean(1, keepdim=True).squeeze_(1).unsqueeze_(2)
        return y.t_() if y.ndim == 2 else y.reshape(y.shape[0], y.shape[1])


def test_shapes_that_change_in_place() -> None:
    for net in (InPlace(), nn.GRU(5, 16, batch_first=True), nn.GRU(5, 16)):
        x = torch.randn(1, 5, 8) if isinstance(net, InPlace) else torch.randn(2, 3, 5)
        real = net(x)
        graph = dissect(net, inputs=[x]).graph
        expected = [tuple(t.shape) for t in (real if isinstance(real, tuple) else [real])]
        assert [graph.values[value].shape for value in graph.outputs] == expected


def test_a_dissection_says_little_of_itself() -> None:
    body = dissect(nn.Conv2d(3, 4, 1), (3, 8, 8))
    assert repr(body) == "<Anatomy of 1 layers on 1x3x8x8: 16 parameters, 768 MACs>"
    assert repr(body.graph) == "<Graph of 1 operations on 4 values>"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_type_of_a_network(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).to(dtype)
    assert dissect(net, (3, 8, 8)).dtype == str(dtype).removeprefix("torch.")
    assert dissect(nn.ReLU(), inputs=[torch.empty((2, 3), dtype=dtype)]).dtype == (
        str(dtype).removeprefix("torch.")
    )


class Talks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        print(y, y.mean(), f"{y.mean():.3f}")
        return y


def test_a_forward_may_print_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert dissect(Talks(), (3, 4, 4)).layers
    assert "<torch.float32 of (1, 3, 4, 4), without numbers>" in capsys.readouterr().out


class Functional(nn.Module):
    """Pools twice by the same function, at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.one(x), 2)
        return F.max_pool2d(self.two(x), 2)


def test_what_is_done_twice_is_two_rows() -> None:
    rows = dissect(Functional(), (3, 16, 16)).stages
    pool = "max_pool2d_with_indices"
    assert [row.name for row in rows] == ["one", pool, "two", pool]
    assert [row.output_shape[2] for row in rows] == [16, 8, 8, 4]
