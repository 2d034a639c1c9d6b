"""Recipes: what can be written, what is refused and in which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.core import VertebraError
from vertebra.runs import Duration, Recipe, list_recipes
from vertebra.runs.keys import split_assignment


def refused(source: str | Path = "scratch-small", **changes: Any) -> str:
    """The one line with which a recipe is refused."""
    with pytest.raises(VertebraError) as caught:
        Recipe.load(source, **changes)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "pydantic" not in message
    assert "validation error" not in message
    return message


def assigned(*texts: str) -> Recipe:
    """The recipe that the command line makes of ``--set`` texts."""
    return Recipe.load("scratch-small", **dict(split_assignment(text) for text in texts))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Reading


def test_every_built_in_recipe_is_read() -> None:
    assert "scratch-small" in list_recipes()
    for name in list_recipes():
        recipe = Recipe.load(name)
        assert recipe.model.name
        assert recipe.train.duration.value >= 1
        assert recipe.about.origin, "a recipe names where it comes from"
        assert recipe.about.reached, "and what it reached there"


def test_a_recipe_of_two_lines_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "model: {name: resnet18}\ndata: {source: photos}\n")
    recipe = Recipe.load(path)
    assert (recipe.model.name, recipe.data.source, recipe.seed) == ("resnet18", "photos", 0)
    assert Recipe.load(str(path)) == recipe


def test_changes_by_short_and_by_full_key() -> None:
    short = Recipe.load("scratch-small", lr=0.05, crop="none", model="resnet18", data="x")
    full = Recipe.load(
        "scratch-small",
        **{
            "train.lr": 0.05,
            "data.augment.crop": "none",
            "model.name": "resnet18",
            "data.source": "x",
        },
    )
    half = Recipe.load(
        "scratch-small", **{"lr": 0.05, "augment.crop": "none", "name": "resnet18", "data": "x"}
    )
    assert short == full == half
    content = short.model_dump()
    assert content["train"]["lr"] == 0.05
    assert content["data"]["augment"] == {
        **Recipe.load("scratch-small").model_dump()["data"]["augment"],
        "crop": "none",
    }
    assert content["model"]["name"] == "resnet18"
    assert content["data"]["source"] == "x"


def test_override_gives_a_changed_copy() -> None:
    recipe = Recipe.load("scratch-small")
    changed = recipe.override(seed=3, ema_decay=0.99)
    assert (changed.seed, changed.train.ema_decay) == (3, 0.99)
    assert (recipe.seed, recipe.train.ema_decay) == (0, None)
    assert changed.override(seed=0, ema_decay=None) == recipe
    with pytest.raises(VertebraError, match="lr"):
        recipe.override(lr="fast")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "step_every"),
        ({"lr_scaling": "linear"}, "lr_batch"),
        ({"folds": 5}, "together"),
        ({"folds": 5, "fold": 5}, "below data.folds"),
        ({"progressive": [["5ep", 64]]}, "0ep on"),
        ({"progressive": [["0ep", 64], ["0.5ep", 96]]}, "whole epochs"),
        ({"policy": "randaugmnt"}, "randaugment"),
        ({"optimizer": "lions"}, "lion"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    changes: dict[str, object], message: str
) -> None:
    assert message in refused(**changes)


def test_what_the_recipe_is_from_decides_no_number() -> None:
    recipe = Recipe.load("scratch-small")
    assert recipe.override(**{"about.reached": "more"}).digest == recipe.digest
    for speed in ({"workers": 3}, {"cache": "none"}, {"cache_gib": 2}, {"cache_folder": "x"}):
        assert recipe.override(**speed).digest == recipe.digest
    for numbers in ({"lr": 1}, {"seed": 1}, {"decode": "scaled"}, {"micro_batch": 8}):
        assert recipe.override(**numbers).digest != recipe.digest


def test_options_of_a_family_are_taken_by_full_key() -> None:
    recipe = assigned("model.options.width=2", "model.options.act=silu")
    assert recipe.model.options == {"width": 2, "act": "silu"}


# What is refused


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("epohcs", "epochs"),
        ("train.weight_deacy", "train.weight_decay"),
        ("batchsize", "batch_size"),
        ("LR", "lr"),
        ("data.augment.filp", "data.augment.flip"),
    ],
)
def test_an_unknown_key_suggests(key: str, suggestion: str) -> None:
    message = refused(**{key: 1})
    assert f"'{key}'" in message
    assert f"did you mean {suggestion}?" in message


def test_the_source_has_a_short_name_like_any_other_field() -> None:
    assert Recipe.load("scratch-small").override(source="photos").data.source == "photos"
    assert assigned("source=photos").data.source == "photos"


@pytest.mark.parametrize("key", ["zzz", "train.zzz", "train", "data.augment", "", "."])
def test_a_key_that_is_no_field(key: str) -> None:
    assert "unknown recipe key" in refused(**{key: 1})


def test_an_unknown_key_in_a_file_suggests(tmp_path: Path) -> None:
    for text, key, suggestion in [
        ("model: {name: x}\ndata: {source: x}\ntrian: {lr: 1}", "trian", "train"),
        ("model: {name: x}\ndata: {source: x, imagesize: 9}", "data.imagesize", "data.image_size"),
        (
            "model: {name: x}\ndata: {source: x, augment: {pading: 9}}",
            "data.augment.pading",
            "data.augment.padding",
        ),
    ]:
        message = refused(write(tmp_path / "r.yaml", text))
        assert f"'{key}'" in message
        assert f"did you mean {suggestion}?" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.lr", "fast"),
        ("train.lr", None),
        ("train.lr", [0.1]),
        ("train.duration", [2.5]),
        ("train.duration", "ten"),
        ("data.augment.flip", "perhaps"),
        ("data.augment.scale", 0.5),
        ("data.mean", 0.5),
        ("data.mean", ["a", "b", "c"]),
        ("data.channels", 2),
        ("data.augment.crop", "centre"),
        ("train.optimizer", "adamx"),
        ("train.precision", "fp8"),
        ("model.name", 18),
        ("seed", "x"),
    ],
)
def test_a_wrong_type_names_the_key_and_the_value(key: str, value: object) -> None:
    message = refused(**{key: value})
    assert f"'{key}" in message
    first = value[0] if isinstance(value, list) else value
    assert repr(value) in message or repr(first) in message


def test_an_option_of_a_wrong_type_is_named_as_the_user_knows_it() -> None:
    # pydantic adds which branch of the union failed first: "model.options.depth.bool".
    assert "'model.options.depth'" in refused(**{"model.options.depth": [1, 2]})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.duration", 0),
        ("train.batch_size", 0),
        ("train.lr", 0),
        ("train.lr", -0.1),
        ("train.lr", float("nan")),
        ("train.lr", float("inf")),
        ("train.momentum", 1.0),
        ("train.weight_decay", -1e-4),
        ("train.weight_decay", float("nan")),
        ("train.weight_decay", float("inf")),
        ("train.label_smoothing", 1.0),
        ("train.ema_decay", 1.0),
        ("train.warmup", -1),
        ("train.warmup", float("inf")),
        ("train.workers", -1),
        ("train.threads", 0),
        ("train.betas", [0.9, 1.0]),
        ("train.betas", [-0.1, 0.9]),
        ("data.image_size", 3),
        ("data.augment.padding", -1),
        ("data.augment.scale", [0.0, 1.0]),
        ("data.augment.scale", [0.9, 0.1]),
        ("data.augment.scale", [0.5, 2.0]),
        ("data.std", [0.0, 0.2, 0.2]),
        ("data.std", [-0.1, 0.2, 0.2]),
        ("data.split_seed", -1),
        ("model.dropout", 1.0),
        ("model.num_classes", 0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_names_the_key(key: str, value: object) -> None:
    assert f"'{key}" in refused(**{key: value})


@pytest.mark.parametrize("missing", ["model", "data", "model.name", "data.source"])
def test_what_is_lacking_is_named(tmp_path: Path, missing: str) -> None:
    content: dict[str, Any] = {"model": {"name": "x"}, "data": {"source": "x"}}
    section, _, field = missing.partition(".")
    if field:
        content[section] = {}
    else:
        del content[section]
    message = refused(write(tmp_path / "r.yaml", yaml.safe_dump(content)))
    assert f"lacks '{missing}'" in message


def test_an_unknown_recipe_suggests() -> None:
    message = refused("scratch-smal")
    assert "did you mean scratch-small?" in message


@pytest.mark.parametrize(
    "text",
    ["- model\n- data\n", "just words", "", "42", "null", "# only a comment\n"],
    ids=["list", "words", "empty", "number", "null", "comment"],
)
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "r.yaml", text)
    message = refused(path)
    assert str(path) in message
    assert "model, data, train" in message


@pytest.mark.parametrize(
    "text", ["model: [", "a: b: c", "\tx: 1", "model: !!python/name:os.system"]
)
def test_a_file_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "r.yaml", text)
    message = refused(path)
    assert str(path) in message
    assert "YAML" in message


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80model")
    assert str(path) in refused(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "r.yaml") in refused(tmp_path / "r.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert str(tmp_path / "folder.yaml") in refused(tmp_path / "folder.yaml")


@pytest.mark.parametrize("section", ["train: 5", "train: [1]", "train: fast", "model: resnet18"])
def test_a_section_that_is_none(tmp_path: Path, section: str) -> None:
    text = f"model: {{name: x}}\ndata: {{source: x}}\n{section}\n"
    path = write(tmp_path / "r.yaml", text)
    assert f"'{section.partition(':')[0]}'" in refused(path)
    refused(path, lr=0.1, name="x")


def test_an_empty_section_means_its_defaults_or_is_named(tmp_path: Path) -> None:
    """``train:`` with every line below it commented out is how people try things."""
    path = write(tmp_path / "r.yaml", "model: {name: x}\ndata: {source: x}\ntrain:\n")
    assert "'train'" in refused(path)


# Assignments from the command line


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("lr=0.05", "lr", 0.05),
        ("lr=1e-3", "lr", 0.001),
        ("lr=1E-3", "lr", 0.001),
        ("lr=.5", "lr", 0.5),
        ("lr=1", "lr", 1.0),
        ("weight_decay=5e-05", "weight_decay", 5e-05),
        ("epochs=5", "duration", Duration(5)),
        ("warmup=50ba", "warmup", Duration(50, "ba")),
        ("flip=true", "flip", True),
        ("flip=False", "flip", False),
        ("flip=no", "flip", False),
        ("ema_decay=null", "ema_decay", None),
        ("ema_decay=", "ema_decay", None),
        ("ema_decay=0.999", "ema_decay", 0.999),
        ("device=cuda:0", "device", "cuda:0"),
        ("mean=[0.5, 0.5, 0.5]", "mean", (0.5, 0.5, 0.5)),
        ("betas=[0.9, 0.95]", "betas", (0.9, 0.95)),
        (" lr = 0.05", "lr", 0.05),
        ("train.lr=0.05", "lr", 0.05),
        ("data=a=b", "source", "a=b"),
        ("data=/photos/with spaces", "source", "/photos/with spaces"),
    ],
)
def test_an_assignment_becomes_a_value(text: str, key: str, value: object) -> None:
    recipe = assigned(text)
    sections = (recipe, recipe.model, recipe.data, recipe.data.augment, recipe.train)
    (found,) = [getattr(s, key) for s in sections if key in type(s).model_fields]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["lr", "", "=5", " =5", "lr: 5", "--lr"])
def test_no_assignment(text: str) -> None:
    with pytest.raises(VertebraError, match="KEY=VALUE"):
        split_assignment(text)


@pytest.mark.parametrize("text", ["lr=[1", "lr={", "lr='", "lr=a: b: c"])
def test_an_assignment_that_is_no_yaml(text: str) -> None:
    with pytest.raises(VertebraError) as caught:
        split_assignment(text)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_names_that_yaml_reads_as_something_else() -> None:
    """A folder called 2024 or a network called no: refused with the key, or taken as text."""
    for text, key in (("data=2024", "source"), ("data=no", "source"), ("device=0", "device")):
        try:
            recipe = assigned(text)
        except VertebraError as error:
            message = str(error)
        else:
            message = f"{key} {recipe.data.source} {recipe.train.device}"
        assert key in message
        assert text.partition("=")[2] in message or "False" in message


# There and back


def test_yaml_of_the_built_in_recipes_is_read_back(tmp_path: Path) -> None:
    for name in list_recipes():
        recipe = Recipe.load(name)
        assert Recipe.load(write(tmp_path / "r.yaml", recipe.to_yaml())) == recipe


positive = st.floats(min_value=1e-300, max_value=1e300)
share = st.floats(min_value=0, max_value=1, exclude_max=True)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": positive,
        "weight_decay": st.floats(min_value=0, max_value=1e300),
        "momentum": share,
        "betas": st.tuples(share, share),
        "epochs": st.integers(1, 10**6),
        "seed": st.integers(0, 2**63),
        "ema_decay": st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
        "optimizer": st.sampled_from(["sgd", "adamw"]),
        "flip": st.booleans(),
        "channels": st.sampled_from([None, 1, 3]),
        "mean": st.none() | st.tuples(share, share, share),
        "data": st.text(max_size=30),
        "device": st.none() | st.text(max_size=10),
        "options": st.dictionaries(
            st.text(max_size=8),
            st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=8),
            max_size=3,
        ),
    },
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes") / "r.yaml"


@settings(max_examples=150)
@given(changes=CHANGES)
def test_any_recipe_is_read_back_equal(scratch: Path, changes: dict[str, Any]) -> None:
    options = changes.pop("options", {})
    recipe = Recipe.load("scratch-small", **changes)
    content = recipe.model_dump()
    content["model"]["options"] = options
    recipe = Recipe.model_validate(content)
    again = Recipe.load(write(scratch, recipe.to_yaml()))
    assert again == recipe
    kinds = {key: type(value) for key, value in recipe.model.options.items()}
    assert {key: type(value) for key, value in again.model.options.items()} == kinds
    assert again.to_yaml() == recipe.to_yaml()
