"""How weights are found: batch, optimiser, schedule."""

from __future__ import annotations

from typing import Any

from vertebra.choice.advice.item import Item
from vertebra.choice.advice.situation import Situation
from vertebra.report.words import plural

TAUGHT = "commonly taught"
GOYAL = "Goyal et al., 2017 (arXiv:1706.02677)"


def batch(situation: Situation) -> Item:
    """How many images make a step, and how they fit into memory."""
    own, wanted = situation.recipe().train.batch_size, situation.step_batch
    changes: dict[str, Any] = {}
    why = f"as the recipe '{situation.base}' has it"
    if wanted != own:
        changes["train.batch_size"] = wanted
    if wanted > own:
        why = (
            f"more than the {own} of the recipe '{situation.base}', so that each of "
            f"{situation.devices} devices has enough"
        )
    elif wanted < own:
        why = (
            f"fewer than the {own} of the recipe '{situation.base}', whose epochs would have few "
            f"steps; the rate follows as the recipe says"
        )
    fits = situation.requirement.batch
    share = -(-wanted // situation.devices)
    if fits is not None and fits < share:
        changes["train.micro_batch"] = fits
        why += (
            f"; {fits} at once, as many as fit: their gradients are added up, which is the same "
            f"but for batch norm"
        )
    return Item("batch", plural(wanted, "image") + " a step", why, GOYAL, changes)


def optimizer(situation: Situation) -> Item:
    """What steps, and how far."""
    train = situation.recipe().train
    rate, per = f"{train.lr:g}", train.lr_batch
    if situation.only_head:
        return Item(
            "optimizer",
            "sgd",
            f"one linear layer on fixed features, at a rate of {rate}",
            "He et al., 2019 (arXiv:1911.05722), section 4.1",
        )
    if situation.pretrained:
        return Item(
            "optimizer",
            "adamw",
            f"for fine-tuning AdamW, at {rate} for the head and a {per}-image batch, the layers "
            f"below it more slowly. Taught are 1e-4 to 1e-5, which fits AdamW on all layers alike "
            f"and not SGD; vertebra train --find-lr looks at this data",
            f"{TAUGHT}; Kumar et al., 2022 (arXiv:2211.09359): SGD is as good with the first layer "
            f"frozen",
        )
    if train.optimizer == "adamw":
        kind = "transformers" if situation.is_transformer else "ConvNeXt"
        return Item(
            "optimizer",
            "adamw",
            f"{kind} are trained with AdamW, at {rate} for a batch of {per}",
            f"{TAUGHT}; the recipe '{situation.base}'; linear scaling is SGD's, and for Adam the "
            f"square root is argued (Malladi et al., 2022, arXiv:2205.10287)",
        )
    return _sgd(situation, rate, per)


def _sgd(situation: Situation, rate: str, per: int | None) -> Item:
    if per is None:
        return Item(
            "optimizer",
            "sgd",
            f"momentum and a rate of {rate}, as small networks on small images are trained",
            "He et al., 2015 (arXiv:1512.03385), section 4.2",
        )
    if situation.norm == "none":
        return Item(
            "optimizer",
            "sgd",
            f"momentum and a rate of 0.01 times batch / {per}: without a norm 0.1 diverges",
            "torchvision's references, for AlexNet and VGG",
            {"train.lr": 0.01},
        )
    return Item(
        "optimizer",
        "sgd",
        f"momentum and a rate of {rate} times batch / {per}, for convolutional networks from "
        f"scratch; beyond batches of 8192 the rule breaks",
        f"{TAUGHT}; {GOYAL}",
    )


def schedule(situation: Situation) -> Item:
    """How the rate goes over time."""
    train = situation.recipe().train
    if situation.only_head:
        return Item(
            "schedule",
            "cosine",
            "without a warm-up: one layer has nothing to blow up",
            "Loshchilov and Hutter, 2016 (arXiv:1608.03983)",
        )
    changes: dict[str, Any] = {}
    warmup, whole = train.warmup.value, train.duration.value
    if train.schedule == "step":  # the classic, without a warm-up
        warmup = round(whole / 18)
        changes = {"train.schedule": "cosine", "train.warmup": f"{warmup}ep"}
    return Item(
        "schedule",
        "cosine",
        f"a linear warm-up over {100 * warmup / whole:.0f} % of the steps ({warmup:g} of {whole:g} "
        f"epochs), then cosine to near zero. Taught are 5 to 10 % from scratch, and 1 to 5 % "
        f"elsewhere: 5 % is in both",
        f"{TAUGHT}; {GOYAL}: 5 of 90 epochs; Ma and Yarats, 2019 (arXiv:1910.04209): for Adam 2 / "
        f"(1 - beta2) steps, 2000 here",
        changes,
    )
