"""What a network is: shapes, parameters, MACs and receptive field, without running it."""

from vertebra.anatomy.anatomy import Anatomy, dissect
from vertebra.anatomy.comparison import Comparison, compare
from vertebra.anatomy.effective import EffectiveField, effective_field
from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value
from vertebra.anatomy.inputs import float_type
from vertebra.anatomy.intensity import Bound, Bounds, bounds, roofline_precision
from vertebra.anatomy.layers import Layer, Part
from vertebra.anatomy.macs import CONVENTIONS, check_convention
from vertebra.anatomy.memory import (
    OPTIMIZERS,
    PRECISIONS,
    Memory,
    check_training,
    largest_batch,
    memory_of,
    smallest_memory_of,
)
from vertebra.anatomy.padding import any_tap_in_padding, taps_in_padding
from vertebra.anatomy.page import network_page
from vertebra.anatomy.receptive import ReceptiveField
from vertebra.anatomy.work import Work, work
from vertebra.anatomy.worked import WorkedConvolution, work_through

__all__ = [
    "CONVENTIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "Anatomy",
    "Bound",
    "Bounds",
    "Comparison",
    "EffectiveField",
    "Graph",
    "Layer",
    "Memory",
    "ModuleCall",
    "Node",
    "Part",
    "ReceptiveField",
    "Value",
    "Work",
    "WorkedConvolution",
    "any_tap_in_padding",
    "bounds",
    "check_convention",
    "check_training",
    "compare",
    "dissect",
    "effective_field",
    "float_type",
    "largest_batch",
    "memory_of",
    "network_page",
    "roofline_precision",
    "smallest_memory_of",
    "taps_in_padding",
    "work",
    "work_through",
]
