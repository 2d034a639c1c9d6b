"""Durations: what they may be, how many steps they are, and that they are read back."""

from pathlib import Path

import pytest

from vertebra.runs import Duration, Recipe


@pytest.mark.parametrize(
    ("text", "unit", "steps"),
    [("10ep", "ep", 330), (10, "ep", 330), ("0.5ep", "ep", 16), ("500ba", "ba", 500), (0, "ep", 0)],
)
def test_durations_have_units(text: object, unit: str, steps: int) -> None:
    duration = Duration.of(text)
    assert (duration.unit, duration.steps(33)) == (unit, steps)
    assert Duration.of(str(duration)) == duration


@pytest.mark.parametrize("text", ["ten", "5 epochs", "-1ep", "1.5ba", "", None, True, "ep", [3]])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|batches"):
        Duration.of(text)


def test_durations_in_batches_stay_whole() -> None:
    assert str(Duration.of("7ba").scaled(0.5)) == "4ba"
    assert str(Duration.of("7ep").scaled(0.5)) == "3.5ep"


def test_a_warm_up_keeps_its_share_of_a_shorter_run_and_its_length_in_a_longer_one() -> None:
    def warmup(**changes: object) -> str:
        return str(Recipe.load("scratch-small", **changes).train.warmup)

    assert (warmup(), warmup(epochs=80), warmup(epochs=10)) == ("2ep", "2ep", "0.5ep")
    assert warmup(epochs=3, warmup=2) == "2ep", "what is asked for stays"
    assert warmup(epochs="100ba") == "2ep", "another unit is no share"


def test_everything_that_is_told_in_epochs_keeps_its_share_of_the_run(tmp_path: Path) -> None:
    assert str(Recipe.load("imagenet-v1", epochs=9).train.step_every) == "3ep"
    assert str(Recipe.load("imagenet-v1", epochs=180).train.step_every) == "60ep"
    assert str(Recipe.load("imagenet-v1", epochs=9, step_every="4ep").train.step_every) == "4ep"
    assert str(Recipe.load("linear-probe", epochs=7).train.head_first) == "7ep"
    path = tmp_path / "r.yaml"
    path.write_text(
        "model: {name: x}\n"
        "data: {source: x, progressive: [[0ep, 96], [10ep, 128], [15, 160]]}\n"
        "train: {duration: 20ep, schedule: step, step_at: [10ep, 150ba]}\n",
    )
    recipe = Recipe.load(path, epochs=40)
    assert [(str(start), size) for start, size in recipe.data.progressive] == [
        ("0ep", 96),
        ("20ep", 128),
        ("30ep", 160),
    ]
    assert [str(at) for at in recipe.train.step_at] == ["20ep", "150ba"]
    changed = recipe.override(epochs=10)
    assert changed.train.step_at == recipe.train.step_at, "only load scales"
