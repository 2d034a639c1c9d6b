"""``vertebra show`` as its user meets it, and what both commands make of a user's own code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from command import run
from torch import nn

from vertebra.anatomy import dissect, memory_of
from vertebra.report import si
from vertebra.zoo import create

THIN = "\N{NARROW NO-BREAK SPACE}"


def test_stages_and_totals() -> None:
    code, out, err = run("show", "resnet50")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    names = [line.split()[0] for line in lines[1:7]]
    assert names == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert f"25{THIN}557{THIN}032" in out
    assert "4.089 G (torchvision: convolutions and matrix products, no bias, no norm)" in out
    assert lines[5].split()[-1] == "427"
    assert max(map(len, lines)) < 100


def test_every_layer() -> None:
    _, out, _ = run("show", "resnet18", "--layers")
    layers = dissect(create("resnet18", seed=0)).layers
    assert [line.split()[0] for line in out.splitlines()[1 : len(layers) + 1]] == [
        layer.name for layer in layers
    ]


def test_modules_down_to_a_depth() -> None:
    for depth, expected in (
        ("1", ["stem", "stages", "head"]),
        ("2", ["stem.0", "stem.1", "stages.0", "stages.1", "stages.2", "stages.3"]),
    ):
        _, out, _ = run("show", "resnet18", "--depth", depth)
        rows = out.splitlines()[1 : len(expected) + 1]
        assert [row.split()[0] for row in rows] == expected
    _, out, _ = run("show", "resnet18", "--depth", "3")
    assert "stages.3.1" in out
    assert "stages.3.1.branch" not in out


def test_conventions() -> None:
    _, out, _ = run("show", "resnet50", "--convention", "fvcore")
    assert "4.112 G (fvcore:" in out
    code, _, err = run("show", "resnet50", "--convention", "fvcor")
    assert (code, err) == (2, "error: unknown counting convention 'fvcor'; did you mean fvcore?\n")


def test_what_training_needs() -> None:
    arguments = ("--batch", "8", "--precision", "bf16", "--optimizer", "momentum")
    _, out, _ = run("show", "resnet18", *arguments, "--memory", "4GiB", "--json")
    found = json.loads(out)["memory"]
    net = create("resnet18", seed=0)
    expected = memory_of(net, batch=8, precision="bf16", optimizer="momentum").to_dict()
    assert {key: found[key] for key in expected} == expected

    def peak(batch: int) -> int:
        return memory_of(net, None, batch, "bf16", "momentum").training_peak

    assert peak(found["largest_batch"]) <= 4 * 2**30 < peak(found["largest_batch"] + 1)
    _, out, _ = run("show", "resnet18", *arguments, "--memory", "1MiB")
    assert "training at batch 8, bf16, momentum" in out
    assert "largest batch in 1MiB: none: not even one image fits" in out


def test_the_roofline() -> None:
    _, out, _ = run("show", "mobilenet_v2_050", "--roofline", "--layers", "--image-size", "64")
    assert "waits for" in out.splitlines()[0]
    assert "layers for memory" in out.splitlines()[-1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own networks, in the folder that the command runs in."""
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "import torch.nn.functional as F\n"
        "def small():\n"
        "    conv = nn.Conv2d(3, 8, 3)\n"
        "    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(8*36, 2))\n"
        "def scaled():\n"
        "    # Looks at numbers while it is built.\n"
        "    net = small()\n"
        "    return net if net[0].weight.abs().max().item() > 0 else None\n"
        "ready = nn.Conv2d(3, 4, 1)\n"
        "def broken():\n"
        "    raise RuntimeError('no weights at hand\\nand more')\n"
        "def needs(width):\n"
        "    return nn.Conv2d(3, width, 1)\n"
        "def word():\n"
        "    return 'net'\n"
        "class Branching(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x if x.sum() > 0 else -x\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table = nn.Embedding(10, 8)\n"
        "        self.conv = nn.Conv2d(3, 8, 1)\n"
        "    def forward(self, image, tokens):\n"
        "        return self.conv(image).flatten(2).mT @ self.table(tokens).mT\n"
        "def fetches():\n"
        "    raise OSError('no route')\n"
        "def quits():\n"
        "    raise SystemExit(3)\n"
        "class Torn(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(4, 8, 1)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x)\n"
        "class Maps(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x):\n"
        "        print('a forward that talks')\n"
        "        return {'map': self.conv(x / 2)}\n"
        "def half():\n"
        "    print('a factory that talks')\n"
        "    return Maps().bfloat16()\n"
        "def ours():\n"
        "    from vertebra.zoo import create\n"
        "    return create('resnet18')\n"
        "def frozen():\n"
        "    return Maps().requires_grad_(False)\n"
    )
    (tmp_path / "torn.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "torn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", ["small", "scaled"])
def test_a_factory_of_ones_own(name: str) -> None:
    code, out, err = run("show", f"mine:{name}", "--input", "3x8x8", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["model"] == f"mine:{name}"
    assert document["macs"] == 36 * 8 * 27 + 8 * 36 * 2
    assert sys.path[0] != str(Path.cwd())


@pytest.mark.usefixtures("package")
def test_several_inputs() -> None:
    two = ("show", "mine:Two", "--input", "3x4x4", "--input", "7:int64", "--json")
    document = json.loads(run(*two)[1])
    assert document["macs"] == 16 * 3 * 8 + 16 * 7 * 8
    batch = json.loads(run(*two, "--batch", "2")[1])
    assert batch["macs"] == 2 * document["macs"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine:small",), "mine:small does not say its input size; give --input 3x224x224"),
        (
            ("mine:broken", "--input", "3x8x8"),
            "mine:broken failed: RuntimeError: no weights at hand (mine.py:13)\n",
        ),
        (
            ("mine:needs", "--input", "3x8x8"),
            "missing 1 required positional argument: 'width'; it is called without arguments, so",
        ),
        (("mine:fetches", "--input", "3x8x8"), "; where it fetches weights, write a function that"),
        (("mine:quits", "--input", "3x8x8"), "mine:quits failed: SystemExit: 3 (mine.py:"),
        (
            ("mine:Torn", "--input", "3x8x8"),
            "(Conv2d) Invalid channel dimensions (mine.py:",
        ),
        (("mine",), "mine.py is code; name what in it makes the network: mine:NAME"),
        (("mine.py",), "mine.py is code; name what in it makes the network: mine:NAME"),
        (("mine:",), "'mine:' lacks a part of package.module:factory"),
        (("runs/gone",), "there is no run folder runs/gone"),
        (("",), "the name of a network is empty"),
        (("timm:resnet50",), "a network of timm's is named timm/resnet50, with a slash"),
        (("mine:word", "--input", "3x8x8"), "mine:word gives a str, not a torch.nn.Module"),
        (("mine:F", "--input", "3x8x8"), "mine:F is a Python module; it should be a function"),
        (("mine:smal", "--input", "3x8x8"), "unknown name in mine 'smal'; did you mean small?"),
        (("torn:make", "--input", "3x8x8"), "importing torn failed: SyntaxError: "),
        (("nowhere.at:all",), "no module 'nowhere.at' to take 'all' from"),
        (
            ("mine:small", "--input", "4x8x8"),
            "Sequential cannot run on an input of shape (1, 4, 8, 8): ",
        ),
        (
            ("mine:Branching", "--input", "3x8x8"),
            "Branching cannot run on an input of shape (1, 3, 8, 8): ",
        ),
        (("mine:small", "--input", "3by8"), "a shape is like 3x224x224, got '3by8'"),
        (("mine:small", "--input", "3x8x8:int46"), "unknown type 'int46'; did you mean int64?"),
        (("resnet18", "--input", "3x8x8", "--image-size", "8"), "give either --image-size or"),
        # Before any work: the network named here cannot be had.
        (("nowhere.at:all", "--memory", "lots"), "an amount of memory is like 16GiB, 800M or 16GB"),
        (("nowhere.at:all", "--precision", "bf6"), "unknown precision 'bf6'; did you mean bf16?"),
        (
            ("nowhere.at:all", "--optimizer", "adamm"),
            "unknown optimizer 'adamm'; did you mean",
        ),
    ],
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("show", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_choice_by_numbers_says_what_it_needs(package: Path) -> None:
    _, _, err = run("show", "mine:Branching", "--input", "3x8x8")
    assert "it reads the numbers of a tensor, and there are none here" in err
    assert package.is_dir()


def test_networks_of_other_libraries() -> None:
    for target in ("timm/regnety_002", "torchvision.models:regnet_y_400mf"):
        code, out, err = run("show", target, "--input", "3x64x64")
        assert (code, err) == (0, "")
        assert "receptive field  global" in out


def test_another_size_builds_the_network_for_it() -> None:
    for option in (("--image-size", "384"), ("--input", "3x384x384")):
        _, out, _ = run("show", "vit_ti_16", *option)
        assert "577 x 192" in out


def test_networks_without_numbers_stay_without() -> None:
    from vertebra.zoo.subjects import subject

    net, name = subject("resnet18", (1, 64, 64))
    assert name == "resnet18"
    assert next(net.parameters()).device == torch.device("meta")


def test_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    arguments = ("--html", str(path), "--convolution", "stem.0.conv", "--batch", "2")
    code, out, err = run("show", "resnet20", *arguments)
    assert code == 0, err
    assert out.splitlines()[-1] == str(path)
    assert err.splitlines() == [
        "drawn on scikit-learn's sample photograph; --image takes yours",
        "worked out with the weights that resnet20 starts from, not trained ones",
    ]
    text = path.read_text()
    assert "stem.0.conv" in text
    assert "http:" not in text.replace("http://www.w3.org/", "")
    assert "https:" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--html", "nowhere/page.html"), "there is no folder nowhere to write page.html into"),
        (("--html", "."), "--html takes a file, and . is a folder"),
        (("--effective",), "--image, --convolution and --effective belong to --html"),
        (("--html", "x.html", "--convolution", "stem.0.con"), "did you mean stem.0.conv?"),
        (("--html", "x.html", "--image", "none.png"), "none.png"),
    ],
)
def test_pages_that_cannot_be(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("show", "resnet20", *arguments)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_digit_is_cut_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from vertebra.cli import output

    monkeypatch.setattr(
        output, "console", lambda: Console(file=sys.stdout, width=width, highlight=False)
    )
    for arguments in (("show", "convnext_atto", "--layers"), ("compare", "resnet18", "resnet20")):
        _, out, _ = run(*arguments)
        layers = dissect(create("convnext_atto", seed=0)).layers
        if "--layers" in arguments:
            rows = out.splitlines()[1 : len(layers) + 1]
            for row, layer in zip(rows, layers, strict=True):
                if layer.macs:
                    assert f"{layer.macs:,}".replace(",", THIN) in row
        else:
            for name in ("resnet18", "resnet20"):
                assert si(dissect(create(name, seed=0)).params) in out


@pytest.mark.parametrize("target", ["timm/xcit_nano_12_p16_224", "torchvision.models:maxvit_t"])
def test_stages_hold_the_whole_network(target: str) -> None:
    document = json.loads(run("show", target, "--input", "3x224x224", "--json")[1])
    for figure in ("macs", "bytes_moved"):
        assert sum(stage[figure] for stage in document["stages"]) == document[figure]
    # XCiT has two parameters that its forward never uses.
    assert document["params"] - sum(stage["params"] for stage in document["stages"]) in (0, 128)


def test_the_memory_of_a_network_that_cannot_train_on_one_image() -> None:
    code, out, err = run("show", "inception_v3", "--memory", "1GiB")
    assert (code, err) == (0, "")
    assert "training at batch 2" in out
    code, _, err = run("show", "inception_v3", "--batch", "1")
    assert code == 2
    assert "more than 1 value per channel" in err


@pytest.mark.usefixtures("package")
def test_what_a_users_code_prints_is_no_answer() -> None:
    code, out, err = run("show", "mine:half", "--input", "3x8x8:bf16", "--json")
    assert (code, json.loads(out)["dtype"]) == (0, "bfloat16")
    assert "a factory that talks" in err
    assert "a forward that talks" in err
    assert run("compare", "mine:frozen", "resnet20", "--input", "3x32x32")[1].startswith("  ")


@pytest.mark.parametrize(
    ("target", "kind"), [("mine:half", ""), ("mine:Maps", ":float32"), ("mine:Maps", ":uint8")]
)
def test_pages_of_networks_that_give_a_dictionary(target: str, kind: str, package: Path) -> None:
    path = package / "page.html"
    extras = ("--html", str(path), "--effective", "--convolution", "conv")
    code, _, err = run("show", target, "--input", f"3x16x16{kind}", *extras)
    assert code == 0, err
    assert "What it really sees" in path.read_text()
    assert "the network says" in path.read_text()


def test_work_on_an_image_takes_one_image(package: Path) -> None:
    two = ("--input", "3x4x4", "--input", "7:int64", "--html", str(package / "page.html"))
    assert run("show", "mine:Two", *two)[0] == 0
    code, _, err = run("show", "mine:Two", *two, "--effective")
    assert (code, err) == (2, "error: mine:Two takes no single image to work anything out on\n")


@pytest.mark.usefixtures("package")
def test_what_is_no_batch_is_shown() -> None:
    """The eight heads of an attention are not dropped as if they were images."""
    _, out, _ = run("show", "torch.nn:Identity", "--input", "3x8x8")
    assert "torch.nn:Identity on 3 x 8 x 8" in out
    body = dissect(nn.MultiheadAttention(64, 8, batch_first=True), inputs=[(1, 20, 64)] * 3)
    scores = next(layer for layer in body.layers if layer.kind == "softmax")
    assert body.per_image(scores.output_shape) == (8, 20, 20)
    assert body.per_image(body.layers[-1].input_shape) == (8, 20, 20)


@pytest.mark.usefixtures("package")
def test_the_size_asked_for_is_the_size_taken() -> None:
    """Also of a factory's network that says another size, as torchvision's and ours do."""
    for target in ("resnet18", "mine:ours", "timm.models.resnet:resnet18"):
        _, out, _ = run("show", target, "--image-size", "128", "--json")
        assert json.loads(out)["input_shape"] == [1, 3, 128, 128]
        # All but the classifier's 512 000 in proportion to the pixels.
        assert json.loads(out)["macs"] == (1_814_073_344 - 512_000) * 16 // 49 + 512_000


@pytest.mark.usefixtures("package")
def test_a_roofline_in_the_precision_asked_for() -> None:
    _, out, _ = run("show", "mine:Maps", "--input", "3x64x64", "--roofline", "--precision", "bf16")
    assert "on this machine, bf16, layer by layer" in out
    wrong = ("show", "mine:Maps", "--input", "3x64x64", "--roofline", "--precision", "fp16")
    code, out, err = run(*wrong)
    assert (code, out) == (2, "")
    assert "unknown precision of a roofline 'fp16'; did you mean" in err


@pytest.mark.usefixtures("package")
def test_nothing_learns() -> None:
    _, out, _ = run("show", "mine:frozen", "--input", "3x8x8", "--batch", "2")
    assert "0 B  nothing in it learns" in out
    assert "receptive field  3 px, of the last map" in out


def test_memory_of_several_inputs(package: Path) -> None:
    two = ("show", "mine:Two", "--input", "3x4x4", "--input", "7:int64", "--memory", "1MiB")
    found = json.loads(run(*two, "--json")[1])["memory"]["largest_batch"]
    assert package.is_dir()

    def peak(batch: int) -> int:
        document = json.loads(run(*two, "--batch", str(batch), "--json")[1])
        return int(document["memory"]["training_peak"])

    assert peak(found) <= 2**20 < peak(found + 1)
