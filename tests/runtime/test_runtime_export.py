"""A network as an ONNX file: it computes the same, and the network is left as it was."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import onnx
import pytest
import timm
import torch
from living import SHAPE, TinyNet, answer, error, images, living, member
from test_zoo_every import ONE_OF_EACH
from torch import Tensor, nn

from vertebra.core import VertebraError
from vertebra.runtime import Setup, export, export_onnx, fixed_sizes, load, make
from vertebra.zoo import create
from vertebra.zoo.registry import load_families

ROUNDING = 3e-4  # of what tells two images apart


def _members() -> list[str]:
    """One network a family, the smallest."""
    return [
        next(name for name in ONE_OF_EACH if name in family.variants)
        for family in load_families().values()
    ]


@pytest.mark.parametrize("name", _members())
def test_every_family_computes_the_same(name: str, tmp_path: Path) -> None:
    net = member(name)
    shape = (2, *net.input_size)
    given = images(shape)
    expected = answer(net, given)
    exported = export_onnx(net, shape, tmp_path / "model.onnx")
    for engine in ("onnxruntime", "openvino"):
        setup = Setup(engine, threads=1)
        artifact = make(exported, shape, setup, tmp_path / engine)
        with contextlib.closing(load(artifact, setup)) as session:
            found = session.numpy(session.run(session.prepare(given)))
            assert session.share == 1
        assert error(found, expected) < ROUNDING, engine


def test_a_broken_block_would_be_noticed(net: nn.Module) -> None:
    given = images(SHAPE)
    broken = living(TinyNet(), SHAPE[1:])
    assert error(answer(broken, given), answer(net, given)) == 0
    broken.mix = nn.Identity()
    assert error(answer(broken, given), answer(net, given)) > 1000 * ROUNDING


class Sizes(nn.Module):
    """Rounds a size up to a multiple, as many networks write it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        whole = -(-x.shape[2] // 4) * 4, -(-x.size(3) // 4) * 4
        x = nn.functional.interpolate(x, whole, mode="bilinear").square()
        logits: Tensor = self.head(x.flatten(2).mean(2))
        return logits


def test_arithmetic_on_sizes_is_done_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracer would write it into the file and round it the other way."""
    net, shape, path = living(Sizes(), (3, 11, 11)), (2, 3, 11, 11), tmp_path / "model.onnx"
    assert export_onnx(net, shape, path).exporter == "torchscript"
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert "Resize" in nodes
    assert "Div" not in nodes
    # Left to itself it is found out, and the other exporter does it.
    monkeypatch.setattr(fixed_sizes, "FixedSizes", contextlib.nullcontext)
    assert export_onnx(net, shape, path).exporter == "dynamo"


def test_mobilevit_where_maps_do_not_divide_into_patches(tmp_path: Path) -> None:
    net = living(create("mobilevit_xxs", seed=0, input_size=(3, 96, 96)), (3, 96, 96))
    shape = (2, 3, 96, 96)  # the last map has three pixels a side, a patch two
    export_onnx(net, shape, tmp_path / "model.onnx")
    given = images(shape)
    with contextlib.closing(load(tmp_path / "model.onnx", Setup("openvino"))) as session:
        found = session.numpy(session.run(session.prepare(given)))
    assert error(found, answer(net, given)) < ROUNDING


@pytest.mark.parametrize("threshold", ["tracing fails", "tracing is gone"])
def test_the_other_exporter_steps_in(
    threshold: str, net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_given: Any) -> None:
        raise TypeError(threshold)

    monkeypatch.setattr(export, "by_tracing", fails)
    exported = export_onnx(net, SHAPE, tmp_path / "model.onnx")
    assert exported.exporter == "dynamo"
    artifact = make(exported, SHAPE, Setup("onnxruntime"), tmp_path / "made")
    assert artifact.exporter == "dynamo"
    monkeypatch.setattr(export, "by_dynamo", fails)
    with pytest.raises(VertebraError, match=f"torchscript: {threshold}; dynamo: {threshold}"):
        export_onnx(net, SHAPE, tmp_path / "model.onnx")


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pooling 2x2 to 6x6, which the first exporter fails on and then prints its graph."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.AdaptiveAvgPool2d(3), nn.Flatten())
    assert export_onnx(net, (1, 3, 17, 17), tmp_path / "model.onnx").exporter == "dynamo"
    print("still there")
    assert capfd.readouterr() == ("still there\n", "")


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    net = living(TinyNet(), SHAPE[1:]).to(memory_format=torch.channels_last).double()
    net.stem.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    export_onnx(net, SHAPE, tmp_path / "model.onnx")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == before[name].dtype
        assert tensor.stride() == before[name].stride()
    assert [module.training for module in net.modules()] == modes
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_batch_norm_is_folded(tmp_path: Path) -> None:
    export_onnx(create("resnet20", seed=0), (1, 3, 32, 32), tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "BatchNormalization" not in kinds


def test_sizes_are_fixed(net: nn.Module, tmp_path: Path) -> None:
    export_onnx(net, (3, 3, 16, 64), tmp_path / "model.onnx")
    (given,) = onnx.load(tmp_path / "model.onnx").graph.input
    extents = [extent.dim_value for extent in given.type.tensor_type.shape.dim]
    assert (given.name, extents) == ("images", [3, 3, 16, 64])


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3)) / 0


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = (layer for layer in ())

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Pair, "gives one tensor; this gives a tuple"),
        (Endless, "not finite"),
        (Stubborn, "Stubborn cannot be copied"),
        (lambda: nn.Conv2d(1, 2, 3), "Conv2d cannot run on an input of shape"),
    ],
)
def test_what_no_engine_can_run_is_refused(made: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match=said):
        export_onnx(made(), SHAPE, tmp_path / "model.onnx")


def test_a_network_of_timms(tmp_path: Path) -> None:
    net = living(timm.create_model("test_vit", num_classes=7), (3, 160, 160))
    shape, given = (2, 3, 160, 160), images((2, 3, 160, 160))
    expected = answer(net, given)
    artifact = make(net, shape, Setup("openvino"), tmp_path)
    with contextlib.closing(load(artifact, Setup("openvino"))) as session:
        assert error(session.numpy(session.run(session.prepare(given))), expected) < ROUNDING


@pytest.mark.large
def test_weights_that_fit_no_file(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 64))
    net.append(nn.Linear(64, 9_000_000)).append(nn.Linear(9_000_000, 2))
    shape, given = (1, 3, 8, 8), images((1, 3, 8, 8))
    expected = answer(net, given)
    for engine in ("onnxruntime", "openvino"):
        artifact = make(net, shape, Setup(engine), tmp_path / engine)
        with contextlib.closing(load(artifact, Setup(engine))) as session:
            assert session.file_bytes > 2**31
            found = session.numpy(session.run(session.prepare(given)))
        assert abs(found - expected).max() < 1e-3 * abs(expected).max()
