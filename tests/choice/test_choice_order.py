"""What must hold of every choice, whatever the candidates: by random ones."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vertebra.choice import Accuracy, Candidate, Cost, Requirement
from vertebra.choice.choose import answer
from vertebra.choice.facts import Facts
from vertebra.choice.limits import AXES
from vertebra.choice.order import dominates, front
from vertebra.zoo import list_models

NAMES = list_models(exclude=("lenet*", "*20", "*32", "*44", "*56", "*110"))

costs = st.builds(
    Cost,
    seconds=st.sampled_from([0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.2]),
    images_per_second=st.sampled_from([5.0, 20.0, 100.0]),
    memory=st.sampled_from([10**8, 2 * 10**8, 4 * 10**8]),
    file=st.sampled_from([10**7, 5 * 10**7]),
)
accuracies = st.one_of(
    st.none(),
    st.builds(
        Accuracy,
        value=st.sampled_from([0.6, 0.7, 0.75, 0.76, 0.8, 0.81, 0.85]),
        kind=st.sampled_from(["runs", "probe", "published"]),
        source=st.just("made up"),
    ),
)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9, unique=True))
    return [
        Candidate(
            model=name,
            family="any",
            params=draw(st.sampled_from([5, 20, 90])) * 10**6,
            gmacs=draw(st.sampled_from([0.3, 4.0, 15.0])),
            engine=draw(st.sampled_from(["eager", "openvino"])),
            precision="fp32",
            cost=draw(costs),
            accuracy=draw(accuracies),
            hours=draw(st.sampled_from([None, 0.5, 2.0, 9.0])),
        )
        for name in names
    ]


requirements = st.builds(
    Requirement,
    images=st.sampled_from([2_000, 20_000, 75_000, 300_000, 2_000_000]),
    latency_ms=st.sampled_from([None, 4.0, 15.0, 60.0]),
    memory_mb=st.sampled_from([None, 150.0]),
    hours=st.sampled_from([None, 3.0]),
    min_accuracy=st.sampled_from([None, None, 0.74]),
    prefer=st.sampled_from(["balanced", "accuracy", "speed"]),
    gpus=st.sampled_from([0, 4]),
)


def _chosen(some: list[Candidate], requirement: Requirement) -> Candidate | None:
    return answer(requirement, Facts(tuple(some), (), {})).recommended


@given(candidates(), requirements, st.sampled_from([3.0, 8.0, 25.0, 45.0]))
def test_a_tighter_limit_never_gives_a_slower_choice(
    some: list[Candidate], requirement: Requirement, limit: float
) -> None:
    loose = _chosen(some, requirement)
    if requirement.latency_ms is not None and limit >= requirement.latency_ms:
        return
    tight = _chosen(some, replace(requirement, latency_ms=limit))
    if tight is not None:
        assert loose is not None
        assert tight.cost is not None
        assert loose.cost is not None
        assert tight.cost.seconds <= min(loose.cost.seconds, limit / 1e3)


@given(candidates(), requirements)
def test_without_the_winner_the_runner_up_wins(
    some: list[Candidate], requirement: Requirement
) -> None:
    choice = answer(requirement, Facts(tuple(some), (), {}))
    if choice.recommended is None:
        return
    rest = [one for one in some if one.model != choice.recommended.model]
    second = _chosen(rest, requirement)
    assert (second and second.name) == (choice.runner_up and choice.runner_up.name)
    if second is not None:
        assert not any(dominates(one, second) for one in choice.front if one in rest)
        assert _chosen([*rest, choice.recommended], requirement) == choice.recommended


@given(candidates(), requirements, st.data())
def test_one_more_that_is_dominated_changes_nothing(
    some: list[Candidate], requirement: Requirement, data: st.DataObject
) -> None:
    before = answer(requirement, Facts(tuple(some), (), {}))
    above = data.draw(st.sampled_from(some))
    left = [name for name in NAMES if name not in {one.model for one in some}]
    assert above.cost is not None
    # What a rule says is all there is of a network whose accuracy nobody knows, so then the same
    # one in another engine; else any other, whatever the rules say of it.
    alike = above.accuracy is None
    worse = replace(
        above,
        model=above.model if alike else data.draw(st.sampled_from(left)),
        engine="onnxruntime" if alike else above.engine,
        cost=replace(
            above.cost,
            seconds=above.cost.seconds * data.draw(st.sampled_from([1.0, 1.5])),
            memory=(above.cost.memory or 0) + data.draw(st.sampled_from([1, 10**8])),
        ),
    )
    assert dominates(above, worse)
    after = answer(requirement, Facts((*some, worse), (), {}))
    assert (after.recommended and after.recommended.name) == (
        before.recommended and before.recommended.name
    )
    assert [one.name for one in after.front] == [one.name for one in before.front] or (
        # Only what broke a limit can have been above it.
        above not in before.front
    )


@given(candidates(), requirements)
def test_every_other_network_has_its_line_and_nothing_dominated_wins(
    some: list[Candidate], requirement: Requirement
) -> None:
    choice = answer(requirement, Facts(tuple(some), (), {}))
    winner = choice.recommended
    named = {one.model for one, says in choice.why_not if says}
    assert named == {one.model for one in some} - ({winner.model} if winner else set())
    if winner is None:
        assert choice.nearest
    else:
        assert not any(dominates(one, winner) for one in choice.front)
        assert winner.name in {one.name for one in choice.front}


@given(candidates(), requirements)
def test_what_is_said_to_turn_the_answer_turns_it(
    some: list[Candidate], requirement: Requirement
) -> None:
    choice = answer(requirement, Facts(tuple(some), (), {}))
    for flip in choice.flips:
        if flip.field == "images":
            asked = replace(requirement, images=int(flip.value))
        else:
            # What the winner has now, just not held any more; or another's, which it holds.
            axis = next(axis for axis in AXES if axis.field == flip.field)
            assert choice.recommended is not None
            own = axis.of(choice.recommended) == flip.value
            nudge = (1 - 1e-9 if axis.most else 1 + 1e-9) if own else 1
            asked = replace(requirement, **{flip.field: flip.value * nudge})
        again = _chosen(some, asked)
        assert (again and again.name) == (flip.becomes and flip.becomes.name)
        assert again is None or choice.recommended is None or again.name != choice.recommended.name


@given(candidates())
def test_the_front_is_that_of_a_plain_search(some: list[Candidate]) -> None:
    kept = {one.name for one in front(some)}
    for one in some:
        beaten = any(dominates(other, one) for other in some)
        assert (one.name in kept) != beaten


def test_a_rule_about_real_time_does_not_turn_a_tighter_limit_into_a_slower_answer() -> None:
    def one(model: str, family: str, seconds: float) -> Candidate:
        cost = Cost(seconds, 1 / seconds, 10**8, 10**7)
        return Candidate(model, family, 5 * 10**6, 0.3, "eager", "fp32", cost=cost)

    some = [one("vit_s_16", "vit", 0.005), one("alexnet", "alexnet", 0.03)]
    asked = Requirement(images=2_000_000)
    for limit in (60.0, 45.0):
        chosen = _chosen(some, replace(asked, latency_ms=limit))
        assert chosen is not None
        assert chosen.model == "vit_s_16"
