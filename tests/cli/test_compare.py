"""``vertebra compare`` as its user meets it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from command import run


def test_compare() -> None:
    names = ("resnet50", "efficientnet_b4", "convnext_tiny")
    code, out, err = run("compare", *names)
    assert (code, err) == (0, "")
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "25.56 M" in lines["parameters"]
    # 19 341 616 and 28 589 128 over 25 557 032.
    assert "x0.757" in lines["parameters"]
    assert "x1.12" in lines["parameters"]
    assert [cell for cell in lines["receptive field"].split() if cell != "receptive"][1:] == [
        "427",
        "global",
        "1688",
    ]
    assert "AdaptiveAvgPool2d =" in lines
    document = json.loads(run("compare", *names, "--json")[1])
    assert document["schema"] == "vertebra.comparison/1"
    assert [entry["model"] for entry in document["networks"]] == list(names)
    assert [entry["params"] for entry in document["networks"]] == [25557032, 19341616, 28589128]
    assert document["networks"][0]["kinds"]["Conv2d"] == 53


def test_runs_of_one_architecture_are_told_apart(finished: Path, tmp_path: Path) -> None:
    one, other = finished / "run", tmp_path / "again"
    shutil.copytree(one, other)
    code, out, err = run("compare", str(one), str(other))
    assert (code, err) == (0, "")
    assert str(other) in out.splitlines()[0]
    assert run("compare", str(one), str(one))[0] == 2


def test_compare_needs_two() -> None:
    assert run("compare", "resnet18")[2] == "error: compare takes two networks or more\n"
    assert "name each once" in run("compare", "resnet18", "resnet18")[2]
    assert "did you mean resnet50?" in run("compare", "resnet18", "resnet5")[2]


def test_compare_loads_no_torchvision() -> None:
    code = (
        "import sys\nfrom vertebra.cli import main\n"
        "assert main(['compare', 'resnet18', 'vit_ti_16', '--json']) == 0\n"
        "print(sorted({'torchvision', 'torch._dynamo', 'sympy', 'timm'} & set(sys.modules)),"
        " file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
