"""A network in an engine, ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.core import VertebraError
from vertebra.runtime.artifact import Artifact
from vertebra.runtime.availability import require
from vertebra.runtime.session import Session
from vertebra.runtime.setup import Setup, Shape, checked_shape

if TYPE_CHECKING:
    from torch import nn


def load(
    what: nn.Module | Artifact | Path | str,
    setup: Setup,
    input_shape: Shape | None = None,
    check: bool = True,
) -> Session:
    """Load a network into an engine; PyTorch is imported only where PyTorch runs it.

    Args:
        what: for eager PyTorch and what compiles it a network, which stays as it is and shares its
            memory where nothing has to change. For the others an artifact of :func:`make`, its
            folder, or a file (.onnx, OpenVINO's .xml).
        setup: the engine, and how it shall run.
        input_shape: (batch, channels, height, width); a file knows its own.
        check: find out the precision that runs at once. Otherwise that is left to the first reading
            of ``share``, where it takes loading a second time: whoever times the first call wants
            no other before.

    Raises:
        VertebraError: the cell cannot run here; ``what`` does not fit the setup; or most of the
            network would run in another precision than asked.
    """
    session = _session(what, setup, input_shape)
    if check:
        _ = session.share  # reading it raises where it is not as asked
    return session


def _session(
    what: nn.Module | Artifact | Path | str, setup: Setup, input_shape: Shape | None
) -> Session:
    require(setup)
    shape = None if input_shape is None else checked_shape(input_shape)
    if isinstance(what, str):
        what = Path(what)
    if isinstance(what, Artifact | Path):
        return _from_file(_file(what, setup, shape), setup, shape)
    if not setup.runs_in_torch:
        raise VertebraError(f"{setup.engine} loads a file; runtime.make() writes it")
    if shape is None:
        raise VertebraError(f"{setup.engine} has to be told input_shape, like (1, 3, 224, 224)")
    return _from_network(what, setup, shape)


def _file(what: Artifact | Path, setup: Setup, shape: Shape | None) -> Path:
    """The file to load, once it is known to fit."""
    if setup.runs_in_torch:
        raise VertebraError(f"{setup.engine} runs a network itself and loads no file")
    if isinstance(what, Path) and what.is_dir():
        what = Artifact.open(what)
    if isinstance(what, Artifact):
        what.check(setup, shape)
        return what.path
    if not what.is_file():
        raise VertebraError(f"there is no file {what}")
    return what


def _from_file(file: Path, setup: Setup, shape: Shape | None) -> Session:
    if setup.engine == "openvino":
        from vertebra.runtime.engine_openvino import OpenVinoSession

        return OpenVinoSession(file, setup, shape)
    from vertebra.runtime.engine_onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(file, setup, shape)


def _from_network(net: nn.Module, setup: Setup, shape: Shape) -> Session:
    if setup.engine == "compile":
        from vertebra.runtime.engine_compile import CompiledSession

        return CompiledSession(net, setup, shape)
    if setup.engine == "cudagraphs":
        from vertebra.runtime.engine_cudagraphs import CudaGraphSession

        return CudaGraphSession(net, setup, shape)
    from vertebra.runtime.engine_eager import EagerSession

    return EagerSession(net, setup, shape)
