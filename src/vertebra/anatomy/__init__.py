"""What a network is: shapes, parameters, MACs and receptive field, without running it."""

from vertebra.anatomy.anatomy import Anatomy, Layer, Stage, dissect
from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value
from vertebra.anatomy.padding import taps_in_padding
from vertebra.anatomy.receptive import ReceptiveField

__all__ = [
    "Anatomy",
    "Graph",
    "Layer",
    "ModuleCall",
    "Node",
    "ReceptiveField",
    "Stage",
    "Value",
    "dissect",
    "taps_in_padding",
]
