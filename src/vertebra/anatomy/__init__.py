"""What a network is: shapes, parameters, MACs and receptive field, without running it."""

from vertebra.anatomy.anatomy import Anatomy, Layer, Stage, dissect
from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value
from vertebra.anatomy.memory import OPTIMIZERS, PRECISIONS, Memory, largest_batch, memory_of
from vertebra.anatomy.padding import taps_in_padding
from vertebra.anatomy.receptive import ReceptiveField

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "Anatomy",
    "Graph",
    "Layer",
    "Memory",
    "ModuleCall",
    "Node",
    "ReceptiveField",
    "Stage",
    "Value",
    "dissect",
    "largest_batch",
    "memory_of",
    "taps_in_padding",
]
