"""What may be asked for, and what is said of everything else."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.choice.requirement import LISTS, WORDS, Requirement
from vertebra.core import VertebraError
from vertebra.data import open_dataset

COUNTS = ("images", "input_size", "threads", "batch", "batch_served")
AMOUNTS = ("latency_ms", "throughput", "memory_mb", "file_mb", "gmacs", "params_m", "hours")
SHARES = ("min_accuracy", "baseline_accuracy")


@pytest.mark.parametrize("name", [*COUNTS, *AMOUNTS, *SHARES, "classes"])
@pytest.mark.parametrize("value", [0, -5, math.nan, math.inf, True, "many"])
def test_what_is_no_number_above_zero_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(VertebraError, match=f"^{name} is "):
        Requirement(**{name: value})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"min_accuracy": 90}, r"did you mean 0\.9\?"),
        ({"baseline_accuracy": 55.5}, r"did you mean 0\.555\?"),
        ({"images": 20000.0}, r"did you mean 20000\?"),
        ({"gpus": -1}, "gpus is a whole number of at least 0"),
        ({"gpus": None}, "gpus is a whole number"),
        ({"kind": "imagess"}, "unknown kind 'imagess'; did you mean images"),
        ({"percentile": "p95"}, "unknown percentile 'p95'; did you mean p90|p99"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"domain": 3}, "domain is one of photographs, near, far, got 3"),
        ({"engines": ["eagre"]}, "unknown engines 'eagre'; did you mean eager"),
        ({"engines": []}, "engines is empty"),
        ({"precisions": ("fp32", 8)}, "precisions takes a list of words"),
        ({"licence": "apache2"}, r"did you mean apache-2\.0"),
        ({"exclude": {"vgg*": 1}}, "exclude takes a list of words"),
        ({"pretrained": "no"}, "pretrained is True or False"),
        ({"images": 5, "classes": 10}, "5 images cannot show 10 classes"),
    ],
)
def test_the_nearest_valid_thing_is_named(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(VertebraError, match=said):
        Requirement(**asked)


def test_a_lone_word_is_a_list_of_one() -> None:
    asked = Requirement(engines="eager", exclude="vgg*")
    assert asked.engines == ("eager",)
    assert asked.exclude == ("vgg*",)
    assert hash(asked) == hash(Requirement(engines=("eager",), exclude=("vgg*",)))


def _requirements() -> st.SearchStrategy[dict[str, Any]]:
    count, amount = st.integers(1, 10**7), st.floats(1e-3, 1e6)
    share = st.floats(0.01, 1)
    some: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(COUNTS, count),
        **dict.fromkeys(AMOUNTS, amount),
        **dict.fromkeys(SHARES, share),
        **{name: st.sampled_from(words) for name, words in WORDS.items()},
        **{
            name: st.lists(st.sampled_from(words or ("mit", "unknown")), min_size=1)
            for name, words in LISTS.items()
        },
        "pretrained": st.booleans(),
        "gpus": st.integers(0, 64),
    }
    return st.fixed_dictionaries({}, optional=some)


@given(_requirements())
def test_it_comes_back_from_json(asked: dict[str, Any]) -> None:
    requirement = Requirement(**asked)
    plain = json.loads(json.dumps(requirement.to_dict(), allow_nan=False))
    assert Requirement(**plain) == requirement


def test_a_dataset_fills_in_what_it_knows() -> None:
    digits = open_dataset("digits")
    asked = Requirement.of_card(digits.card, latency_ms=5)
    assert (asked.images, asked.classes, asked.latency_ms) == (1797, 10, 5)
    with pytest.raises(VertebraError, match="did you mean latency_ms"):
        Requirement.of_card(digits.card, latency=5)


def test_asking_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from vertebra.choice.requirement import Requirement\n"
        "from vertebra.choice.gate import gate\n"
        "from vertebra.choice.rules import covered\n"
        "from vertebra.choice.recipe import recipe\n"
        "import vertebra.choice.image_features, vertebra.choice.logme, vertebra.choice.probe\n"
        "asked = Requirement(images=20000, licence='mit')\n"
        "gate(asked), covered(asked), recipe('resnet50', asked).command()\n"
        "print([name for name in ('torch', 'numpy', 'scipy', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
