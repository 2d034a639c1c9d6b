"""Recipe in, run folder out; and what can be asked of a finished run."""

from vertebra.train.evaluate import Evaluation, evaluate, load_model
from vertebra.train.fit import fit
from vertebra.train.predict import Prediction, Predictions, predict
from vertebra.train.scores import Scores, score

__all__ = [
    "Evaluation",
    "Prediction",
    "Predictions",
    "Scores",
    "evaluate",
    "fit",
    "load_model",
    "predict",
    "score",
]
