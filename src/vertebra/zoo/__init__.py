"""The architectures: one file a family, each variant a row of a table.

Names, numbers and papers come from a generated catalogue, so listing needs no PyTorch;
:func:`create` is what loads it.
"""

from vertebra.zoo.create import create
from vertebra.zoo.foreign import load_foreign
from vertebra.zoo.registry import Architecture, get, list_models
from vertebra.zoo.weight_files import save_weights

__all__ = ["Architecture", "create", "get", "list_models", "load_foreign", "save_weights"]
