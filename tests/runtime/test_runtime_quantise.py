"""Eight bits: on which images their ranges are found, and what is said of it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from living import SHAPE, Artifacts, answer, error, images, member
from torch import nn

from vertebra.core import VertebraError
from vertebra.runtime import Artifact, Exported, Setup, export_onnx, load, make
from vertebra.runtime.quantise import calibration_batches

ENGINES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("engine", ENGINES)
def test_without_images_an_artifact_tells_only_costs(
    engine: str, exported: Exported, artifacts: Artifacts, tmp_path: Path
) -> None:
    made = make(exported, SHAPE, Setup(engine, "int8"), tmp_path)
    assert (made.calibration, made.calibration_images, made.cost_only) == ("random", 8, True)
    again = Artifact.open(tmp_path)
    assert again == made
    assert again.cost_only
    given = artifacts[engine, "int8"]
    assert (given.calibration, given.calibration_images, given.cost_only) == ("given", 8, False)
    plain = artifacts[engine, "fp32"]
    assert (plain.calibration, plain.calibration_images, plain.cost_only) == ("none", 0, False)


@pytest.mark.parametrize("engine", ENGINES)
def test_ranges_come_from_the_images(
    engine: str, exported: Exported, net: nn.Module, tmp_path: Path
) -> None:
    """Calibrated on images a hundred times darker, everything is cut off."""
    given, setup = images(SHAPE), Setup(engine, "int8", threads=1)
    errors = []
    for name, scale in (("same", 1.0), ("darker", 0.01)):
        pictures = scale * images((8, *SHAPE[1:]))
        made = make(exported, SHAPE, setup, tmp_path / name, pictures.astype(np.float32))
        with contextlib.closing(load(made, setup)) as session:
            found = session.numpy(session.run(session.prepare(given)))
        errors.append(error(found, answer(net, given)))
    assert errors[0] < 0.2
    assert errors[1] > 3 * errors[0]


def test_attention_in_eight_bits(tmp_path: Path) -> None:
    """Swin's masks, quantised too, would leave no bits for the scores that they are added to."""
    net = member("swin_t")
    shape = (2, *net.input_size)
    given, setup = images(shape), Setup("onnxruntime", "int8", threads=1)
    exported = export_onnx(net, shape, tmp_path / "model.onnx")
    made = make(exported, shape, setup, tmp_path / "made", images((8, *shape[1:])))
    with contextlib.closing(load(made, setup)) as session:
        found = session.numpy(session.run(session.prepare(given)))
        assert session.share > 0.9
    assert error(found, answer(net, given)) < 0.5


def test_batches_are_filled_from_the_start() -> None:
    pictures = images((5, 1, 2, 2))
    batches = calibration_batches(pictures, (2, 1, 2, 2))
    assert [batch.shape for batch in batches] == 3 * [(2, 1, 2, 2)]
    assert np.array_equal(np.concatenate(batches)[:5], pictures)
    assert np.array_equal(batches[2][1], pictures[0])


def test_random_images_are_always_the_same_and_fill_a_batch() -> None:
    one, other = (np.concatenate(calibration_batches(None, (12, 3, 4, 4))) for _ in range(2))
    assert one.shape == (12, 3, 4, 4)
    assert np.array_equal(one, other)
    assert len(calibration_batches(None, (1, 3, 4, 4))) == 8


@pytest.mark.parametrize("wrong", [(4, 3, 31, 32), (4, 1, 32, 32), (3, 32, 32), (0, 3, 32, 32)])
def test_images_of_another_size_are_refused(
    wrong: tuple[int, ...], exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(VertebraError, match=r"calibration takes images of shape \(N, 3, 32, 32\)"):
        make(exported, SHAPE, Setup("onnxruntime", "int8"), tmp_path, images(wrong))
    with pytest.raises(VertebraError, match="holds no network"):
        Artifact.open(tmp_path)


def test_what_makes_no_file_is_refused(exported: Exported, net: nn.Module, tmp_path: Path) -> None:
    for what, shape, setup, said in (
        (net, SHAPE, Setup("eager"), "there is no file to make"),
        (net, SHAPE, Setup("onnxruntime", "bf16"), "cannot run here: ONNX Runtime's CPU"),
        (exported, (1, 3, 32, 32), Setup("openvino"), "takes images of"),
        (net, (3, 32, 32), Setup("openvino"), "input_shape is"),
    ):
        with pytest.raises(VertebraError, match=said):
            make(what, shape, setup, tmp_path)


def test_records_of_another_kind_are_refused(artifacts: Artifacts, tmp_path: Path) -> None:
    record = json.loads((artifacts["openvino", "fp32"].folder / "engine.json").read_text())
    assert record["versions"].keys() == {"torch", "onnx", "onnxruntime", "openvino", "nncf"}
    (tmp_path / "engine.json").write_text(json.dumps({**record, "schema": "vertebra.engine/0"}))
    with pytest.raises(VertebraError, match=r"is not of vertebra\.engine/1"):
        Artifact.open(tmp_path)
