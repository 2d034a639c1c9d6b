"""Any network that a command is asked about: by name, by run folder, or from a user's own code."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vertebra.core import VertebraError, place_of, unknown
from vertebra.zoo.create import create
from vertebra.zoo.of_recipe import build

if TYPE_CHECKING:
    from collections.abc import Iterator


def subject(
    target: str, input_size: tuple[int, int, int] | None = None, *, numbers: bool = False
) -> tuple[nn.Module, str]:
    """(network, name) of a target, without numbers where the network can be built so.

    Args:
        target: a name of the zoo or "timm/NAME"; a run folder; or "package.module:factory", where
            factory is a module, or is called without arguments and gives one.
        input_size: (channels, height, width) that a network of the zoo is built for, its own if
            None. A factory's network is as the factory makes it.
        numbers: build it with its initial weights; a run's trained ones are not read here.

    Raises:
        VertebraError: there is no such name, or the factory cannot be had or gives no module.
    """
    if not target.strip():
        raise VertebraError("the name of a network is empty; vertebra models lists them")
    if Path(target).is_dir():
        from vertebra.runs import Run

        with torch.device("cpu" if numbers else "meta"):
            net = build(Run.open(target).recipe)
        return net, net.name
    if ":" in target:
        return _made(target, numbers), target
    _check_name(target)
    with torch.device("cpu" if numbers else "meta"):
        net = create(target, input_size=input_size)
    return net, net.name


def _check_name(target: str) -> None:
    """Refuse what is surely no name of a network, and say what it may have been meant to be."""
    if target.startswith((".", "/", "~")) or ("/" in target and not target.startswith("timm/")):
        raise VertebraError(f"there is no run folder {target}")
    source = Path(target if target.endswith(".py") else f"{target}.py")
    if source.is_file():
        module = ".".join(source.with_suffix("").parts)
        raise VertebraError(f"{source} is code; name what in it makes the network: {module}:NAME")


def size_of(net: nn.Module) -> tuple[int, ...] | None:
    """The input that a network says it is made for: our own, or timm's; None if it does not."""
    size = getattr(net, "input_size", None)
    if size is None:
        size = (getattr(net, "default_cfg", None) or {}).get("input_size")
    return tuple(size) if isinstance(size, tuple | list) else None


def _made(target: str, numbers: bool) -> nn.Module:
    """What "package.module:factory" gives."""
    path, _, name = target.partition(":")
    if path == "timm":
        raise VertebraError(f"a network of timm's is named timm/{name}, with a slash")
    if not path or not name:
        raise VertebraError(f"'{target}' lacks a part of package.module:factory")
    found: Any = _imported(path, name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise unknown(f"name in {path}", part, [n for n in dir(found) if not n.startswith("_")])
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        kind = "Python module" if isinstance(found, ModuleType) else type(found).__name__
        raise VertebraError(f"{target} is a {kind}; it should be a function or a torch.nn.Module")
    net = _called(found, target, numbers)
    if not isinstance(net, nn.Module):
        raise VertebraError(f"{target} gives a {type(net).__name__}, not a torch.nn.Module")
    return net


def _imported(path: str, name: str) -> Any:
    if path.endswith(".py"):
        plain = path.removesuffix(".py").replace("/", ".")
        raise VertebraError(f"a module is named without its ending: {plain}:{name}")
    try:
        with _working_folder_first():
            return importlib.import_module(path)
    except ModuleNotFoundError as error:
        text = f"no module {path!r} to take {name!r} from ({error}); run from the folder it lies in"
        raise VertebraError(text) from error
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise VertebraError(f"importing {path} failed: {_reason(error)}") from error


def _called(factory: Any, target: str, numbers: bool) -> Any:
    """Without numbers if possible: a factory may look at its weights, or load them."""
    try:
        with torch.device("cpu" if numbers else "meta"):
            return factory()
    except (Exception, SystemExit) as error:  # whatever the user's factory raises
        # Only what needs numbers may go better with them; what fails for itself runs once.
        if not numbers and "meta" in str(error).lower():
            return _called(factory, target, numbers=True)
        hint = ""
        if isinstance(error, TypeError) and "argument" in str(error):
            hint = "; it is called without arguments, so name a function that needs none"
        if isinstance(error, OSError):
            hint = "; where it fetches weights, write a function that asks for none"
        raise VertebraError(f"{target} failed: {_reason(error)}{hint}") from error


def _reason(error: BaseException) -> str:
    said = (str(error).strip() or "no reason given").splitlines()[0]
    line = place_of(error)
    return f"{type(error).__name__}: {said}" + (f" ({line})" if line else "")


@contextmanager
def _working_folder_first() -> Iterator[None]:
    """As ``python -m`` does: a module in this folder can be named."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
