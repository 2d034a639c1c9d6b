"""Where images come from, what is wrong with them, and how they become batches."""

from vertebra.data.batches import evaluation_batches, steps_per_epoch, training_batches
from vertebra.data.card import DataCard, Skipped
from vertebra.data.dataset import ImageDataset, Split, open_dataset
from vertebra.data.decode import DecodeError, decode
from vertebra.data.folder import image_files
from vertebra.data.labelled import Labelled, open_labelled
from vertebra.data.photographs import photograph, picture
from vertebra.data.transforms import normalise, prepare

__all__ = [
    "DataCard",
    "DecodeError",
    "ImageDataset",
    "Labelled",
    "Skipped",
    "Split",
    "decode",
    "evaluation_batches",
    "image_files",
    "normalise",
    "open_dataset",
    "open_labelled",
    "photograph",
    "picture",
    "prepare",
    "steps_per_epoch",
    "training_batches",
]
