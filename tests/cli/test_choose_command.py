"""``vertebra choose`` as a user types it, wrong things included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run

import made_up
from vertebra.evidence import Evidence
from vertebra.machine import Machine

NAMES = (
    *("alexnet", "vgg11", "vgg16", "googlenet", "resnet18", "resnet50", "resnet101"),
    *("inception_v3", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("vit_b_16", "swin_t", "convnext_tiny", "convnext_small"),
)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of made-up measurements, as if of this machine."""
    from dataclasses import replace

    from vertebra.machine import describe

    folder = tmp_path_factory.mktemp("home")
    here: Machine = describe()
    some = []
    for setting in made_up.RATES:
        for name in NAMES:
            m = made_up.measurement(name, setting)
            conditions = replace(m.conditions, machine=here.fingerprint, threads=here.cores)
            some.append(replace(m, conditions=conditions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTEBRA_HOME", str(folder))
        patch.delenv("VERTEBRA_EVIDENCE", raising=False)
        with Evidence() as store:
            store.add(some, here)
        yield folder


def test_the_answer_comes_first_and_every_other_network_has_a_reason() -> None:
    code, out, err = run("choose", "--images", "20000", "--classes", "100", "--latency-ms", "15")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("take ")
    for title in ("why:", "why not:", "what would change the answer:", "how to train it:"):
        assert title in lines
    assert any(line.startswith("runner-up: ") for line in lines)
    code, out, _ = run("choose", "--images", "20000", "--latency-ms", "15", "--json")
    document = json.loads(out)
    assert document["schema"] == "vertebra.choice/1"
    assert document["recommended"]["cost"]["seconds"] <= 0.015
    assert len(document["why_not"]) > 70


def test_it_answers_without_pytorch() -> None:
    """And so in under two seconds: see benchmarks/choose_speed.py."""
    program = (
        "import sys\n"
        "from vertebra.cli import main\n"
        "code = main(['choose', '--images', '20000', '--classes', '100', '--latency-ms', '15'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_fits_says_what_nearly_does_and_exits_with_1() -> None:
    code, out, _ = run(
        "choose", "--images", "20000", "--latency-ms", "0.4", "--min-accuracy", "0.8"
    )
    assert code == 1
    assert out.startswith("nothing can be recommended")
    assert "relax latency_ms to" in out


def test_a_gate_that_stops_is_an_answer() -> None:
    code, out, _ = run("choose", "--kind", "table", "--images", "5000")
    assert code == 0
    assert "gradient boosting" in out
    assert "take " not in out


def test_a_folder_says_how_many_images_there_are(finished: Path) -> None:
    code, out, err = run("choose", str(finished / "images"), "--json")
    assert code in (0, 1), err
    document = json.loads(out)
    assert document["requirement"]["images"] == 24
    assert document["requirement"]["classes"] == 2
    assert document["gate"]["kind"].startswith("classical")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--images", "-5"), "images"),
        (("--images", "20000", "--latency-ms", "-3"), "latency_ms"),
        (("--images", "20000", "--latency-ms", "nan"), "latency_ms"),
        (("--images", "20000", "--min-accuracy", "80"), "did you mean 0.8"),
        (("--images", "20000", "--engine", "openvno"), "did you mean openvino"),
        (("--images", "20000", "--prefer", "sped"), "did you mean speed"),
        (("--images", "5", "--classes", "10"), "cannot show"),
        (("--kind", "imges"), "did you mean images"),
        (("no/such/folder",), "no/such/folder"),
        (("--images", "100", "--probe", "3"), "--probe needs your images"),
        (("digits", "--images", "5"), "leave --images out"),
        (("digits", "--probe", "-3"), "--probe"),
        (("--images", "20000", "--measure", "-5"), "--measure"),
        (("--images", "20000", "--measure", "inf"), "number of minutes"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run("choose", *arguments)
    assert code == 2
    assert not out
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_damaged_store_is_kept_aside(tmp_path: Path) -> None:
    store = tmp_path / "evidence.sqlite"
    store.write_bytes(b"no database at all" * 1000)
    code, _, err = run("choose", "--images", "20000", "--store", str(store))
    assert code == 2
    kept = [path for path in tmp_path.iterdir() if "damaged" in path.name]
    assert len(kept) == 1
    assert kept[0].read_bytes() == b"no database at all" * 1000
    assert kept[0].name in err
