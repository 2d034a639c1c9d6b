"""Finding a network by name, and everything that can be asked of every network."""

import copy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

import vertebra.zoo
from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, get, list_models
from vertebra.zoo.catalogue import render
from vertebra.zoo.registry import load_families

ALL = list_models()
SMALL = ("resnet20", "plain20", "resnet18", "lenet5")


def _meta(name: str, *arguments: int, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create(name, *arguments, seed=0, **options)


def _input(net: Backbone, batch: int = 2) -> Tensor:
    return torch.randn((batch, *net.input_size), generator=torch.Generator().manual_seed(0))


# Listing and looking up.


def test_the_catalogue_and_the_tables_name_the_same_networks() -> None:
    tables = [name for family in load_families().values() for name in family.variants]
    assert tables == ALL
    assert len(ALL) == len(set(ALL)) > 20


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("lenet*", {"lenet5", "lenet5_dense"}),
        ("LeNet5", {"lenet5"}),
        ("plain?0", {"plain20"}),
        ("wide_*", {"wide_resnet50_2", "wide_resnet101_2"}),
        ("resnext*_*x[48]d", {"resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"}),
        ("resnet5", set()),
        ("*", set(ALL)),
    ],
)
def test_wildcards(pattern: str, expected: set[str]) -> None:
    assert set(list_models(pattern)) == expected


@pytest.mark.parametrize(
    "exclude",
    ["*resne*", ["*resne*"], ("*RESNE*",), ("resne*", "wide*"), iter(["resne*", "wide*"])],
)
def test_exclude_takes_one_wildcard_or_several(exclude: str | Iterable[str]) -> None:
    """Taken letter by letter the lone string holds "*", which would exclude everything."""
    expected = [name for name in ALL if name.startswith(("lenet", "plain"))]
    assert list_models(exclude=exclude) == expected


def test_exclude_applies_after_the_pattern() -> None:
    assert list_models("plain*", exclude="*20") == ["plain32", "plain44", "plain56"]
    assert list_models("plain*", exclude=[]) == list_models("plain*")
    assert list_models(exclude="lenet5") == [name for name in ALL if name != "lenet5"]


def test_families() -> None:
    assert list_models(family="lenet") == ["lenet5", "lenet5_dense"]
    assert set(list_models(family="lenet")) | set(list_models(family="resnet")) == set(ALL)
    assert list_models("resnet*", family="lenet") == []
    with pytest.raises(VertebraError, match="did you mean resnet"):
        list_models(family="resnets")


@pytest.mark.parametrize("find", [get, create])
def test_an_unknown_model_is_suggested_and_not_built(find: Any) -> None:
    with pytest.raises(VertebraError, match="unknown model 'resnet-50'; did you mean resnet50"):
        find("resnet-50")


@pytest.mark.parametrize("name", ["resnet50", "lenet5", "plain20"])
def test_the_catalogue_describes_what_is_built(name: str) -> None:
    entry, net = get(name), _meta(name)
    assert (entry.input_size, entry.num_classes) == (net.input_size, net.num_classes)
    assert entry.name == net.name == name


