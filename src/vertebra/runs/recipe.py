"""The recipe: everything that decides the numbers of a run, as data.

Four sections, ``model``, ``data``, ``train`` and ``seed``; :mod:`vertebra.runs.sections` has their
fields. Where a field may be None the run decides by a fixed rule of data, network and machine, and
writes down what it decided: the recipe in a run folder has no None left that matters, so replaying
it repeats the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from vertebra.core import Preprocessing, VertebraError, unknown
from vertebra.runs.duration import Duration
from vertebra.runs.keys import changed_content, full_key, speaking
from vertebra.runs.sections import AboutSection, DataSection, ModelSection, Section, TrainSection
from vertebra.runs.sections import AugmentSection as AugmentSection

_BUILT_IN = "recipes"
_DURATION = ("epochs", "train.epochs", "duration", "train.duration")
# Fields beside which the checksum of what they name is kept.
_CHECKSUMS = {("model", "weights"), ("train", "distill", "teacher")}
# Fields that change how fast a run is and none of its numbers.
_SPEED_ONLY: dict[str, Any] = {
    "train.workers": None,
    "data.cache": None,
    "data.cache_gib": None,
    "data.cache_folder": None,
}


class Recipe(Section):
    """One training run as data. Immutable; :meth:`override` gives a changed copy."""

    about: AboutSection = AboutSection()
    model: ModelSection
    data: DataSection
    train: TrainSection = TrainSection()
    seed: int = Field(0, ge=0)

    @classmethod
    def load(cls, source: str | Path, /, **changes: Any) -> Recipe:
        """Read a recipe and change some of it.

        Args:
            source: the name of a built-in recipe (see :func:`list_recipes`), or a YAML file.
            **changes: ``model`` and ``data`` take a name, ``epochs`` is the duration; any other
                key is a field, by itself where that is unambiguous (``lr=0.05``), or with its
                section. Another duration scales what the recipe says in epochs with it: where the
                rate steps, the head's time alone, the sizes; a warm-up is shortened and not
                lengthened. What is itself given stays.

        Raises:
            VertebraError: no such recipe, an unknown key or a wrong value.
        """
        content = _read(source)
        given = {full_key(key, cls) for key in changes}
        # A checksum belongs to the file that the recipe named, and not to one named now.
        for path in _CHECKSUMS & given:
            changes[".".join((*path[:-1], f"{path[-1]}_sha256"))] = None
        recipe = cls._validated(changed_content(content, changes, cls))
        if ("train", "duration") not in given:
            return recipe
        others = {key: value for key, value in changes.items() if key not in _DURATION}
        return recipe._in_proportion(cls._validated(changed_content(content, others, cls)), given)

    def override(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, and only these; keys and errors as in :meth:`load`."""
        content = self.model_dump(mode="json")
        return self._validated(changed_content(content, changes, type(self)))

    def to_yaml(self) -> str:
        """The recipe as YAML that :meth:`load` reads back to an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @property
    def preprocessing(self) -> Preprocessing:
        """The evaluation transform, of a resolved recipe.

        Raises:
            VertebraError: sizes, mean or deviation are still open.
        """
        data = self.data
        if not (data.image_size and data.resize and data.mean and data.std):
            raise VertebraError("the recipe is not resolved: it leaves preprocessing open")
        interpolation = data.resize_filter or "bilinear"
        return Preprocessing(data.image_size, data.resize, data.mean, data.std, interpolation)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of everything that decides a number; equal for equal training."""
        content = self.override(**_SPEED_ONLY).model_dump(mode="json")
        del content["about"]
        text = yaml.safe_dump(content, sort_keys=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _in_proportion(self, before: Recipe, given: set[tuple[str, ...]]) -> Recipe:
        """The durations of ``before`` that were not given, scaled to this recipe's own."""
        new, old = self.train.duration, before.train.duration
        if new.unit != old.unit or new == old:
            return self
        factor = new.value / old.value

        def scaled(duration: Duration) -> Duration:
            return duration.scaled(factor) if duration.unit == new.unit else duration

        train, changes = before.train, dict[str, Any]()
        changes["train.warmup"] = str(train.warmup.scaled(factor) if factor < 1 else train.warmup)
        if train.step_every is not None:
            changes["train.step_every"] = str(scaled(train.step_every))
        changes["train.step_at"] = [str(scaled(at)) for at in train.step_at]
        changes["train.head_first"] = str(scaled(train.head_first))
        stages = {round(scaled(start).value): size for start, size in before.data.progressive}
        changes["data.progressive"] = [[start, size] for start, size in sorted(stages.items())]
        left = {key: value for key, value in changes.items() if tuple(key.split(".")) not in given}
        return self.override(**left)

    @classmethod
    def _validated(cls, content: Mapping[str, Any]) -> Recipe:
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise speaking(error, cls) from None


def field_path(key: str) -> tuple[str, ...]:
    """The path of a recipe's field from its full or short name: "lr" is ("train", "lr").

    Raises:
        VertebraError: no such field; suggests the nearest.
    """
    return full_key(key, Recipe)


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    folder = files("vertebra.runs").joinpath(_BUILT_IN)
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def recipe_text(source: str | Path) -> str:
    """The YAML of a built-in recipe or of a file, with its comments.

    Raises:
        VertebraError: no such recipe, or a file that is no text.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise VertebraError(f"no recipe file {path}")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise VertebraError(f"{path} is not a recipe: it is not UTF-8 text") from None
    if str(source) in list_recipes():
        return files("vertebra.runs").joinpath(_BUILT_IN, f"{source}.yaml").read_text()
    raise unknown("recipe", str(source), list_recipes())


def _read(source: str | Path) -> dict[str, Any]:
    """The content of a built-in recipe or of a file."""
    text = recipe_text(source)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise VertebraError(
            f"{source} is not readable as YAML: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(content, dict):
        raise VertebraError(
            f"{source} is not a recipe: expected the sections model, data, train, seed"
        )
    return content
