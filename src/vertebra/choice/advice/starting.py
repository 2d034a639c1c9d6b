"""Where the weights start, and which of them learn."""

from __future__ import annotations

from typing import Any

from vertebra.choice.advice.item import Item
from vertebra.choice.advice.situation import FEW, HANDFUL, MANY, PLENTY, SOME, Situation
from vertebra.report.words import count

TAUGHT = "commonly taught"
# The stem and the first stage, under the names that networks of the zoo have; the oldest ones
# begin with a stage.
EARLY = ("stem", "stages.0")
STEMLESS = ("lenet", "alexnet", "nin", "vgg")


def early_layers(situation: Situation) -> tuple[str, ...]:
    """What is frozen first, as ``train.freeze`` names it."""
    return EARLY[1:] if situation.architecture.family in STEMLESS else EARLY


def wants_both(situation: Situation) -> bool:
    """Whether pretraining may bring nothing, so that a start from scratch is worth comparing."""
    many = situation.images is not None and situation.images >= MANY
    return situation.pretrained and situation.is_far and many


def start(situation: Situation) -> Item:
    """From pretrained weights, from scratch, or both to compare."""
    asked = situation.requirement
    if not situation.pretrained:
        why = "pretrained weights are not to be had"
        if asked.pretrained:
            why = f"no weights of {situation.architecture.name} are known that may be used"
        return Item("start", "scratch", f"{why}; the published accuracies say nothing then", TAUGHT)
    if wants_both(situation):
        return Item(
            "start",
            "both",
            f"{count(situation.images or 0)} images far from photographs: pretraining on ImageNet "
            f"is free accuracy but where the domain is alien and data plentiful, and only the two "
            f"runs tell; begin with {situation.weights}",
            f"{TAUGHT}; He et al., 2018 (arXiv:1811.08883): from scratch catches up, given time",
        )
    few = "" if situation.images is None or situation.images >= MANY else " under 1 000 000 images"
    far = (
        "; in a domain far from photographs the gain is often small (Raghu et al., 2019, "
        "arXiv:1902.07208)"
        if situation.is_far
        else ""
    )
    return Item(
        "start",
        "pretrained",
        f"{situation.weights}: pretraining is taught to be free accuracy{few}, and shrinks with "
        f"their number{far}",
        f"{TAUGHT}; Kornblith et al., 2018 (arXiv:1805.08974)",
    )


def freeze(situation: Situation) -> Item:
    """Which layers do not learn."""
    if not situation.pretrained:
        return Item("freeze", "nothing", "random features are not worth keeping", TAUGHT)
    if situation.only_head:
        return Item(
            "freeze",
            "all but the head",
            f"{count(situation.images or 0)} images are too few to move a network by (fewer than "
            f"{count(HANDFUL)}); the recipe '{situation.base}' trains the head alone",
            "Kornblith et al., 2018 (arXiv:1805.08974): with 47 to 800 images a linear model on "
            "the features is a match for fine-tuning",
        )
    if situation.is_far:
        return Item(
            "freeze",
            "nothing",
            "the images are far from photographs, so that early filters have to change too; the "
            "head still learns alone first",
            f"{TAUGHT}; Kumar et al., 2022 (arXiv:2202.10054), on the head first",
        )
    if not situation.fewer_than(SOME) or situation.norm == "unknown":
        why = "enough images to move every layer"
        if situation.norm == "unknown":
            why = "another library's layers have other names: look them up with vertebra show"
        elif situation.images is None:
            why = "how many images there are is not said"
        return Item(
            "freeze",
            "nothing",
            f"{why}; the head learns alone first, and lower layers learn more slowly",
            "Kumar et al., 2022 (arXiv:2202.10054)",
        )
    return Item(
        "freeze",
        "early",
        f"under {count(SOME)} images early layers, whose filters suit any photograph, are taught "
        f"to be frozen: here those before the second stage. Elsewhere they are only to learn more "
        f"slowly: train.freeze=[] does that",
        f"{TAUGHT}; Yosinski et al., 2014 (arXiv:1411.1792)",
        {"train.freeze": list(early_layers(situation))},
    )


