"""What can be asked of every network, shown on a few; `driver.py` asks all of them."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

import vertebra.zoo
from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create
from vertebra.zoo.foreign import rename

SMALL = ("resnet20", "plain20", "resnet18", "lenet5")


def _meta(name: str, *arguments: int, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create(name, *arguments, seed=0, **options)


def _input(net: Backbone, batch: int = 2) -> Tensor:
    return torch.randn((batch, *net.input_size), generator=torch.Generator().manual_seed(0))


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


def test_layer_groups_run_from_input_to_output() -> None:
    names = [name for name, _ in _meta("resnet18").layer_groups()]
    blocks = [f"stages.{stage}.{block}" for stage in range(4) for block in range(2)]
    assert names == ["stem", *blocks, "head"]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_zero_init_zeroes_what_torchvisions_does(name: str) -> None:
    theirs = torchvision.models.get_model(name, zero_init_residual=True).state_dict()
    theirs = rename(_meta(name), theirs, "torchvision")
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


@pytest.mark.parametrize("picked", ["x", [True], [1.0], [None]])
def test_stages_are_picked_by_number(picked: Any) -> None:
    with pytest.raises(VertebraError, match="by their number"):
        _meta("resnet18").features(torch.empty(1, 3, 64, 64, device="meta"), picked)
