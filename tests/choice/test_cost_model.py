"""The model of cost against data that are made by known rates, and against its own error."""

import csv
import statistics
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

import made_up
from vertebra.choice.cost_model import (
    LEAST_NETWORKS,
    Example,
    by_macs,
    features,
    fit,
    left_out_errors,
)
from vertebra.zoo import get, list_models

NAMES = list_models(exclude=("lenet*", "*20", "*32", "*44", "*56", "*110", "vit_h*"))


def _examples(names: list[str], noise: float = 0.0) -> list[Example]:
    found = []
    for name in names:
        entry = get(name)
        taken = made_up.measurement(name, noise=noise).p50
        found.append(Example(name, entry.family, entry.work, taken))
    return found


def test_known_rates_are_found_and_a_new_family_is_predicted() -> None:
    model = fit(_examples(NAMES))
    assert model is not None
    assert model.error < 0.02
    for name in ("resnet50", "efficientnet_b0", "swin_t"):
        told = model.seconds(get(name).work)
        assert told == pytest.approx(made_up.seconds(get(name), "eager fp32"), rel=0.05)


def test_the_error_that_is_told_is_the_one_on_families_it_never_saw() -> None:
    examples = _examples(NAMES[::2], noise=0.2)
    model = fit(examples)
    assert model is not None
    unseen = [name for name in NAMES if name not in {e.model for e in examples}]
    errors = [abs(model.seconds(e.work) / e.seconds - 1) for e in _examples(unseen, noise=0.2)]
    assert 0.03 < model.error < 0.3
    assert statistics.median(errors) < 1.5 * model.error


def test_arithmetic_alone_is_the_worse_predictor_and_scikit_learn_agrees_on_it() -> None:
    examples = _examples(NAMES)
    ours = statistics.median(left_out_errors(examples).values())
    macs = left_out_errors(examples, by_macs)
    assert ours < statistics.median(macs.values()) / 2
    # The same regression by another library: weighted by 1 / seconds squared, as ours is.
    compared = 0
    for family in ("vgg", "convnext"):
        others = [e for e in examples if e.family != family]
        weights = [1 / e.seconds**2 for e in others]
        line = LinearRegression(positive=True).fit(
            [[by_macs(e.work)[0] / 1e9] for e in others], [e.seconds for e in others], weights
        )
        for e in examples:
            if e.family == family and line.intercept_ >= 0:
                told = float(line.predict([[by_macs(e.work)[0] / 1e9]])[0])
                assert abs(told / e.seconds - 1) == pytest.approx(macs[e.model], abs=1e-3)
                compared += 1
    assert compared >= 5


def test_too_few_networks_predict_nothing() -> None:
    assert fit(_examples(NAMES[: LEAST_NETWORKS - 1])) is None
    one_family = [name for name in NAMES if get(name).family == "resnet"]
    assert fit(_examples(one_family)) is None
    assert len(features(get("resnet50").work)) == len(features(get("lenet5").work))


def test_a_kind_of_work_that_hardly_any_network_does_gets_no_rate_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that took 30 % longer by chance, and has a few grouped products, would set their rate."""
    names = [name for name in NAMES if "grouped" not in get(name).work]
    examples = _examples(names)
    odd = examples[names.index("resnet34")]
    work = {**odd.work, "grouped": (10**6, 0, 0, 0)}
    examples.append(Example("odd", "odd", work, 1.3 * odd.seconds))
    grouped = get("resnext50_32x4d")
    real = made_up.seconds(grouped, "eager fp32")
    model = fit(examples)
    assert model is not None
    assert model.seconds(grouped.work) == pytest.approx(real, rel=0.3)
    monkeypatch.setattr("vertebra.choice.cost_model._PRIOR", 1e-6)
    by_chance = fit(examples)
    assert by_chance is not None
    assert by_chance.seconds(grouped.work) > 3 * real


@pytest.mark.parametrize("setting", [("eager", "fp32"), ("openvino", "bf16")])
def test_of_what_was_measured_a_family_is_told_better_than_by_arithmetic(
    setting: tuple[str, str],
) -> None:
    """docs/benchmarks.md publishes these errors, of these measurements."""
    with Path(__file__).with_name("measured.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["workload"] == "stream"]
    examples = [
        Example(entry.name, entry.family, entry.work, float(row["p50"]))
        for row in rows
        for entry in (get(row["model"]),)
        if (row["engine"], row["precision"]) == setting
    ]
    ours, macs = (
        statistics.median(left_out_errors(examples, of).values()) for of in (features, by_macs)
    )
    assert len(examples) >= 40
    assert ours <= 0.2
    assert ours <= macs / 2
