"""How training images are varied: crops, policies, erasing, mixing, and views for testing."""

from vertebra.data.augment.mixing import Mixed, mix
from vertebra.data.augment.scaled import scaled_augmentation
from vertebra.data.augment.tta import flip_views, ten_crop_views, views_of
from vertebra.data.augment.view import View, augmentation

__all__ = [
    "Mixed",
    "View",
    "augmentation",
    "flip_views",
    "mix",
    "scaled_augmentation",
    "ten_crop_views",
    "views_of",
]
