"""What the network is shown: resolution, augmentation; and what keeps it from learning by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.choice.advice.item import Item
from vertebra.choice.advice.situation import FEW, MANY, Situation
from vertebra.report.words import count

if TYPE_CHECKING:
    from vertebra.runs import Recipe

TAUGHT = "commonly taught"
MEASURED = "docs/recipes.md: measured here on digits, with five seeds"


def resolution(situation: Situation) -> Item:
    """Pixels of a side."""
    size, own = situation.size, situation.recipe().data.image_size
    changes: dict[str, Any] = {}
    asked = situation.requirement.input_size
    if asked is not None:
        why = "as asked for"
        changes = {"data.image_size": size, "data.resize": None}
    elif own is not None and own != size:
        why = f"the size that {situation.architecture.name} was designed for"
        changes = {"data.image_size": size, "data.resize": size * 8 // 7}
    elif own is not None:
        why = f"as the recipe '{situation.base}' has it"
    else:
        why = (
            "left open: training takes the source's own size where it has one, else the size that "
            "the network was designed for"
        )
    return Item(
        "resolution",
        f"{size} pixels",
        f"{why}; multiply-accumulates grow with its square, and objects look larger in training "
        f"crops than in the evaluation's, so that a somewhat larger one may do better there",
        "Touvron et al., 2019 (arXiv:1906.06423)",
        changes,
    )


def augmentation(situation: Situation) -> Item:
    """What changes from epoch to epoch in an image."""
    recipe, changes = situation.recipe(), dict[str, Any]()
    words = _augmentations(recipe)
    why = (
        "augmentation is taught to beat every other regulariser, and the modern stack to bring 2 "
        "to 5 points: over long schedules; over short ones MixUp and CutMix can cost some"
    )
    if situation.base == "imagenet-v1" and situation.fewer_than(MANY):
        changes = {"data.augment.policy": "trivialaugment"}
        words.append("TrivialAugment")
        why += f"; under {count(MANY)} images crops and flips alone leave a network to learn by "
        why += "heart"
    if recipe.data.augment.flip:
        why += ". Set data.augment.flip=false where a mirrored image is of another class"
    return Item("augmentation", ", ".join(words), why, f"{TAUGHT}; {MEASURED}", changes)


def _augmentations(recipe: Recipe) -> list[str]:
    """What the recipe has, in words."""
    augment, train = recipe.data.augment, recipe.train
    policies = {"randaugment": "RandAugment", "trivialaugment": "TrivialAugment"}
    return [
        "crops" if augment.crop != "none" else "no crops",
        *(["flips"] if augment.flip else []),
        *([policies.get(augment.policy, "AutoAugment")] if augment.policy else []),
        *(["erasing"] if augment.erase else []),
        *(["MixUp"] if train.mixup else []),
        *(["CutMix"] if train.cutmix else []),
    ]


def regularisation(situation: Situation) -> Item:
    """Decay, smoothing, dropout."""
    train, changes = situation.recipe().train, dict[str, Any]()
    smoothing = train.label_smoothing
    if situation.base == "imagenet-v1":
        smoothing, changes = 0.1, {"train.label_smoothing": 0.1}
    few = ""
    if situation.fewer_than(FEW) and not situation.only_head:
        few = (
            "; with few images small networks gain from dropout (model.dropout=0.2 to 0.5 are "
            "taught), and those with batch norm little or nothing"
        )
    return Item(
        "regularisation",
        f"weight decay {train.weight_decay:g}, label smoothing {smoothing:g}",
        f"dropout and drop path stay as the architecture was published: training decides so. "
        f"Taught are weight decays of 0.01 to 0.1 for transformers, 0.0001 for convolutional "
        f"networks, and a little of each regulariser{few}. Smoothed labels leave probabilities "
        f"that need calibrating",
        f"{TAUGHT}; {MEASURED}",
        changes,
    )