def test_the_stored_catalogue_is_what_the_tables_give() -> None:
    stored = Path(vertebra.zoo.__file__).with_name("catalogue.json").read_text()
    assert render() == stored


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys, vertebra.zoo as zoo\n"
        "assert zoo.list_models() and zoo.get('resnet50').params == 25557032\n"
        "print([name for name in ('torch', 'numpy', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What may be asked for.


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet18", {"zero_int": True}, "did you mean zero_init"),
        ("lenet5", {"zero_init": True}, "unknown option of lenet 'zero_init'"),
        ("resnet18", {"zero_init": 1}, "takes bool, got 1"),
        ("resnet18", {"zero_init": "yes"}, "takes bool, got 'yes'"),
        ("resnet18", {"num_classes": -1}, "num_classes"),
        ("resnet18", {"num_classes": 2.0}, "num_classes"),
        ("resnet18", {"num_classes": True}, "num_classes"),
        ("resnet18", {"in_chans": 0}, "in_chans"),
        ("resnet18", {"dropout": 1.0}, "dropout"),
        ("resnet18", {"dropout": float("nan")}, "dropout"),
        ("resnet18", {"drop_path": -0.1}, "drop_path"),
        ("plain20", {"drop_path": 0.1}, "no residual branches"),
        ("lenet5", {"drop_path": 0.1}, "no residual branches"),
        ("lenet5", {"input_size": (1, 28, 28)}, "32x32"),
        ("resnet18", {"input_size": (3, 224)}, "input_size"),
        ("resnet18", {"input_size": (3, 0, 224)}, "input_size"),
        ("resnet18", {"input_size": (3, "a", 224)}, "input_size"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(VertebraError, match=message):
        create(name, **{"seed": 0, **arguments})


@pytest.mark.parametrize("name", SMALL)
def test_no_classes_leaves_the_embedding(name: str) -> None:
    net, headless = create(name, seed=0).eval(), create(name, 0, seed=0).eval()
    x = _input(net)
    with torch.no_grad():
        vector = headless(x)
        assert vector.shape == (2, net.num_features)
        assert torch.equal(vector, headless.embed(x))
        # The same seed gives the same body, whatever the head.
        assert torch.equal(vector, net.embed(x))
        expected = F.linear(vector, net.head.fc.weight, net.head.fc.bias)
        assert torch.allclose(net(x), expected, atol=1e-6)
    assert headless.num_classes == 0


@pytest.mark.parametrize("chans", [1, 5])
@pytest.mark.parametrize("name", SMALL)
def test_any_number_of_input_channels(name: str, chans: int) -> None:
    net = create(name, 4, chans, seed=0).eval()
    assert net.input_size[0] == net.preprocessing.channels == chans
    x = _input(net)
    assert x.shape[1] == chans
    with torch.no_grad():
        assert net(x).shape == (2, 4)


def test_channels_follow_the_input_size() -> None:
    assert _meta("resnet18", input_size=(4, 64, 96)).input_size == (4, 64, 96)
    assert _meta("resnet18", 10, 4, input_size=(4, 64, 96)).input_size == (4, 64, 96)
    assert _meta("resnet18", 10, 1).input_size == (1, 224, 224)
    with pytest.raises(VertebraError, match=r"in_chans is 1, but .* has 4 channels"):
        _meta("resnet18", 10, 1, input_size=(4, 64, 96))


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet50"])
def test_drop_path_reaches_every_block_by_the_linear_rule(name: str) -> None:
    net = _meta(name, drop_path=0.3)
    rates = [m.rate for m in net.modules() if type(m).__name__ == "DropPath"]
    torch.testing.assert_close(
        torch.tensor(rates), torch.linspace(0, 0.3, len(rates)), atol=1e-6, rtol=0
    )


def test_dropped_blocks_pass_their_shortcut_on() -> None:
    """A block whose branch is dropped is its activation of the shortcut: the paper's figure 2."""
    net = create("resnet18", seed=0, drop_path=0.5)
    block = net.stages[3][1]
    block.drop_path.rate = 1 - 1e-9
    x = torch.rand(2, 512, 4, 4)
    assert torch.equal(block(x), x)


def test_dropout_acts_before_the_last_layer_and_only_in_training() -> None:
    net = create("resnet20", seed=0, dropout=0.9)
    features = net.embed(_input(net)).detach()
    assert torch.equal(net.eval().head.dropout(features), features)
    dropped = net.train().head.dropout(torch.ones(1000))
    assert 0.8 < (dropped == 0).float().mean() < 0.99


# Changing the head.


@pytest.mark.parametrize("classes", [7, 0])
@pytest.mark.parametrize("name", SMALL)
def test_reset_head(name: str, classes: int) -> None:
    net = create(name, seed=0).eval()
    x = _input(net)
    with torch.no_grad():
        before = net.embed(x)
        net.reset_head(classes)
        assert net(x).shape == (2, classes or net.num_features)
        assert torch.equal(net.embed(x), before)
    assert net.num_classes == classes


def test_reset_head_refuses_nonsense_and_then_changes_nothing() -> None:
    net = create("resnet20", seed=0)
    layer = net.head.fc
    with pytest.raises(VertebraError, match="num_classes"):
        net.reset_head(-1)
    assert net.head.fc is layer
    assert net.num_classes == 10


def test_reset_head_dropout() -> None:
    net = create("resnet20", seed=0, dropout=0.25)
    net.reset_head(3)
    assert net.head.dropout.p == 0.25
    net.reset_head(3, dropout=0.5)
    assert net.head.dropout.p == 0.5


@pytest.mark.parametrize("name", ["resnet20", "lenet5"])
@pytest.mark.parametrize("before", [10, 0])
def test_a_new_head_fits_a_network_of_another_type(name: str, before: int) -> None:
    """Also where there was no layer before whose type it could take."""
    net = create(name, before, seed=0).double().eval()
    net.reset_head(3)
    with torch.no_grad():
        assert net(_input(net).double()).dtype == torch.float64


@pytest.mark.parametrize("before", [10, 0])
def test_a_new_head_lies_where_the_network_lies(before: int) -> None:
    net = _meta("resnet20", before)
    net.reset_head(3)
    assert net.head.fc.weight.is_meta


# Maps.


@pytest.mark.parametrize("name", ALL)
def test_features_are_what_stage_info_promises(name: str) -> None:
    net = _meta(name)
    maps = net.features(torch.empty((2, *net.input_size), device="meta"))
    assert len(maps) == len(net.stages) == len(net.stage_info)
    for stage, info in zip(maps, net.stage_info, strict=True):
        assert stage.shape[:2] == (2, info.channels)
    if name.startswith("lenet5"):
        # Unpadded: figure 2 of the paper says 28, 10 and 1 pixels.
        assert [stage.shape[2:] for stage in maps] == [(28, 28), (10, 10), (1, 1)]
        return
    assert maps[-1].shape[1] == net.num_features
    for stage, info in zip(maps, net.stage_info, strict=True):
        assert [size * info.reduction for size in stage.shape[2:]] == list(net.input_size[1:])


@pytest.mark.parametrize("size", [(33, 47), (65, 100), (97, 71)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "plain20"])
def test_reductions_hold_within_a_pixel_at_any_size(name: str, size: tuple[int, int]) -> None:
    net = _meta(name)
    for stage, info in zip(
        net.features(torch.empty(1, 3, *size, device="meta")), net.stage_info, strict=True
    ):
        for axis in (0, 1):
            assert abs(stage.shape[2 + axis] - size[axis] / info.reduction) <= 1


@pytest.mark.parametrize("picked", [[0], [-1], [3, 0], [-4, 3], [1, 1], []])
def test_some_stages(picked: list[int]) -> None:
    net = create("resnet18", seed=0).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        every, some = net.features(x), net.features(x, picked)
    assert len(some) == len(picked)
    for index, stage in zip(picked, some, strict=True):
        assert torch.equal(stage, every[index])


def test_no_stage_runs_in_vain() -> None:
    net = create("resnet18", seed=0).eval()
    ran: list[int] = []
    for index, stage in enumerate(net.stages):
        stage.register_forward_hook(lambda *_args, index=index: ran.append(index))
    net.features(torch.randn(1, 3, 64, 64), [1, -4])
    assert ran == [0, 1]


@pytest.mark.parametrize("picked", [[4], [-5], [0, 99]])
def test_a_stage_that_is_not_there_is_refused(picked: list[int]) -> None:
    with pytest.raises(VertebraError, match=rf"resnet18 has stages 0 to 3, no stage {picked[-1]}"):
        _meta("resnet18").features(torch.empty(1, 3, 64, 64, device="meta"), picked)


def test_a_map_once_given_is_not_changed_by_later_stages() -> None:
    """An in-place activation further on would overwrite it."""
    net = create("plain20", seed=0).eval()
    x = _input(net)
    with torch.no_grad():
        assert torch.equal(net.features(x)[0], net.features(x, [0])[0])


# Parameters.


@pytest.mark.parametrize("name", ALL)
def test_layer_groups_hold_every_parameter_once(name: str) -> None:
    net = _meta(name)
    groups = net.layer_groups()
    grouped = [id(parameter) for _, parameters in groups for parameter in parameters]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in net.parameters()}
    names = [group for group, _ in groups]
    assert len(names) == len(set(names))
    assert names[-1] == "head"


