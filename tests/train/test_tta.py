"""Test-time augmentation, against torchvision's views through the network by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

import vertebra as vb
from vertebra.cli import main
from vertebra.core import VertebraError
from vertebra.runs import Recipe, Run
from vertebra.train import evaluate, load_model
from vertebra.train.infer import classify_split
from vertebra.train.own_data import dataset_of
from vertebra.train.tta import mean_logits

SIZE, RESIZE, EACH = 16, 24, 40


def picture(folder: Path, index: int, level: int) -> None:
    """Wider than high, with something to one side: views of it differ."""
    generator = np.random.default_rng((index, level))
    pixels = generator.integers(level, level + 60, (RESIZE, 40, 3), dtype=np.uint8)
    pixels[:, 26:] //= 3
    Image.fromarray(pixels).save(folder / f"{index:03d}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("tta")
    for name, level in (("dark", 60), ("light", 110)):
        (root / "images" / name).mkdir(parents=True)
        for index in range(EACH):
            picture(root / "images" / name, index, level)
    changes = {"epochs": 2, "warmup": 0, "batch_size": 16, "threads": 1, "precision": "fp32"}
    recipe = Recipe.load(
        "scratch-small",
        model="resnet20",
        data=str(root / "images"),
        image_size=SIZE,
        resize=RESIZE,
        **changes,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.summary.write_report", lambda *_: None)
        return vb.train.fit(recipe, root / "run")


def by_hand(run: Run, ids: tuple[str, ...], views: Any) -> NDArray[np.float64]:
    """Mean probabilities of ``views(image)``, one image at a time."""
    net, own = load_model(run).double(), run.preprocessing
    rows = []
    for name in ids:
        path = Path(run.recipe.data.source) / name
        image = tvf.pil_to_tensor(Image.open(path).convert("RGB"))
        batch = torch.stack(
            [tvf.to_dtype(view, torch.float64, scale=True) for view in views(image)]
        )
        with torch.no_grad():
            logits = net(tvf.normalize(batch, list(own.mean), list(own.std)))
        rows.append(logits.softmax(dim=1).mean(dim=0).numpy())
    return np.stack(rows)


def flips(image: torch.Tensor) -> list[torch.Tensor]:
    centre = v2.CenterCrop(SIZE)(image)
    return [centre, v2.RandomHorizontalFlip(p=1.0)(centre)]


VIEWS = {"flip": flips, "ten_crop": v2.TenCrop(SIZE), None: v2.Lambda(lambda x: flips(x)[:1])}


@pytest.mark.parametrize("tta", list(VIEWS))
def test_probabilities_are_the_mean_over_torchvisions_views(run: Run, tta: str | None) -> None:
    found = evaluate(run, "val", tta=tta)
    expected = by_hand(run, found.ids, VIEWS[tta])
    assert found.probabilities == pytest.approx(expected, abs=2e-5)
    right = (expected.argmax(axis=1) == found.labels).mean()
    true = expected[np.arange(len(expected)), found.labels]
    assert found.top1 == pytest.approx(right)
    assert found.scores.loss == pytest.approx(-np.log(true).mean(), abs=2e-5)


def test_each_gives_other_numbers(run: Run) -> None:
    """Otherwise the comparison above compares nothing."""
    one, two, ten = (
        evaluate(run, "val", tta=tta).probabilities for tta in (None, *list(VIEWS)[:2])
    )
    assert min(abs(one - two).max(), abs(one - ten).max(), abs(two - ten).max()) > 1e-3


@pytest.mark.parametrize("tta", ["flip", "ten_crop"])
def test_batches_and_workers_change_nothing(run: Run, tta: str) -> None:
    """The last batch is short, and none ends within an image."""
    whole = evaluate(run, "train", tta=tta)
    section = run.recipe.train.model_copy(update={"workers": 2, "micro_batch": 35})
    split, device = dataset_of(run.recipe).train, torch.device("cpu")
    divided = classify_split(load_model(run), split, run.preprocessing, device, section, tta=tta)
    assert divided.places.tolist() == whole.places.tolist()
    assert divided.probabilities == pytest.approx(whole.probabilities, abs=1e-5)


def test_batches_are_no_larger_with_views(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def watched(self: Any, images: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(images))
        return plain(self, images, *rest)

    kind = type(load_model(run))
    plain = kind.forward
    monkeypatch.setattr(kind, "forward", watched)
    evaluate(run, "train", tta="ten_crop")
    many = len(evaluate(run, "train").ids)
    assert max(sizes) <= 64
    assert sum(sizes) == 11 * many


def test_a_broken_image_is_left_out_and_told_of_once(run: Run, tmp_path: Path) -> None:
    for name in run.classes:
        (tmp_path / name).mkdir()
        for index in range(3):
            picture(tmp_path / name, index, 90)
    broken = tmp_path / "dark" / "001.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = evaluate(run, data=tmp_path, tta="ten_crop")
    assert [entry.id for entry in found.skipped] == ["dark/001.png"]
    assert found.places.tolist() == [0, 2, 3, 4, 5]
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    whole = evaluate(run, data=tmp_path)
    assert found.ids == whole.ids


def test_the_mean_keeps_what_a_float_cannot_hold() -> None:
    """The loss of a class at a probability of e^-200 is 200 nats."""
    logits = torch.tensor([[0.0, -200.0], [0.0, -202.0], [3.0, 1.0], [1.0, 1.0]])
    mean = mean_logits(logits, 2)
    expected = logits.double().softmax(dim=1).view(2, 2, 2).mean(dim=1)
    assert mean.softmax(dim=1).numpy() == pytest.approx(expected.numpy(), abs=1e-7)
    assert mean[0, 1].item() == pytest.approx(-200 + np.log((1 + np.exp(-2)) / 2))


def test_what_cannot_be_is_refused_before_anything_is_read(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["vertebra.train.evaluate"], "unchanged_dataset", None)
    with pytest.raises(VertebraError, match="did you mean flip"):
        evaluate(run, tta="flips")
    monkeypatch.setitem(run.__dict__, "recipe", run.recipe.override(resize=SIZE))
    with pytest.raises(VertebraError, match="nothing to cut: the run resizes images to 16"):
        evaluate(run, tta="ten_crop")


def test_the_record_and_the_command_say_it(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(run, tta="flip")
    assert found.to_dict()["tta"] == "flip"
    assert evaluate(run).to_dict()["tta"] is None
    assert main(["evaluate", str(run.path), "--tta", "flip", "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["tta"], document["loss"]) == ("flip", found.scores.loss)
    assert main(["evaluate", str(run.path), "--tta", "flip", "--quiet"]) == 0
    assert "mean over the views of flip" in capsys.readouterr().out
    assert main(["evaluate", str(run.path), "--tta", "fip"]) == 2
    assert "did you mean flip?" in capsys.readouterr().err
