"""How training images are varied: crops, policies, erasing, mixing, and views for testing."""

from vertebra.data.augment.scaled import scaled_augmentation
from vertebra.data.augment.view import View, augmentation

__all__ = ["View", "augmentation", "scaled_augmentation"]
