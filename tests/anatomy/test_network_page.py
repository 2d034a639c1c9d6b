"""The page of a network: what it says is what was dissected, and a browser can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from html_reader import Reader
from vertebra.anatomy import CONVENTIONS, Anatomy, bounds, dissect, memory_of
from vertebra.anatomy.effective import effective_field
from vertebra.anatomy.page import network_page
from vertebra.anatomy.page_tree import tree_of
from vertebra.anatomy.worked import work_through
from vertebra.machine import Roofline
from vertebra.report import Row
from vertebra.report import size as in_bytes
from vertebra.zoo import create

HOSTILE = "<script>alert(1)</script>\" onload='x' </style>{{ 7 * 7 }}"


def meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create(name)


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def whole(name: str = "resnet20") -> str:
    """A page with every section."""
    net = create(name, seed=0)
    x = torch.randn(1, *net.input_size, generator=torch.Generator().manual_seed(0))
    return network_page(
        dissect(net),
        name,
        picture=photograph(),
        memory=memory_of(net, batch=4),
        worked=work_through(net, x, net.input_layers()[0]),
        effective=effective_field(net, samples=1),
    ).html()


def check_readable(html: str) -> Reader:
    """Nested properly, without script, and without an address to anywhere."""
    reader = Reader(html)
    assert not reader.unbalanced
    assert not reader.open
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "foreignobject", "base"}
    for _, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    # What is encoded may hold any letters.
    rest = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", html)
    assert "http" not in rest.replace("http-equiv", "")
    assert "//" not in rest
    assert "url(" not in html
    assert "@import" not in html
    return reader


def test_every_section_is_readable() -> None:
    reader = check_readable(whole())
    assert reader.depth == 2  # parts and blocks unfold, layers do not
    headings = [tag for tag, _ in reader.elements if tag == "h2"]
    assert len(headings) == 5
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 5  # photograph, image, two maps, effective field
    used = {a["href"] for tag, a in reader.elements if tag == "use"}
    assert used == {f"#{name}" for name in ids}


class Odd(nn.Module):
    """Names that are no identifiers, a branch that runs twice, parameters that nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("<script>alert(1)</script>", nn.Conv2d(3, 4, 3))
        self.add_module("</details>", nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)))
        self.spare = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.get_submodule("<script>alert(1)</script>")(x)
        again = self.get_submodule("</details>")
        return (again(again(x)) + x).mean((2, 3))


def test_names_are_text() -> None:
    body = dissect(Odd(), (3, 8, 8), batch=2)
    reader = check_readable(network_page(body, HOSTILE).html())
    assert HOSTILE in reader.text
    assert "<script>alert(1)</script> Conv2d" in reader.text
    assert "110 parameters have no part in this forward pass" in reader.text
    assert "A batch of 2 images of 3 x 8 x 8" in reader.text


def leaves(rows: Sequence[Row], depth: int = 1) -> Iterator[tuple[int, Row]]:
    for row in rows:
        if row.children:
            yield from leaves(row.children, depth + 1)
        else:
            yield depth, row


