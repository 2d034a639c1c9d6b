"""What may be asked of an engine, and what is said where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, util
from typing import Any

import onnxruntime
import openvino
import pytest
import torch

from vertebra.core import VertebraError
from vertebra.machine import describe, usable_cores
from vertebra.runtime import ENGINES, Setup, availability, options, unavailable, version
from vertebra.runtime.setup import checked_shape


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"engine": "onnxruntim"}, "unknown engine 'onnxruntim'; did you mean onnxruntime"),
        ({"engine": "eager", "precision": "fp23"}, "unknown precision 'fp23'; did you mean fp"),
        ({"engine": "eager", "layout": "channel_last"}, "did you mean channels_last"),
        ({"engine": "eager", "device": "gpu"}, "unknown device 'gpu'"),
        ({"engine": "eager", "device": "cuda:x"}, "unknown device 'cuda:x'"),
        ({"engine": "eager", "threads": 0}, "at least 1, got 0"),
        ({"engine": "eager", "threads": True}, "at least 1, got True"),
        ({"engine": "eager", "threads": 2.0}, "at least 1, got 2.0"),
        ({"engine": "openvino", "layout": "channels_last"}, "openvino chooses its layout itself"),
    ],
)
def test_a_wrong_word_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(VertebraError, match=said):
        Setup(**wrong)


def test_threads_are_the_cores_of_the_process() -> None:
    assert Setup("eager").thread_count == usable_cores()
    assert Setup("eager", threads=7).thread_count == 7


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 3, 32, 0), (1, 3, 32, 32.0), "1x3x32x32", None])
def test_a_shape_has_four_whole_numbers(shape: object) -> None:
    with pytest.raises(VertebraError, match="input_shape is"):
        checked_shape(shape)


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        (Setup("onnxruntime", "bf16"), "no bf16 convolution"),
        (Setup("onnxruntime", "fp16"), "emulated"),
        (Setup("openvino", "fp16"), "emulated"),
        (Setup("eager", "fp16"), "emulated"),
        (Setup("eager", "int8"), "onnxruntime and openvino do"),
        (Setup("compile", "int8"), "onnxruntime and openvino do"),
        (Setup("cudagraphs"), "needs a GPU"),
        (Setup("tensorrt"), "needs a GPU"),
        (Setup("openvino", device="cuda"), "ask for device cpu"),
        (Setup("onnxruntime", device="cuda"), "ask for device cpu"),
    ],
)
def test_cells_that_no_machine_runs(setup: Setup, reason: str) -> None:
    assert reason in (unavailable(setup) or "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_runs_on_it() -> None:
    for engine in ("eager", "compile", "cudagraphs", "tensorrt"):
        assert unavailable(Setup(engine, device="cuda:1")) == "no GPU"


def test_bf16_wants_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_flags(*flags: str) -> None:
        import dataclasses

        machine = dataclasses.replace(describe(), instruction_sets=flags)
        monkeypatch.setattr(availability, "_this_machine", lambda: machine)

    for engine in ("eager", "compile", "openvino"):
        with_flags("avx2", "avx512f")
        assert unavailable(Setup(engine, "bf16")) == (
            "this CPU does not multiply bfloat16 in hardware"
        )
        with_flags("avx512_bf16")
        assert unavailable(Setup(engine, "bf16")) is None


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*missing: str) -> None:
        monkeypatch.setattr(util, "find_spec", lambda name: None if name in missing else object())

    without("onnxruntime", "openvino", "nncf", "triton")
    assert unavailable(Setup("onnxruntime")) == (
        "onnxruntime is not installed: pip install 'vertebra[onnx]'"
    )
    assert "pip install 'vertebra[openvino]'" in (unavailable(Setup("openvino")) or "")
    without("nncf")
    assert unavailable(Setup("openvino")) is None
    assert "nncf is not installed" in (unavailable(Setup("openvino", "int8")) or "")
    without("onnx")  # the way to both
    assert "onnx is not installed" in (unavailable(Setup("openvino")) or "")


def test_compiling_wants_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert "no C++ compiler" in (unavailable(Setup("compile")) or "")
    assert unavailable(Setup("eager")) is None


def test_versions_are_those_of_the_libraries() -> None:
    assert version("eager") == version("compile") == torch.__version__.partition("+")[0]
    assert version("onnxruntime") == onnxruntime.__version__
    assert openvino.__version__.startswith(version("openvino"))
    with pytest.raises(VertebraError, match="did you mean openvino"):
        version("openvinno")


def test_a_version_of_what_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    with pytest.raises(VertebraError, match="openvino is not installed"):
        version("openvino")


def test_options_are_text_and_tell_quantisers_apart() -> None:
    for engine in ENGINES:
        assert all(isinstance(text, str) for text in options(Setup(engine)).values())
    for engine in ("onnxruntime", "openvino"):
        assert options(Setup(engine, "int8")) != options(Setup(engine))
    options(Setup("openvino"))["hint"] = "throughput"
    assert options(Setup("openvino"))["hint"] == "latency"


def test_asking_loads_no_engine() -> None:
    code = (
        "import sys; from vertebra import runtime\n"
        "for e in ('eager', 'compile', 'onnxruntime', 'openvino'):\n"
        "    for p in runtime.PRECISIONS:\n"
        "        setup = runtime.Setup(e, p)\n"
        "        if runtime.unavailable(setup) is None:\n"
        "            runtime.version(e), runtime.options(setup)\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'nncf', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_environment_is_part_of_how_an_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = options(Setup("openvino"))
    monkeypatch.setenv("KMP_BLOCKTIME", "0")
    assert options(Setup("openvino")) == {**plain, "KMP_BLOCKTIME": "0"}
    # What a measuring process is told by itself, or runs without, changes nothing.
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    assert options(Setup("openvino")) == {**plain, "KMP_BLOCKTIME": "0"}
