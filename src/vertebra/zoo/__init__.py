"""The architectures: one file a family, each variant a row of a table.

Names, numbers and papers come from a generated catalogue, so listing needs no PyTorch;
:func:`create` is what loads it.
"""

from vertebra.zoo.registry import Architecture, create, get, list_models, load_foreign

__all__ = ["Architecture", "create", "get", "list_models", "load_foreign"]
