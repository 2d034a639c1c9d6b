"""Where images come from, what is wrong with them, and how they become batches."""

from vertebra.data.batches import evaluation_batches, training_batches
from vertebra.data.card import DataCard, Skipped
from vertebra.data.dataset import ImageDataset, Split, find_broken, open_dataset
from vertebra.data.decode import DecodeError, decode
from vertebra.data.labelled import Labelled, open_labelled
from vertebra.data.order import Sampling, epoch_order, steps_per_epoch
from vertebra.data.photographs import photograph, picture
from vertebra.data.readable import check_readable
from vertebra.data.sources import Source, image_files, open_source
from vertebra.data.split import folds, stratified_split
from vertebra.data.transforms import normalise, prepare
from vertebra.data.views import Batch

__all__ = [
    "Batch",
    "DataCard",
    "DecodeError",
    "ImageDataset",
    "Labelled",
    "Sampling",
    "Skipped",
    "Source",
    "Split",
    "check_readable",
    "decode",
    "epoch_order",
    "evaluation_batches",
    "find_broken",
    "folds",
    "image_files",
    "normalise",
    "open_dataset",
    "open_labelled",
    "open_source",
    "photograph",
    "picture",
    "prepare",
    "steps_per_epoch",
    "stratified_split",
    "training_batches",
]
