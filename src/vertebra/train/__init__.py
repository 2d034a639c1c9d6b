"""Recipe in, run folder out; and what can be asked of a finished run."""

from vertebra.train.evaluate import Evaluation, evaluate, load_model
from vertebra.train.fit import fit
from vertebra.train.folds import CrossValidation, cross_validate
from vertebra.train.lr_finder import RateSweep, find_learning_rate
from vertebra.train.plan import Plan, plan
from vertebra.train.predict import Prediction, Predictions, predict
from vertebra.train.scores import Scores, score

__all__ = [
    "CrossValidation",
    "Evaluation",
    "Plan",
    "Prediction",
    "Predictions",
    "RateSweep",
    "Scores",
    "cross_validate",
    "evaluate",
    "find_learning_rate",
    "fit",
    "load_model",
    "plan",
    "predict",
    "score",
]
