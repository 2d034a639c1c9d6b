"""Weights that several tests load."""

from pathlib import Path

import pytest
import torch
import torchvision
from pretrained import redrawn
from torch import nn


@pytest.fixture(scope="session")
def resnet() -> nn.Module:
    return redrawn(torchvision.models.resnet18())


@pytest.fixture
def resnet_file(resnet: nn.Module, tmp_path: Path) -> str:
    path = tmp_path / "resnet18.pth"
    torch.save(resnet.state_dict(), path)
    return str(path)
