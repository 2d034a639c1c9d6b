"""The theoretical receptive field of every value of a graph.

Read :mod:`.spans` (one axis), :mod:`.layout` (which dimension of a tensor is which axis),
:mod:`.reach` (a whole tensor), then the operations by kind (:mod:`.pointwise`, :mod:`.windows`,
:mod:`.mixing`, :mod:`.moving`), and :mod:`.fields`, which walks the graph.
"""

from vertebra.anatomy.receptive.fields import Fields, ReceptiveField, receptive_fields

__all__ = ["Fields", "ReceptiveField", "receptive_fields"]
