"""What every decision about training looks at."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.runs import Recipe
    from vertebra.zoo import Architecture

# By "FAMILY/NAME", the first that matches: what a network normalises by.
NORMS: Mapping[str, str] = {
    "vit/*": "layer",
    "swin/*": "layer",
    "convnext/*": "layer",
    "lenet/*": "none",
    "alexnet/*": "none",
    "nin/*": "none",
    "vgg/*_bn": "batch",
    "vgg/*": "none",
    "googlenet/googlenet_2014": "none",
    "timm/*": "unknown",
    "*": "batch",
}
TRANSFORMERS = ("vit", "swin", "mobilevit")
# Images up to which a built-in recipe for small ones is meant, in pixels of a side.
SMALL = 64
# Images below which only the head is trained; below which pretrained statistics stay; and below
# which early layers are taught to be frozen.
HANDFUL, FEW, SOME = 1_000, 10_000, 50_000
# From so many on lower layers may move more freely: twice what they are taught to be frozen below.
PLENTY = 100_000
# From so many on pretraining on ImageNet is taught to bring nothing to images far from it.
MANY = 1_000_000


@dataclass(frozen=True)
class Situation:
    """One network that is about to be trained.

    Attributes:
        architecture: from the catalogue.
        requirement: the task.
        weights: what it starts from; None: its own initialisation.
    """

    architecture: Architecture
    requirement: Requirement
    weights: str | None

    @property
    def pretrained(self) -> bool:
        """Whether it starts from pretrained weights."""
        return self.weights is not None

    @property
    def images(self) -> int | None:
        """Labelled ones."""
        return self.requirement.images

    def fewer_than(self, number: int) -> bool:
        """Whether there are known to be fewer images."""
        return self.images is not None and self.images < number

    @property
    def is_far(self) -> bool:
        """Whether the images have little in common with photographs."""
        return self.requirement.domain == "far"

    @property
    def only_head(self) -> bool:
        """Whether the features are taken as they are."""
        return self.pretrained and self.fewer_than(HANDFUL)

    @property
    def norm(self) -> str:
        """What the network normalises by: "batch", "layer", "none" or "unknown"."""
        path = f"{self.architecture.family}/{self.architecture.name}"
        return next(norm for form, norm in NORMS.items() if fnmatch.fnmatchcase(path, form))

    @property
    def is_transformer(self) -> bool:
        """Whether it has attention."""
        return self.architecture.family in TRANSFORMERS

    @property
    def size(self) -> int:
        """Pixels of a side that it shall see."""
        return self.requirement.input_size or self.architecture.input_size[1]

    @property
    def base(self) -> str:
        """The built-in recipe to begin with."""
        if self.only_head:
            return "linear-probe"
        if self.pretrained:
            return "finetune"
        if self.architecture.family == "convnext":
            return "convnext"
        if self.is_transformer:
            return "vit"
        return "scratch-small" if self.size <= SMALL else "imagenet-v1"

    def recipe(self) -> Recipe:
        """The built-in recipe, for this network."""
        from vertebra.runs import Recipe

        return Recipe.load(self.base, model=self.architecture.name)

    @property
    def step_batch(self) -> int:
        """Images of an optimiser's step: the recipe's, or fewer where an epoch had few steps.

        At least a hundred steps an epoch, in halves, but no fewer than 32 images, and 16 on each
        device, which batch norm needs.
        """
        wanted = self.recipe().train.batch_size
        least = max(32, 16 * self.devices)
        while self.images is not None and wanted > least and self.images < 100 * wanted:
            wanted //= 2
        return max(wanted, least)

    @property
    def devices(self) -> int:
        """That share a step."""
        return max(1, self.requirement.gpus)

    @property
    def at_once(self) -> int:
        """Images that a batch norm takes its statistics of."""
        share = -(-self.step_batch // self.devices)
        return min(share, self.requirement.batch or share)
