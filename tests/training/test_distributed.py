"""Two processes that train together, as torchrun starts them.

Torchrun itself starts the processes that share gradients. Those that train are forked by the warm process on Linux,
with the variables of torchrun: three interpreters that import torch would take 15 s of CPU.
"""

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_phantoms import WIDER, item, small_card
from warm_starter import WarmStarter

from napari_medseg.core.snapshot import Role
from napari_medseg.networks import build_network, save_version
from training.__main__ import main
from training.distributed import RankContext
from training.run_folder import Compared, EpochEnded, Event, Finished, Started, read_events

MakeRun = Callable[..., Path]


def events_of(run_dir: Path) -> list[Event]:
    return [event for event, _ in read_events(run_dir)]


def fork_together(starter: WarmStarter, run_dir: Path, n_processes: int = 2) -> None:
    """Start the ranks as torchrun does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"TORCHELASTIC_RUN_ID": "one", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(n_processes), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-P", "-m", "training", str(run_dir)]
    with (run_dir / "output.txt").open("ab") as out:
        ranks = [
            starter.popen(
                command, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}, stdout=out, stderr=out
            )
            for rank in map(str, range(n_processes))
        ]
    assert [rank.wait(200) for rank in ranks] == [0] * n_processes, (run_dir / "output.txt").read_text()[-3000:]


def train_together(starter: WarmStarter, run_dir: Path, n_processes: int = 2) -> None:
    if sys.platform == "linux":
        fork_together(starter, run_dir, n_processes)
        return
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-P", "-m", "torch.distributed.run", f"--nproc-per-node={n_processes}"]
    command += ["--master-addr=127.0.0.1", "--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    command += ["-m", "training", str(run_dir)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]


def many_items(folder: Path) -> list:
    items = [item(folder, f"train{n}", Role.TRAIN, seed=n) for n in range(6)]
    items += [item(folder, f"check{n}", Role.VALIDATE, seed=60 + n) for n in range(4)]
    return [*items, *(item(folder, f"held{n}", Role.HOLD_OUT, seed=30 + n) for n in range(3))]


def test_two_processes_are_as_good_as_one_with_the_doubled_batch(
    make_run: MakeRun, tmp_path: Path, warm_starter: WarmStarter
) -> None:
    torch.manual_seed(0)
    save_version(build_network(small_card(WIDER).architecture), small_card(WIDER), tmp_path / "base")
    recipe = {"items": many_items(tmp_path), "base_folder": tmp_path / "base", "n_epochs": 12, "steps_per_epoch": 8}
    together, alone = make_run("together", batch_size=2, **recipe), make_run("alone", batch_size=4, **recipe)
    train_together(warm_starter, together)
    assert main([str(alone)]) == 0
    scores = {}
    for run_dir in (together, alone):
        events = events_of(run_dir)
        for kind, count in ((Started, 1), (EpochEnded, 12), (Compared, 3), (Finished, 1)):
            assert sum(isinstance(event, kind) for event in events) == count
        scores[run_dir] = statistics.fmean(event.val_dice for event in events if isinstance(event, Finished))
    assert min(scores.values()) > 0.8
    assert scores[together] == pytest.approx(scores[alone], abs=0.05)
    assert (together / "report.html").exists()


def test_alone_nothing_is_changed() -> None:
    team, tensor = RankContext(), torch.ones(3)
    team.average([tensor])
    team.average_gradients([tensor])
    assert team.is_main
    assert team.broadcast(0.3) == 0.3
    assert tensor.tolist() == [1.0, 1.0, 1.0]


def test_gradients_and_decisions_are_shared(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, torch\n"
        "from training.distributed import join_process_group\n"
        "with join_process_group() as team:\n"
        "    used = torch.zeros(2, 2, requires_grad=True)\n"
        "    unused = torch.zeros(1, requires_grad=True)\n"
        "    used.grad = torch.full((2, 2), float(team.rank))\n"
        "    if team.rank == 1: unused.grad = torch.tensor([4.0])\n"
        "    team.average_gradients([used, unused])\n"
        "    said = [team.broadcast(7.0 + team.rank), float(team.average_scalar(torch.tensor(float(team.rank))))]\n"
        "    text = f'{used.grad.flatten().tolist()} {unused.grad.tolist()} {said}'\n"
        "    pathlib.Path(sys.argv[1], f'{team.rank}.txt').write_text(text)\n"
    )
    script = tmp_path / "share.py"
    script.write_text(program)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second == "[0.5, 0.5, 0.5, 0.5] [2.0] [7.0, 0.5]"