def test_layer_groups_run_from_input_to_output() -> None:
    names = [name for name, _ in _meta("resnet18").layer_groups()]
    blocks = [f"stages.{stage}.{block}" for stage in range(4) for block in range(2)]
    assert names == ["stem", *blocks, "head"]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_zero_init_zeroes_what_torchvisions_does(name: str) -> None:
    theirs = torchvision.models.get_model(name, zero_init_residual=True).state_dict()
    theirs = load_families()["resnet"].renames["torchvision"](theirs)
    ours, usual = (create(name, seed=0, zero_init=zero).state_dict() for zero in (True, False))

    def zeros(state: dict[str, Tensor]) -> set[str]:
        return {n for n, t in state.items() if n.endswith("weight") and not t.any()}

    assert zeros(ours) == zeros(theirs) != set()
    assert zeros(usual) == set()
    others = set(ours) - zeros(ours)
    assert all(torch.equal(ours[name], usual[name]) for name in others)


def test_zero_init_makes_every_block_its_shortcut() -> None:
    net = create("resnet20", seed=0, zero_init=True).eval()
    x = torch.rand(2, 16, 8, 8)
    with torch.no_grad():
        assert torch.equal(net.stages[0](x), x)


@pytest.mark.parametrize("name", SMALL)
def test_a_deep_copy_is_equal_and_independent(name: str) -> None:
    net = create(name, seed=0).eval()
    twin, x = copy.deepcopy(net), _input(net)
    with torch.no_grad():
        before = net(x)
        assert torch.equal(twin(x), before)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(net(x), before)
    assert twin.stage_info == net.stage_info


