"""Several processes train what one would have trained."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hosts import no_hosts, two_hosts
from processes import finish, losses, metrics, start, start_on, start_script
from torch import nn

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.data import open_dataset
from vertebra.machine import describe
from vertebra.runs import Recipe, Run
from vertebra.train.fit import _to_restart
from vertebra.train.group import Group
from vertebra.train.rules import resolve
from vertebra.train.synced_norm import synchronise_norms

MakeFolder = Callable[..., Path]

# A rate at which rounding does not grow a thousandfold in fifty steps.
COMMAND = (
    *("train", "digits", "--quiet", "--set", "duration=50ba", "--set", "warmup=10ba"),
    *("--set", "precision=fp64", "--set", "lr=0.01", "--set", "threads=1"),
)


@pytest.mark.parametrize(
    "network",
    [
        ("convnext_atto", "batch_size=7", "drop_path=0"),
        ("resnet20", "batch_size=31", "sync_norm=true", "image_size=16"),
    ],
    ids=["layer norm", "batch norm"],
)
def test_two_processes_have_the_losses_of_one(tmp_path: Path, network: tuple[str, ...]) -> None:
    """Of 31 images one process has sixteen and the other fifteen; of 7 four and three."""
    model, *changes = network
    command = [*COMMAND, "--model", model, *(part for c in changes for part in ("--set", c))]
    finish(start(*command, "--out", "one", cwd=tmp_path))
    finish(start(*command, "--out", "two", cwd=tmp_path, processes=2))
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 50
    assert sum(one[-10:]) < 0.95 * sum(one[:10]), "nothing was learnt"
    assert two == pytest.approx(one, rel=0, abs=1e-9)
    ends = [metrics(tmp_path / name)[-1] for name in ("one", "two")]
    assert ends[0]["errors"] == ends[1]["errors"]


# What the tests of killed workers train: about ten seconds on one core.
ELASTIC = (
    *("--model", "resnet20", "--epochs", "12", "--set", "batch_size=32", "--set", "image_size=16"),
    *("--set", "threads=1", "--quiet", "--out", "run"),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, make_folder_at: MakeFolder) -> Path:
    """Images, and the run on them of two processes that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    images = make_folder_at(folder / "images", each=80)
    finish(start("train", str(images), *ELASTIC, cwd=folder, processes=2, restarts=3))
    return folder


def test_validation_is_of_the_weights_that_are_saved(undisturbed: Path) -> None:
    """Without synchronised norms each process has statistics of its own, and one's are saved."""
    run = Run.open(undisturbed / "run")
    assert run.recipe.train.sync_norm is False
    judged = vb.train.evaluate(run, "val", checkpoint="last")
    last = run.epochs[-1]
    assert judged.top1 == last["val_top1"]
    assert judged.scores.loss == pytest.approx(last["val_loss"], rel=1e-5)


def wait_for_checkpoint(run: Path) -> None:
    """Until there is one to go on from."""
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "last").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_killed_worker_is_started_again_and_ends_in_the_same_numbers(
    tmp_path: Path, undisturbed: Path
) -> None:
    command = ("train", str(undisturbed / "images"), *ELASTIC)
    process = start(*command, cwd=tmp_path, processes=2, restarts=3)
    wait_for_checkpoint(tmp_path / "run")
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGKILL)
    finish(process)
    assert metrics(tmp_path / "run") == metrics(undisturbed / "run")


@pytest.mark.skipif(no_hosts() is not None, reason=str(no_hosts()))
def test_two_hosts_train_what_one_does_also_when_a_worker_is_killed(
    tmp_path: Path, undisturbed: Path
) -> None:
    """Two network namespaces with one cable between them; the second one's worker is killed."""
    command = ("train", str(undisturbed / "images"), *ELASTIC)
    with two_hosts() as hosts:
        agents = [start_on(host, hosts[0], *command, cwd=tmp_path) for host in hosts]
        wait_for_checkpoint(tmp_path / "run")
        (worker,) = psutil.Process(agents[1].pid).children()
        worker.send_signal(signal.SIGKILL)
        for agent in agents:
            finish(agent)
    assert metrics(tmp_path / "run") == metrics(undisturbed / "run")


