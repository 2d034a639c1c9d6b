"""The face that every network here has, and the blocks that more than one family uses."""

from vertebra.nn.backbone import Auxiliary, Backbone, Outputs, Stage, StageInfo
from vertebra.nn.conv import ConvAct, ConvNormAct, NormAct, make_act
from vertebra.nn.drop import DropPath, drop_path_rates
from vertebra.nn.head import FlattenHead, Head, LinearHead
from vertebra.nn.init import InitRule, initialise
from vertebra.nn.inverted_residual import InvertedResidual, round_channels
from vertebra.nn.layer_norm import LayerNorm2d
from vertebra.nn.recompute import recompute
from vertebra.nn.squeeze_excite import SqueezeExcite
from vertebra.nn.transformer import Attention, Mlp, TransformerBlock

__all__ = [
    "Attention",
    "Auxiliary",
    "Backbone",
    "ConvAct",
    "ConvNormAct",
    "DropPath",
    "FlattenHead",
    "Head",
    "InitRule",
    "InvertedResidual",
    "LayerNorm2d",
    "LinearHead",
    "Mlp",
    "NormAct",
    "Outputs",
    "SqueezeExcite",
    "Stage",
    "StageInfo",
    "TransformerBlock",
    "drop_path_rates",
    "initialise",
    "make_act",
    "recompute",
    "round_channels",
]