@pytest.mark.parametrize("name", SMALL)
def test_a_state_dict_carries_everything(name: str, tmp_path: Path) -> None:
    """Buffers too, which the redrawn ones of a step in training differ in."""
    net, other = create(name, seed=0), create(name, seed=1)
    x = _input(net, 4)
    net(x)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(net.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", [*SMALL, "lenet5_dense"])
def test_every_parameter_learns(name: str) -> None:
    """One step: each parameter has a finite gradient that is not zero."""
    net = create(name, seed=0)
    if name == "resnet18":
        net.reset_head(10)
    x = torch.randn(8, net.input_size[0], *(min(size, 64) for size in net.input_size[1:]))
    outputs = net.forward_train(x)
    assert outputs.aux == ()
    F.cross_entropy(outputs.logits, torch.arange(8)).backward()
    for path, parameter in net.named_parameters():
        assert parameter.grad is not None, path
        assert bool(parameter.grad.isfinite().all()), path
        assert bool(parameter.grad.any()), path


@pytest.mark.parametrize("name", SMALL)
def test_a_network_can_overfit_eight_images(name: str) -> None:
    """Teeth for the gradient: following it has to bring the loss down."""
    net = create(name, 4, seed=0)
    generator = torch.Generator().manual_seed(0)
    size = min(net.input_size[1], 64)
    x = torch.randn(8, net.input_size[0], size, size, generator=generator)
    target = torch.arange(8) % 4
    # Adam, because LeNet's own initialisation starts with gradients too small for plain descent.
    optimiser = torch.optim.Adam(net.parameters(), lr=0.005)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(net(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_small_images_are_taken_whole_and_large_ones_cut() -> None:
    """224 out of 256 is how ImageNet is evaluated; torchvision's first weights say the same."""
    reference = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    ours = _meta("resnet50").preprocessing
    assert ([ours.size], [ours.resize]) == (reference.crop_size, reference.resize_size)
    assert list(ours.mean) == reference.mean
    assert list(ours.std) == reference.std
    assert ours.interpolation == reference.interpolation.value
    small = _meta("resnet20").preprocessing
    assert small.size == small.resize == 32


def test_weights_saved_before_batches_were_counted() -> None:
    """Old files lack the counter of each batch norm, which nothing reads in evaluation."""
    reference = torchvision.models.resnet18()
    old = {k: v for k, v in reference.state_dict().items() if "num_batches_tracked" not in k}
    net = create("resnet18", seed=1)
    vertebra.zoo.load_foreign(net, old)
    x = torch.zeros(1, 3, 64, 64)
    assert torch.allclose(net.eval()(x), reference.eval()(x), atol=1e-6)
