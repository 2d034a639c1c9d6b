"""The recipe: everything that decides the numbers of a run, as data.

Four sections, ``model``, ``data``, ``train`` and ``seed``. Where a field may be None the run
decides by a fixed rule of data, network and machine, and writes down what it decided: the recipe in
a run folder has no None left that matters, so replaying it repeats the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vertebra.core import VertebraError, unknown

_BUILT_IN = "recipes"


_Share = Annotated[float, Field(gt=0, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(_Section):
    """Which network. ``num_classes`` and ``in_chans`` None: what the data has."""

    name: str
    num_classes: int | None = Field(None, ge=1)
    in_chans: int | None = Field(None, ge=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float | None = Field(None, ge=0, lt=1)
    options: dict[str, bool | int | float | str] = {}


class AugmentSection(_Section):
    """What changes from epoch to epoch in a training image.

    ``crop``: "pad" pads by ``padding`` pixels and cuts a random window, "resized" cuts a random
    part of ``scale`` of the area and resizes it (Szegedy et al., 2014), "none" takes the centre.
    ``flip``: mirrors every other image; only where a mirrored object is still the same class.
    """

    crop: Literal["pad", "resized", "none"] = "pad"
    padding: int = Field(4, ge=0)
    scale: tuple[_Share, _Share] = (0.35, 1.0)
    flip: bool = False

    @field_validator("scale")
    @classmethod
    def _ascending(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("Input should be the smaller share first")
        return scale


class DataSection(_Section):
    """Which images and how they become batches.

    Sizes are in pixels: the shorter side is resized to ``resize``, of which ``image_size`` is cut.
    None: the source's own size (digits: 32) or the network's. ``mean`` and ``std`` are per channel,
    for values in [0, 1]; None: ImageNet's. ``split_seed`` decides who is in which split where the
    source does not, apart from the run's ``seed`` so that seeds can be compared. ``keep_gib``:
    decoded images kept in memory, in GiB at most; it changes speed only. None: one, or an eighth of
    the machine's memory if that is less.
    """

    source: str
    split_seed: int = Field(0, ge=0)
    image_size: int | None = Field(None, ge=4)
    resize: int | None = Field(None, ge=4)
    channels: Literal[1, 3] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    keep_gib: float | None = Field(None, ge=0)
    augment: AugmentSection = AugmentSection()


class TrainSection(_Section):
    """How the weights are found.

    ``lr`` is the peak rate: reached linearly over ``warmup_epochs``, then following a half cosine
    to zero (Loshchilov and Hutter, 2016). ``weight_decay`` spares norms and biases. ``ema_decay``:
    keep an average of the weights and judge by it; None: no average. ``precision``,
    ``channels_last``, ``device`` and ``threads`` None: a fixed rule of machine and network.
    ``workers`` changes speed only, never numbers.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(64, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_epochs: float = Field(2.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    precision: Literal["fp32", "bf16"] | None = None
    channels_last: bool | None = None
    device: str | None = None
    threads: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=0)


class Recipe(_Section):
    """One training run as data. Immutable; :meth:`override` gives a changed copy."""

    model: ModelSection
    data: DataSection
    train: TrainSection = TrainSection()
    seed: int = Field(0, ge=0)

    @classmethod
    def load(cls, source: str | Path, /, **changes: Any) -> Recipe:
        """Read a recipe and change some of it.

        Args:
            source: the name of a built-in recipe (see :func:`list_recipes`), or a YAML file.
            **changes: ``epochs`` alone shortens the recipe's warm-up to half of them at most.
                ``model`` and ``data`` take a name; any other key is a field, by itself where
                that is unambiguous (``lr=0.05``), or with its section.

        Raises:
            VertebraError: no such recipe, an unknown key or a wrong value.
        """
        content = _read(source)
        changed = cls._validated(_changed(content, changes))
        given = {full_key(key) for key in changes}
        if ("train", "epochs") in given and ("train", "warmup_epochs") not in given:
            half = changed.train.epochs / 2
            return changed.override(warmup_epochs=min(changed.train.warmup_epochs, half))
        return changed

    def override(self, **changes: Any) -> Recipe:
        """A copy with some fields changed; keys and errors as in :meth:`load`."""
        return self._validated(_changed(self.model_dump(mode="json"), changes))

    def to_yaml(self) -> str:
        """The recipe as YAML that :meth:`load` reads back to an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of everything that decides a number; equal for equal training."""
        speed_only = {"train.workers": None, "data.keep_gib": None}
        text = self.override(**speed_only).to_yaml()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def _validated(cls, content: Mapping[str, Any]) -> Recipe:
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise _speaking(error) from None


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    folder = files("vertebra.runs").joinpath(_BUILT_IN)
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


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


def _read(source: str | Path) -> dict[str, Any]:
    """The content of a built-in recipe or of a file."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise VertebraError(f"no recipe file {path}")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise VertebraError(f"{path} is not a recipe: it is not UTF-8 text") from None
    elif str(source) in list_recipes():
        text = files("vertebra.runs").joinpath(_BUILT_IN, f"{source}.yaml").read_text()
    else:
        raise unknown("recipe", str(source), list_recipes())
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise VertebraError(
            f"{path} is not readable as YAML: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(content, dict):
        raise VertebraError(
            f"{path} is not a recipe: expected the sections model, data, train, seed"
        )
    return content


def _changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with each change put where its key says."""
    result = dict(content)
    for key, value in changes.items():
        place = result
        *sections, last = full_key(key)
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


def full_key(key: str) -> tuple[str, ...]:
    """The path of a field from its full or short name: "lr" is ("train", "lr").

    Raises:
        VertebraError: no such field; suggests the nearest.
    """
    if key in ("model", "data"):
        return ("model", "name") if key == "model" else ("data", "source")
    path = tuple(key.split("."))
    if path[:2] == ("model", "options") and len(path) == 3:
        return path
    known = _leaves(Recipe)
    if path in known:
        return path
    matches = [leaf for leaf in known if leaf[-len(path) :] == path]
    if len(matches) == 1:
        return matches[0]
    # Suggest in the user's own manner: a short name for a short name.
    raise unknown("recipe key", key, {".".join(leaf[-len(path) :]) for leaf in known})


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


def _known_part(location: list[str]) -> list[str]:
    """A complaint's key without what pydantic adds: a place in a list, a union's branch."""
    if location[:2] == ["model", "options"]:
        return location[:3]
    for leaf in _leaves(Recipe):
        if tuple(location[: len(leaf)]) == leaf:
            return list(leaf)
    return location


def _speaking(error: ValidationError) -> VertebraError:
    """The first complaint as one sentence that names the key, the value and what was expected."""
    first = error.errors()[0]
    location = _known_part([str(part) for part in first["loc"]])
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        siblings = [
            leaf for leaf in _leaves(Recipe) if list(leaf[: len(location) - 1]) == location[:-1]
        ]
        names = {leaf[len(location) - 1] for leaf in siblings}
        return unknown("recipe key", key, {".".join([*location[:-1], name]) for name in names})
    if first["type"] == "missing":
        return VertebraError(f"the recipe lacks '{key}'")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return VertebraError(f"recipe key '{key}' should be {message}, got {first['input']!r}")