def layer_decay(situation: Situation) -> Item:
    """How much more slowly lower layers learn."""
    if not situation.pretrained or situation.only_head:
        why = "only the head learns" if situation.only_head else "from scratch all learn alike"
        return Item("layer_decay", "none", why, TAUGHT)
    if situation.norm == "unknown":
        return Item(
            "layer_decay",
            "none",
            "another library's layers may not be known in order",
            "vertebra's own rule",
            {"train.layer_decay": None},
        )
    own = situation.recipe().train.layer_decay
    if situation.is_far or (situation.images or 0) >= PLENTY:
        why = "far from photographs" if situation.is_far else "with so many images"
        return Item(
            "layer_decay",
            "0.9",
            f"{why} lower layers have to move, so that the recipe's {own} a block would hold them "
            f"too much; the number is this workbench's, and worth a comparison",
            f"{TAUGHT}: lower layers slower; Bao et al., 2021 (arXiv:2106.08254), by layer",
            {"train.layer_decay": 0.9},
        )
    return _as_recipe(own)


def _as_recipe(own: float | None) -> Item:
    return Item(
        "layer_decay",
        f"{own:g}" if own is not None else "none",
        "each block learns at so many times the rate of the one behind it, the head at the full "
        "one: lower layers are nearer to what they shall be",
        f"{TAUGHT}; Bao et al., 2021 (arXiv:2106.08254); the recipe's own number",
    )


def norm(situation: Situation) -> Item:
    """What normalises, and whether its statistics learn."""
    kind = situation.norm
    if kind == "layer":
        return Item(
            "norm",
            "layer",
            f"{situation.architecture.name} has layer norm, which looks at one image: batches of "
            f"any size train alike",
            "Ba et al., 2016 (arXiv:1607.06450)",
        )
    if kind == "none":
        return Item(
            "norm",
            "none",
            f"{situation.architecture.name} has no norm, and so takes lower rates and careful "
            f"starts",
            "the architecture",
        )
    if kind == "unknown":
        return Item(
            "norm",
            "as it is",
            f"what {situation.architecture.name} normalises by is not known here; pretrained batch "
            f"norms are frozen by training below {LEAST_IMAGES} images at once",
            _GROUP_NORM,
        )
    if situation.only_head:
        return Item(
            "norm",
            "frozen",
            f"the recipe '{situation.base}' takes features as they are, statistics with them",
            "He et al., 2019 (arXiv:1911.05722), section 4.1",
        )
    return _batch_norm(situation)


# Where teachers see batch norm fail, so that everybody's boundary is shown.
_DISAGREEMENT = (
    "teachers see it fail at 4 to 8 images, get noisy at 8 to 16, or want 32; measured, its error "
    "rises from 16 down (23.7 % at 16, 24.8 % at 8, 27.3 % at 4, 34.7 % at 2, beside 24.1 % of "
    "group norm)"
)
# Images at once below which training freezes pretrained batch norms by itself: LEAST_IMAGES of
# vertebra.train.norms, which loads PyTorch. A test holds the two together.
LEAST_IMAGES = 16
_GROUP_NORM = "Wu and He, 2018 (arXiv:1803.08494), table 2"


def _batch_norm(situation: Situation) -> Item:
    here = situation.at_once
    if here < LEAST_IMAGES and situation.pretrained:
        return Item(
            "norm",
            "frozen",
            f"{here} images at once are too few for batch norm: {_DISAGREEMENT}. Training freezes "
            f"pretrained norms below {LEAST_IMAGES} by itself; accumulating gradients does not "
            f"mend statistics",
            _GROUP_NORM,
        )
    if here < LEAST_IMAGES:
        return Item(
            "norm",
            "group",
            f"{here} images at once are too few for batch norm: {_DISAGREEMENT}. No network of "
            f"the zoo takes group norm as an option: timm/resnet50_gn has it, ConvNeXt has layer "
            f"norm; or let more images into a batch (smaller ones, train.checkpointing)",
            _GROUP_NORM,
        )
    if situation.pretrained and situation.fewer_than(FEW):
        return Item(
            "norm",
            "frozen",
            f"under {count(FEW)} images the statistics of the pretraining are taught to be worth "
            f"keeping; others let them adapt to the new images, which train.frozen_norm=false does",
            TAUGHT,
            {"train.frozen_norm": True},
        )
    disputed = f"; {_DISAGREEMENT}" if here < 32 else ""
    return Item(
        "norm",
        "batch",
        f"{here} images at once are enough for its statistics{disputed}",
        _GROUP_NORM,
    )


def changed(items: tuple[Item, ...]) -> dict[str, Any]:
    """The fields of a recipe that the decisions change, together."""
    return {key: value for item in items for key, value in item.changes.items()}