def nodes(rows: Sequence[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        yield from nodes(row.children)


@pytest.mark.parametrize(
    "name", ["resnet20", "densenet121", "swin_t", "vit_b_16", "efficientnet_b0", "googlenet"]
)
def test_every_layer_has_its_row(name: str) -> None:
    body = dissect(meta(name))
    rows = tree_of(body)
    assert [row.name for row in rows] == [stage.name for stage in body.stages]
    found = list(leaves(rows))
    assert max(depth for depth, _ in found) <= 3
    assert sorted(row.prefix + row.name for _, row in found) == sorted(
        layer.name for layer in body.layers
    )
    assert max(len(row.children) for row in nodes(rows)) <= 80
    for row in nodes(rows):
        if row.children:
            for column in (2, 3):
                inner = sum(child.cells[column].share or 0 for child in row.children)
                assert (row.cells[column].share or 0) == pytest.approx(inner)
    for column, used in ((2, sum(layer.params for layer in body.layers) / body.params), (3, 1.0)):
        assert sum(row.cells[column].share or 0 for row in rows) == pytest.approx(used)


def test_a_row_says_what_the_layer_is() -> None:
    rows = tree_of(dissect(meta("resnet18")))
    block = rows[1].children[0]
    assert (block.name, block.kind) == ("stages.0.0", "ResidualBlock")
    assert [cell.text for cell in block.cells] == ["64 x 56 x 56", "27", "73.98 k", "231.2 M"]
    conv = block.children[0]
    assert (conv.prefix, conv.name, conv.kind) == ("stages.0.0.", "branch.0.conv", "Conv2d")
    assert [cell.text for cell in conv.cells] == ["64 x 56 x 56", "19", "36.86 k", "115.6 M"]
    assert conv.cells[2].share == pytest.approx(36864 / 11689512)
    assert [row.quiet for row in block.children] == [False, False, True, False, False, True, True]


def test_a_net_of_bare_layers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    rows = tree_of(dissect(net, (3, 8, 8)))
    assert [(row.name, row.kind, row.children) for row in rows] == [
        ("0", "Conv2d", ()),
        ("1", "ReLU", ()),
        ("2", "Flatten", ()),
        ("3", "Linear", ()),
    ]


def test_no_map_at_all() -> None:
    html = network_page(dissect(nn.Linear(4, 2), inputs=[(5, 4)]), "linear").html()
    reader = check_readable(html)
    assert "What each part sees" not in reader.text
    assert "receptive field" not in reader.text.replace("theoretical receptive field", "")
    assert "A batch of 5 inputs of 4. 1 layer in 1 part." in reader.text


def test_costs_are_told() -> None:
    """Memory, the largest batch and the roofline; the figures are the ones that were handed in."""
    body, memory = dissect(meta("resnet20")), memory_of(meta("resnet20"), batch=4)
    roof = Roofline({"fp32": 2e9}, 1e9, threads=3)
    under = bounds(body, roof)
    page = network_page(body, "n", memory=memory, largest=("16GiB", 123), roofline=(roof, under))
    text = check_readable(page.html()).text
    for words in (
        "largest batch that trains in 16GiB 123",
        f"training, at the most {in_bytes(memory.training_peak)}",
        "fp32, 3 threads: 2 GMAC/s in large products, 1 GB/s in a copy",
        f"one forward, layer by layer {1e3 * under.seconds:.3g} ms",
    ):
        assert words in " ".join(text.split())
    slowest = max(under.layers, key=lambda layer: layer.seconds)
    assert f"{slowest.name} {slowest.kind} {slowest.by}" in " ".join(text.split())


def rectangles(html: str) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of every mark."""
    return [
        (float(a["x"]), float(a["y"]), float(a["width"]), float(a["height"]))
        for tag, a in Reader(html).elements
        if tag == "rect" and a["class"] == "mark"
    ]


def test_fields_are_drawn_where_they_are() -> None:
    """The known fields of ResNet-18, 11, 43, 99, 211 and 435, around their middle positions."""
    body = dissect(meta("resnet18"))
    marks = rectangles(network_page(body, "resnet18", picture=photograph()).html())
    # Position p of a map with stride s looks at pixel s * p, for networks padded by half.
    for (left, top, width, height), (size, middle) in zip(
        marks, ((11, 112), (43, 112), (99, 112), (211, 112), (435, 96)), strict=True
    ):
        first, last = max(middle - size // 2, 0), min(middle + size // 2, 223)
        assert (left, top) == (first, first)
        assert (width, height) == (last - first + 1, last - first + 1)


def test_a_global_field_is_the_whole_frame() -> None:
    marks = rectangles(network_page(dissect(meta("vit_b_16")), "vit").html())
    assert marks == [(112, 112, 16, 16), *[(0, 0, 224, 224)] * 4]


def test_figures_are_those_of_the_dissection() -> None:
    body = dissect(meta("resnet18"), convention="fvcore")
    text = Reader(network_page(body, "n").html()).text
    for words in ("11.69 M", "435 px", body.fingerprint, "by fvcore", CONVENTIONS["fvcore"]):
        assert words in text


def test_what_is_not_known_is_said() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(self.conv(x)).real

    body = dissect(Spectrum(), (3, 9, 9))
    assert body.partial
    text = Reader(network_page(body, "n").html()).text
    assert f"Not counted, because nothing is known of their arithmetic: {body.partial[0]}" in text
    assert "at least" in text
    assert "not followed beyond fft_c2c" in text


@pytest.mark.parametrize("name", ["densenet201", "swin_l"])
def test_large_networks_stay_below_a_megabyte_and_a_half(name: str) -> None:
    body: Anatomy = dissect(meta(name))
    html = network_page(body, name, picture=photograph()).html()
    check_readable(html)
    assert 50_000 < len(html.encode()) < 1_500_000


def test_the_arithmetic_adds_up_on_the_page() -> None:
    """The numbers as they are printed: channels and bias add up to the result."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(12, 2, 3, padding=1))
    worked = work_through(net, torch.randn(1, 12, 6, 6), "0", (0, 5), 1)
    html = network_page(dissect(net, (12, 6, 6)), "n", worked=worked).html()
    text = "".join(Reader(html).texts).replace("\u2212", "-")
    lines = text[text.index("channel ", text.index("Arithmetic: products of one")) :]
    terms: list[float] = []
    for sign, number, what in re.findall(r"^([+-]) ([\d.]+)  +(.*)$", lines, re.MULTILINE):
        assert re.fullmatch(r"channel \d+|4 other channels|bias", what)
        terms.append(float(sign + number))
    assert len(terms) == 10
    result = re.search(r"^= (\S+) +result", lines, re.MULTILINE)
    says = re.search(r"^  (\S+) +the network says", lines, re.MULTILINE)
    assert result
    assert says
    assert sum(terms) == pytest.approx(float(result[1]), abs=1e-4)
    assert float(says[1]) == pytest.approx(worked.network, abs=1e-5)
    products = re.findall(r"([+-]) ([\d.]+)", lines[: lines.index("=")])
    assert len(products) == 9
    c = worked.strongest[0]
    added = sum(float(sign + number) for sign, number in products)
    assert added == pytest.approx(float(worked.sums[c]), abs=1e-4)


def test_a_large_kernel_scrolls_in_its_box() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 11, stride=4, padding=2))
    worked = work_through(net, torch.randn(1, 3, 40, 40), "0", (0, 0))
    page: Any = network_page(dissect(net, (3, 40, 40)), "n", worked=worked)
    reader = check_readable(page.html())
    grids = [a for tag, a in reader.elements if tag == "table" and a.get("class") == "grid"]
    assert len(grids) == 3
    cells = [a for tag, a in reader.elements if tag == "td" and "--a" in a.get("style", "")]
    assert len(cells) == 3 * 121
    # Two rows and two columns of the first window lie in the padding; the kernel never does.
    assert len([a for a in cells if "out" in a["class"].split()]) == 2 * (121 - 81)
    assert "the 121 products above" in reader.text
