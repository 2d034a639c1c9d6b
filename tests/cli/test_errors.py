"""Every mistake a user can make: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import TINY, run

from vertebra.core import VertebraError


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def assert_refused(*arguments: str, says: str) -> None:
    """The command fails with one error line that has ``says`` in it, and writes nothing."""
    before = sorted(Path.cwd().rglob("*"))
    code, out, err = run(*arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0]
    assert says in errors[0]
    assert "Traceback" not in err
    assert out == ""
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "digits", "--model", "resnet2O"), "did you mean resnet20?"),
        (("show", "resnet5"), "did you mean resnet50?"),
        (("train", "digits", "--set", "learning_rat=1"), "unknown recipe key 'learning_rat'"),
        (("train", "digits", "--set", "betas=[0.9]"), "should have more values, got [0.9]"),
        (("train", "digits", "--set", "label_smoothin=0.1"), "did you mean label_smoothing?"),
        (("train", "digits", "--set", "lr=fast"), "'train.lr' should be a valid number"),
        (("train", "digits", "--set", "lr=-1"), "greater than 0"),
        (("train", "digits", "--set", "lr"), "KEY=VALUE"),
        (("train", "digits", "--epochs", "many"), "--epochs"),
        (("train", "digits", "--epochs", "0"), "train.duration"),
        (("train", "digits", "--recipe", "scratch-smal"), "did you mean scratch-small?"),
        (("train", "digits", "--recipe", "none.yaml"), "no recipe file none.yaml"),
        (("train",), "what shall it train on"),
        (("train", "digits", "--epochs", "5", "--set", "epochs=3"), "'epochs' is given twice"),
        (("train", "digits", "--epochs", "5", "--set", "train.epochs=3"), "is given twice"),
        (("train", "digits", "--set", "data.source=x"), "'data.source' is given twice"),
        (("train", "digits", "--set", "lr=1", "--set", "train.lr=2"), "is given twice"),
        (("train", "a" * 300), "File name too long"),
        (("evaluate", "a" * 300), "File name too long"),
        (("train", "digits", "--set", "model.options.seed=3"), "unknown option"),
        (("train", "digits", "--set", "device=meta"), "no device"),
        (
            ("train", "digits", "--folds", "2", "--track", "nonsense"),
            "--folds has no use for --track",
        ),
        (("train", "digits", "--dry-run", "--tune", "--out", "x"), "no use for --tune and --out"),
        (("train", "nowhere"), "no such file or folder: nowhere"),
        (("train", "--resume", "nowhere"), "no run folder nowhere"),
        (("evaluate", "nowhere"), "no run folder nowhere"),
        (("predict", "nowhere", "x.png"), "no run folder nowhere"),
        (("models", "nothing*"), "no model matches"),
        (("show", "resnet50", "--image-size", "0"), "--image-size"),
        (("models", "--family", "resne"), "did you mean resnet?"),
        (("tarin", "digits"), "tarin"),
        (("train", "digits", "--modle", "resnet20"), "--modle"),
    ],
)
def test_mistyped(arguments: tuple[str, ...], says: str) -> None:
    assert_refused(*arguments, says=says)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused("train", "empty", says="no class folders")


def test_images_without_class_folders(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    make_folder()
    assert_refused("train", "images/dark", says="no class folders")


def test_a_class_without_images(make_folder: Callable[..., Path]) -> None:
    (make_folder() / "grey").mkdir()
    assert_refused("train", "images", says="class 'grey'")


def test_one_class_only(make_folder: Callable[..., Path]) -> None:
    make_folder(classes=("dark",))
    assert_refused("train", "images", says="only one class, 'dark'")


@pytest.mark.parametrize("odd", ["__MACOSX", None])
def test_folders_that_are_nearly_splits(
    tmp_path: Path, make_folder: Callable[..., Path], odd: str | None
) -> None:
    """Not two classes called train and test."""
    for split in ("train", "test") if odd else ("val", "test"):
        make_folder(f"images/{split}")
    if odd:
        (tmp_path / "images" / odd / "x").mkdir(parents=True)
    assert_refused("train", "images", says="looks like a split")


def test_images_all_broken(make_folder: Callable[..., Path]) -> None:
    for path in make_folder().rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:100])
    assert_refused("train", "images", says="no image of class 'dark'")


def test_one_class_all_broken(make_folder: Callable[..., Path]) -> None:
    for path in (make_folder() / "dark").rglob("*.jpg"):
        path.write_bytes(b"")
    assert_refused("train", "images", says="no image of class 'dark'")


def test_output_that_cannot_be_written(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    make_folder()
    (tmp_path / "file").write_text("")
    assert_refused("train", "images", *TINY, "--out", "file/run", says="file")
    assert_refused("train", "images", *TINY, "--out", "file", says="is a file")
    assert_refused("train", "images", *TINY, "--out", "/proc/nowhere/run", says="/proc/nowhere/run")


def test_output_folder_that_is_taken(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    make_folder()
    assert_refused("train", "images", *TINY, "--out", "images", says="not empty")


def test_resume_when_the_data_has_changed(finished: Path) -> None:
    added = finished / "images" / "dark" / "new.png"
    added.write_bytes((finished / "images" / "dark" / "0.png").read_bytes())
    try:
        assert_refused("train", "--resume", str(finished / "run"), says="trained on other data")
        assert_refused("evaluate", str(finished / "run"), says="trained on other data")
    finally:
        added.unlink()


def test_resume_takes_nothing_else(finished: Path) -> None:
    assert_refused("train", "--resume", str(finished / "run"), "--epochs", "9", says="own recipe")


def test_a_run_is_not_overwritten(finished: Path) -> None:
    target = str(finished / "run")
    assert_refused("train", str(finished / "images"), *TINY, "--out", target, says="--resume")


def test_more_classes_in_the_data_than_in_the_run(
    finished: Path, make_folder: Callable[..., Path]
) -> None:
    make_folder(classes=("dark", "light", "grey"))
    assert_refused(
        "evaluate", str(finished / "run"), "--data", "images", says="does not know: grey"
    )


def test_checkpoint_that_is_none(finished: Path) -> None:
    arguments = ("evaluate", str(finished / "run"), "--checkpoint")
    assert_refused(*arguments, "bst", says="did you mean best?")
    assert_refused(*arguments, "../recipe.yaml", says="unknown checkpoint")


def test_split_that_is_not_there(finished: Path) -> None:
    assert_refused("evaluate", str(finished / "run"), "--split", "holdout", says="holdout")


def test_nothing_to_predict(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    (tmp_path / "none").mkdir()
    assert_refused("predict", str(finished / "run"), "x.png", says="x.png")
    assert_refused("predict", str(finished / "run"), "none", says="no images in none")
    assert_refused("predict", str(finished / "run"), "gone.png", says="gone.png")


def test_a_folder_that_cannot_be_listed(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, listed = make_folder(), os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("light"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert_refused("train", str(root), says="light: Permission denied")
    assert_refused("train", str(root.parent), says="light: Permission denied")


def test_errors_carry_their_exit_code() -> None:
    assert VertebraError("x").exit_code == 2
