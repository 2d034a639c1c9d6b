"""What a network is: shapes, parameters, MACs and receptive field, without running it."""

from vertebra.anatomy.anatomy import Anatomy, dissect
from vertebra.anatomy.comparison import Comparison, compare
from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value
from vertebra.anatomy.intensity import Bound, Bounds, bounds
from vertebra.anatomy.layers import Layer, Part
from vertebra.anatomy.macs import CONVENTIONS
from vertebra.anatomy.memory import OPTIMIZERS, PRECISIONS, Memory, largest_batch, memory_of
from vertebra.anatomy.padding import taps_in_padding
from vertebra.anatomy.receptive import ReceptiveField

__all__ = [
    "CONVENTIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "Anatomy",
    "Bound",
    "Bounds",
    "Comparison",
    "Graph",
    "Layer",
    "Memory",
    "ModuleCall",
    "Node",
    "Part",
    "ReceptiveField",
    "Value",
    "bounds",
    "compare",
    "dissect",
    "largest_batch",
    "memory_of",
    "taps_in_padding",
]
