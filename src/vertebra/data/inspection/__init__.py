"""One look at each image of a dataset: facts, faults and doubles, and the page that shows them."""

from vertebra.data.inspection.duplicates import Duplicates, find_duplicates
from vertebra.data.inspection.facts import Balance, Facts, Sizes
from vertebra.data.inspection.inspect import Inspection, inspect
from vertebra.data.inspection.suspects import Suspect, Suspects

__all__ = [
    "Balance",
    "Duplicates",
    "Facts",
    "Inspection",
    "Sizes",
    "Suspect",
    "Suspects",
    "find_duplicates",
    "inspect",
]
