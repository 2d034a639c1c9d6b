"""A network that computes something, and the files that engines load of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

# Where the tests of the zoo keep how to redraw a network, and a small one of each family.
sys.path.append(str(Path(__file__).parents[1] / "zoo"))

from living import SHAPE, Artifacts, TinyNet, images, living

from vertebra.runtime import Exported, Setup, export_onnx, make


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """PyTorch's, but where a session asks for more: beside other processes two cost far more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def net() -> nn.Module:
    return living(TinyNet(), SHAPE[1:])


@pytest.fixture(scope="session")
def exported(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(net, SHAPE, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="session")
def artifacts(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """By engine and precision of the numbers in the file; calibrated on images of its kind."""
    pictures, made = images((8, *SHAPE[1:])), {}
    for engine in ("onnxruntime", "openvino"):
        for precision in ("fp32", "int8"):
            folder = tmp_path_factory.mktemp(f"{engine}-{precision}")
            setup = Setup(engine, precision)
            made[engine, precision] = make(exported, SHAPE, setup, folder, pictures)
    return made
