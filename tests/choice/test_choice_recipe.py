"""Advice on training: it runs as it stands, agrees with what training does, and gives reasons."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from vertebra.choice.advice import starting
from vertebra.choice.advice.situation import Situation
from vertebra.choice.candidate import Candidate
from vertebra.choice.choice import Choice
from vertebra.choice.recipe import Advice, recipe
from vertebra.choice.requirement import Requirement
from vertebra.core import VertebraError
from vertebra.data import open_dataset
from vertebra.machine import describe
from vertebra.runs import Recipe
from vertebra.train.norms import LEAST_IMAGES
from vertebra.train.optimizer import frozen_names
from vertebra.train.rules import images_at_once, resolve
from vertebra.zoo import create, get, list_models

FIELDS = (
    "start norm batch optimizer schedule resolution augmentation freeze layer_decay regularisation"
).split()
# The largest ones say nothing more here, and take long even without numbers.
NETWORKS = [name for name in list_models() if get(name).params < 1.5e8]


def _advice(model: str, **asked: Any) -> Advice:
    return recipe(model, Requirement(**asked))


@given(
    st.sampled_from(list_models()),
    st.none() | st.integers(2, 10**7),
    st.sampled_from((0, 1, 4, 8, 64)),
    st.booleans(),
    st.none() | st.integers(1, 512),
    st.none() | st.sampled_from((32, 224, 384)),
    st.sampled_from(("photographs", "near", "far")),
)
@example("resnet50", 2_000_000, 4, True, None, None, "far")
@settings(max_examples=60)
def test_whatever_is_asked_the_recipe_is_valid(
    model: str,
    images: int | None,
    gpus: int,
    pretrained: bool,
    batch: int | None,
    input_size: int | None,
    domain: str,
) -> None:
    advice = recipe(
        model,
        Requirement(
            images=images,
            gpus=gpus,
            pretrained=pretrained,
            batch=batch,
            input_size=input_size,
            domain=domain,
        ),
    )
    assert [item.field for item in advice.items] == FIELDS
    assert all(item.value and item.reason and item.source for item in advice.items)
    whole = advice.recipe()
    assert whole.model.name == model
    assert whole.model.weights == advice.weights
    assert (advice.weights is None) == (advice["start"].value == "scratch")
    json.dumps(advice.to_dict())
    if batch is not None:
        at_once = images_at_once(whole, images or 10**6, max(1, gpus))
        assert at_once <= batch


@given(st.sampled_from(list_models()), st.integers(2, 10**7), st.sampled_from((0, 2, 16)))
@settings(max_examples=40)
def test_the_command_says_the_same_as_the_recipe(model: str, images: int, gpus: int) -> None:
    advice = _advice(model, images=images, gpus=gpus, batch=24, domain="far")
    for command, own in zip(advice.commands(), (advice, advice.other), strict=False):
        assert own is not None
        assert _loaded(shlex.split(command)) == own.recipe()


def _loaded(words: list[str]) -> Recipe:
    """The recipe that ``vertebra train`` would make of the words."""
    from vertebra.cli.train import _recipe

    words = words[words.index("train") + 1 :]
    data, options = words[0], list(zip(words[1::2], words[2::2], strict=True))
    named = dict(pair for pair in options if pair[0] != "--set")
    changes = [value for name, value in options if name == "--set"]
    assert set(named) <= {"--model", "--recipe", "--weights"}
    given = {"data": data, "model": named["--model"], "model.weights": named.get("--weights")}
    return _recipe(named["--recipe"], given, changes)


def test_training_takes_it_as_it_is() -> None:
    """Resolved on digits, since pretrained weights cannot be had everywhere."""
    digits, machine = open_dataset("digits"), describe()
    for name in ("resnet20", "vit_ti_16", "convnext_atto"):
        asked = Requirement.of_card(digits.card, pretrained=False, input_size=32, batch=16)
        resolved = resolve(recipe(name, asked, data="digits").recipe(), digits, machine)
        assert resolved.data.image_size == 32
        assert resolved.train.frozen_norm is False


def test_a_card_knows_its_data() -> None:
    card = open_dataset("digits").card
    advice = recipe("resnet20", card)
    assert advice.data == "digits"
    assert advice["start"].value == "scratch"
    assert "no weights of resnet20" in advice["start"].reason


@pytest.mark.parametrize("name", NETWORKS)
def test_norms_are_what_the_networks_have(name: str) -> None:
    with torch.device("meta"):
        modules = list(create(name, seed=0).modules())
    kind = Situation(get(name), Requirement(), None).norm
    has_batch = any(isinstance(module, nn.BatchNorm2d) for module in modules)
    has_layer = any("LayerNorm" in type(module).__name__ for module in modules)
    assert kind == ("batch" if has_batch else "layer" if has_layer else "none")


@pytest.mark.parametrize("family", sorted({get(name).family for name in list_models()}))
def test_early_layers_are_found_by_their_names(family: str) -> None:
    name = min(list_models(family=family), key=lambda model: get(model).params)
    with torch.device("meta"):
        net = create(name, seed=0)
    found = frozen_names(net, starting.early_layers(Situation(get(name), Requirement(), None)))
    assert 0 < len(found) < len(list(net.parameters()))


def test_frozen_norms_agree_with_training() -> None:
    """Where training decides by itself, the advice says what it will decide, and leaves it open."""
    assert starting.LEAST_IMAGES == LEAST_IMAGES
    dataset, machine = open_dataset("digits"), describe()
    for batch in (2, 8, 15, 16, 64):
        advice = _advice("resnet18", images=20_000, batch=batch)
        assert "train.frozen_norm" not in advice.to_recipe()
        # The network starts from a file that is not there: what training decides hangs on it only
        # by its presence, so that the rule itself is asked.
        at_once = images_at_once(advice.recipe(), 20_000, 1)
        assert (advice["norm"].value == "frozen") == (at_once < LEAST_IMAGES)
    scratch = _advice("resnet20", images=20_000, batch=8, pretrained=False, input_size=32)
    assert scratch["norm"].value == "group"
    resolved = resolve(scratch.recipe().override(data="digits"), dataset, machine)
    assert resolved.train.frozen_norm is False


def test_thresholds_that_disagree_are_named() -> None:
    reason = _advice("resnet50", images=20_000, batch=4)["norm"].reason
    assert all(number in reason for number in ("4 to 8", "8 to 16", "32"))
    assert "do not mend" in reason or "does not mend" in reason
    warmup = _advice("resnet50", images=300_000, pretrained=False)["schedule"].reason
    assert "5 to 10 %" in warmup
    assert "1 to 5 %" in warmup


@pytest.mark.parametrize(
    ("model", "asked", "field", "value"),
    [
        ("resnet50", {"images": 20_000, "batch": 2}, "norm", "frozen"),
        ("resnet50", {"images": 4_000}, "norm", "frozen"),
        ("resnet50", {"images": 40_000}, "norm", "batch"),
        ("convnext_tiny", {"images": 20_000, "batch": 2}, "norm", "layer"),
        ("vgg16", {"images": 20_000, "batch": 2}, "norm", "none"),
        ("resnet50", {"images": 20_000, "batch": 2, "pretrained": False}, "norm", "group"),
        ("resnet50", {"images": 500}, "freeze", "all but the head"),
        ("resnet50", {"images": 4_000}, "freeze", "early"),
        ("resnet50", {"images": 49_999}, "freeze", "early"),
        ("resnet50", {"images": 50_000}, "freeze", "nothing"),
        ("resnet50", {"images": 4_000, "domain": "far"}, "freeze", "nothing"),
        ("resnet50", {"images": 4_000, "pretrained": False}, "freeze", "nothing"),
        ("resnet50", {"images": 2_000_000, "domain": "far"}, "start", "both"),
        ("resnet50", {"images": 2_000_000}, "start", "pretrained"),
        ("resnet50", {"images": 200_000, "domain": "far"}, "start", "pretrained"),
        ("efficientnet_lite4", {"images": 20_000}, "start", "scratch"),
        ("resnet50", {"images": 20_000}, "optimizer", "adamw"),
        ("swin_t", {"images": 20_000, "pretrained": False}, "optimizer", "adamw"),
        ("convnext_tiny", {"images": 20_000, "pretrained": False}, "optimizer", "adamw"),
        ("resnet50", {"images": 20_000, "pretrained": False}, "optimizer", "sgd"),
        ("efficientnet_b4", {"images": 300_000, "pretrained": False}, "resolution", "380 pixels"),
        ("resnet50", {"images": 300_000}, "layer_decay", "0.9"),
    ],
)
def test_what_is_advised(model: str, asked: dict[str, Any], field: str, value: str) -> None:
    assert _advice(model, **asked)[field].value == value


def test_both_starts_are_two_commands() -> None:
    advice = _advice("resnet50", images=2_000_000, domain="far")
    pretrained, scratch = advice.commands()
    assert "--weights" in pretrained
    assert "--weights" not in scratch
    assert advice.other is not None
    assert advice.other.recipe().train.optimizer == "sgd"


def test_sgd_from_scratch_scales_as_taught() -> None:
    """0.1 * batch / 256, whatever the batch becomes."""
    from vertebra.train.schedule import peak_rate

    for images in (5_000, 50_000, 5_000_000):
        train = _advice("resnet50", images=images, pretrained=False).recipe().train
        assert peak_rate(train) == pytest.approx(0.1 * train.batch_size / 256)


def test_what_was_chosen_keeps_its_weights() -> None:
    asked = Requirement(images=20_000)
    candidate = Candidate("resnet50", "resnet", 1, 1.0, "eager", "fp32", weights="IMAGENET1K_V1")
    choice = Choice(asked, recommended=candidate)
    assert recipe(choice, asked).weights == recipe(candidate, asked).weights == "IMAGENET1K_V1"
    assert recipe(get("resnet50"), asked).weights == "IMAGENET1K_V2"
    with pytest.raises(VertebraError, match="recommends no network"):
        recipe(Choice(asked), asked)


def test_licences_are_kept() -> None:
    assert _advice("vit_b_16", images=20_000, licence=("apache-2.0",)).weights == (
        "timm:orig_in21k_ft_in1k"
    )


def test_what_is_no_question_is_refused() -> None:
    with pytest.raises(VertebraError, match="did you mean resnet50"):
        _advice("resnet5O")
    with pytest.raises(VertebraError, match="recipes are for images"):
        _advice("resnet50", kind="table")
    with pytest.raises(VertebraError, match="did you mean norm"):
        _advice("resnet50")["norms"]


def test_the_decisions_refer_to_what_is_there() -> None:
    root = Path(__file__).parents[2]
    for images in (500, 5_000, 500_000):
        for item in _advice("resnet50", images=images).items:
            for word in item.source.replace(":", " ").split():
                assert not word.startswith("docs/") or (root / word).is_file()
