"""The face that every network here has, and the blocks that more than one family uses."""

from vertebra.nn.backbone import Backbone, Outputs, StageInfo
from vertebra.nn.conv import ConvNormAct
from vertebra.nn.drop import DropPath, drop_path_rates
from vertebra.nn.head import Head, LinearHead
from vertebra.nn.init import InitRule, initialise

__all__ = [
    "Backbone",
    "ConvNormAct",
    "DropPath",
    "Head",
    "InitRule",
    "LinearHead",
    "Outputs",
    "StageInfo",
    "drop_path_rates",
    "initialise",
]
