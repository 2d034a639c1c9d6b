"""The fields of a recipe by their names: full or short, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from vertebra.core import VertebraError, unknown

# What people call some fields; a model and a data set are known by their names.
_SHORT = {
    "model": ("model", "name"),
    "data": ("data", "source"),
    "epochs": ("train", "duration"),
    "train.epochs": ("train", "duration"),
}


def split_assignment(text: str) -> tuple[str, Any]:
    """``"lr=0.05"`` -> ``("lr", 0.05)``; the value is read as YAML.

    Raises:
        VertebraError: no equals sign, or a value that is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise VertebraError(f"expected KEY=VALUE, got '{text}'")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise VertebraError(f"the value of '{text}' is not readable as YAML") from None


def changed_content(
    content: Mapping[str, Any], changes: Mapping[str, Any], recipe: type[BaseModel]
) -> dict[str, Any]:
    """``content`` with each change put where its key says."""
    result = dict(content)
    for key, value in changes.items():
        place = result
        *sections, last = full_key(key, recipe)
        for section in sections:
            there = place.get(section) or {}
            if not isinstance(there, Mapping):
                raise VertebraError(
                    f"recipe section '{section}' should be a mapping, got {there!r}"
                )
            place[section] = dict(there)
            place = place[section]
        place[last] = value
    return result


def full_key(key: str, recipe: type[BaseModel]) -> tuple[str, ...]:
    """The path of a field from its full or short name: "lr" is ("train", "lr").

    Raises:
        VertebraError: no such field; suggests the nearest.
    """
    if key in _SHORT:
        return _SHORT[key]
    path = tuple(key.split("."))
    if path[:2] == ("model", "options") and len(path) == 3:
        return path
    known = _leaves(recipe)
    if path in known:
        return path
    matches = [leaf for leaf in known if leaf[-len(path) :] == path]
    if len(matches) == 1:
        return matches[0]
    # Suggest in the user's own manner: a short name for a short name.
    names = {".".join(leaf[-len(path) :]) for leaf in known} | set(_SHORT)
    raise unknown("recipe key", key, names)


def _leaves(model: type[BaseModel]) -> list[tuple[str, ...]]:
    """Paths of all fields that hold a value and not a section."""
    paths: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            paths += [(name, *rest) for rest in _leaves(annotation)]
        else:
            paths.append((name,))
    return paths


def _known_part(location: list[str], recipe: type[BaseModel]) -> list[str]:
    """A complaint's key without what pydantic adds: a place in a list, a union's branch."""
    if location[:2] == ["model", "options"]:
        return location[:3]
    for leaf in _leaves(recipe):
        if tuple(location[: len(leaf)]) == leaf:
            return list(leaf)
    return location


def speaking(error: ValidationError, recipe: type[BaseModel]) -> VertebraError:
    """The first complaint as one sentence that names the key, the value and what was expected."""
    first = error.errors()[0]
    location = _known_part([str(part) for part in first["loc"]], recipe)
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        leaves = _leaves(recipe)
        siblings = [leaf for leaf in leaves if list(leaf[: len(location) - 1]) == location[:-1]]
        names = {leaf[len(location) - 1] for leaf in siblings}
        return unknown("recipe key", key, {".".join([*location[:-1], name]) for name in names})
    if first["type"] == "missing" and isinstance(first["input"], list | tuple):
        return VertebraError(f"recipe key '{key}' should have more values, got {first['input']!r}")
    if first["type"] == "missing":
        return VertebraError(f"the recipe lacks '{key}'")
    message = first["msg"].removeprefix("Value error, ")
    # A rule about several fields names them itself.
    if first["type"] == "value_error" and not message.startswith("Input should be "):
        return VertebraError(message)
    message = message.removeprefix("Input should be ")
    return VertebraError(f"recipe key '{key}' should be {message}, got {first['input']!r}")
