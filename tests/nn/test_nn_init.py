"""Initialisation by address: what a parameter's numbers depend on."""

import torch
from torch import Tensor, nn

from vertebra.nn import initialise
from vertebra.zoo import create


def _normal(
    path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
) -> None:
    nn.init.normal_(parameter, generator=generator)


def _drawn(net: nn.Module, seed: int) -> dict[str, Tensor]:
    initialise(net, _normal, seed)
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def _net(*extra: tuple[str, nn.Module]) -> nn.Sequential:
    net = nn.Sequential()
    for name, module in (*extra, ("conv", nn.Conv2d(3, 4, 3)), ("fc", nn.Linear(4, 2))):
        net.add_module(name, module)
    return net


def test_equal_seeds_give_equal_numbers_and_others_do_not() -> None:
    first, second, other = _drawn(_net(), 1), _drawn(_net(), 1), _drawn(_net(), 2)
    for name, numbers in first.items():
        assert torch.equal(numbers, second[name])
        assert not torch.equal(numbers, other[name])


def test_a_parameter_does_not_depend_on_the_layers_around_it() -> None:
    alone = _drawn(_net(), 1)
    crowded = _drawn(_net(("first", nn.Linear(50, 50)), ("norm", nn.BatchNorm2d(7))), 1)
    for name, numbers in alone.items():
        assert torch.equal(numbers, crowded[name]), name


def test_two_parameters_of_one_shape_differ() -> None:
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    drawn = _drawn(net, 1)
    assert not torch.equal(drawn["a.weight"], drawn["b.weight"])


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    net = _net()
    before = torch.get_rng_state()
    first = _drawn(net, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(_drawn(_net(), 1)["fc.weight"], first["fc.weight"])


def test_parameters_on_meta_are_left() -> None:
    with torch.device("meta"):
        net = _net()
    initialise(net, _normal, 0)
    assert all(parameter.is_meta for parameter in net.parameters())


def test_create_with_a_seed_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for name in ("resnet20", "lenet5"):
        create(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_create_without_a_seed_takes_exactly_one_number() -> None:
    torch.manual_seed(5)
    torch.randint(2**31, ())
    after_one = torch.get_rng_state()
    torch.manual_seed(5)
    first = create("resnet20")
    assert torch.equal(torch.get_rng_state(), after_one)
    second = create("resnet20")
    assert not torch.equal(first.head.fc.weight, second.head.fc.weight)
    torch.manual_seed(5)
    again = create("resnet20")
    assert torch.equal(first.head.fc.weight, again.head.fc.weight)


def test_another_number_of_classes_leaves_the_body_as_it_was() -> None:
    ten, two = (create("resnet20", classes, seed=3).state_dict() for classes in (10, 2))
    body = [name for name in ten if not name.startswith("head.fc")]
    assert len(body) == len(ten) - 2
    assert all(torch.equal(ten[name], two[name]) for name in body)