def test_divided_weights_have_the_losses_of_whole_ones_also_after_a_stop(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    """FSDP2, with an average, clipping and micro-batches; stopped after an epoch and resumed."""
    command = (
        *("train", str(make_folder(each=40)), "--model", "convnext_atto", "--quiet"),
        *("--epochs", "12", "--set", "batch_size=27", "--set", "micro_batch=5"),
        *("--set", "image_size=32", "--set", "precision=fp64"),
        *("--set", "warmup=0", "--set", "drop_path=0", "--set", "optimizer=adamw"),
        *("--set", "lr=0.001", "--set", "ema_decay=0.9", "--set", "clip_norm=1.0"),
        *("--set", "threads=1", "--track", "tensorboard"),
    )
    finish(start(*command, "--out", "whole", cwd=tmp_path))
    process = start(*command, "--shard", "--out", "parts", cwd=tmp_path, processes=2)
    wait_for_checkpoint(tmp_path / "parts")
    workers = psutil.Process(process.pid).children()
    for each in (process, *workers):
        each.kill()
    process.wait()
    finish(start("train", "--resume", "parts", "--quiet", cwd=tmp_path, processes=2))
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert len(whole) == 24
    assert parts == pytest.approx(whole, rel=0, abs=1e-9)
    assert metrics(tmp_path / "parts")[-1]["loss"] == pytest.approx(
        metrics(tmp_path / "whole")[-1]["loss"], abs=1e-9
    )


def test_a_run_that_may_be_restarted_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    with pytest.raises(VertebraError, match="needs --out"):
        vb.train.fit(Recipe.load("scratch-small"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, "a batch of 2 images cannot be divided between 3 processes"),
        ({"batch_size": 269, "short_batch": "keep"}, "a batch of 1 images cannot be divided"),
        (
            {"batch_size": 49, "micro_batch": 8, "sync_norm": True},
            "train.sync_norm needs as many micro-batches in each of 3 processes",
        ),
        (
            {"batch_size": 10, "micro_batch": 3},
            "train.sync_norm needs as many",  # on by rule
        ),
        (
            {"batch_size": 49, "micro_batch": 8, "shard": True, "model": "convnext_atto"},
            "train.shard needs as many",
        ),
    ],
)
def test_batches_that_would_keep_processes_waiting_are_refused(
    changes: dict[str, object], message: str
) -> None:
    recipe = Recipe.load("scratch-small", **changes)
    with pytest.raises(VertebraError, match=message):
        resolve(recipe, open_dataset("digits"), describe(), Group(world=3))


def test_synchronising_keeps_what_a_norm_does_besides() -> None:
    """timm's batch norms bring an activation along, which torch's conversion would drop."""
    net = vb.zoo.create("timm/mobilenetv3_small_050", num_classes=10, seed=0).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = net(images)
    converted = synchronise_norms(net, torch.device("cuda"))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    torch.testing.assert_close(converted.eval()(images), before)


def test_a_start_that_never_became_a_run_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the files of a new folder: the last of them makes it a run."""
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    (tmp_path / "data.json").write_text("{}")
    assert _to_restart(tmp_path) is None
    (tmp_path / "recipe.yaml").write_text("")
    assert _to_restart(tmp_path) == tmp_path


SPOILT = """
import sys
import vertebra as vb

class Spoil:
    def on(self, event, moment):
        if event is vb.runs.Event.BATCH_READY and moment.step == 3:
            moment.images.fill_(float("inf"))

try:
    recipe = vb.runs.Recipe.load("scratch-small", batch_size=8, image_size=16, threads=1)
    vb.train.fit(recipe, "run", observers=(Spoil(),))
except vb.core.VertebraError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_what_one_process_meets_stops_all(tmp_path: Path) -> None:
    """The first alone has observers: its images become infinite; norms are synchronised by rule."""
    script = tmp_path / "spoilt.py"
    script.write_text(SPOILT)
    done = start_script(script, cwd=tmp_path, processes=2)
    out, err = done.communicate(timeout=400)
    assert done.returncode == 1, err
    assert out.count("the images themselves are not finite") == 2, out + err
    assert "Traceback" not in out


def test_few_images_in_each_process_synchronise_their_norms() -> None:
    """As many as the rule asks for do not; and the threads of a machine are shared."""
    dataset, machine = open_dataset("digits"), describe()
    few = resolve(Recipe.load("scratch-small", batch_size=45), dataset, machine, Group(world=3))
    many = resolve(Recipe.load("scratch-small", batch_size=48), dataset, machine, Group(world=3))
    alone = resolve(Recipe.load("scratch-small", batch_size=8), dataset, machine)
    assert (few.train.sync_norm, many.train.sync_norm, alone.train.sync_norm) == (
        True,
        False,
        False,
    )
    shared = resolve(
        Recipe.load("scratch-small", batch_size=64), dataset, machine, Group(1, 64, 1, 64)
    )
    assert shared.train.threads == max(1, machine.cores // 64)


def _part_of_a_batch(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = synchronise_norms(_norms(), torch.device("cpu")).train()
    x = _batch()[slice(0, 5) if rank == 0 else slice(5, 12)].clone().requires_grad_()
    y = net(x)
    (y * _slope()[: len(y)] if rank == 0 else y * _slope()[5:]).sum().backward()
    torch.save(
        {"y": y.detach(), "x": x.grad, **{n: p.grad for n, p in net.named_parameters()}}
        | {f"kept {n}": b for n, b in net.named_buffers()},
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


def _norms() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.3), nn.Tanh(), nn.BatchNorm2d(3, momentum=None)
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net.double()


def _batch() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 3, 4, 5, generator=generator, dtype=torch.float64) * 3 + 7


def _slope() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(12, 3, 4, 5, generator=generator, dtype=torch.float64)


def test_synchronised_batch_norm_is_batch_norm_of_the_whole_batch(tmp_path: Path) -> None:
    """Outputs, running statistics and every gradient, of parts of unequal size."""
    mp.spawn(_part_of_a_batch, args=(str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    net, x = _norms().train(), _batch().requires_grad_()
    y = net(x)
    (y * _slope()).sum().backward()
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), y)
    torch.testing.assert_close(torch.cat([part["x"] for part in parts]), x.grad)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parts[0][name] + parts[1][name], parameter.grad)
    for name, buffer in net.named_buffers():
        for part in parts:
            torch.testing.assert_close(part[f"kept {name}"], buffer)
