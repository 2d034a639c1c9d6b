"""What a network is: shapes, parameters, MACs and receptive field, without running it."""

from vertebra.anatomy.anatomy import Anatomy, Layer, Stage, dissect
from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value
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
]
