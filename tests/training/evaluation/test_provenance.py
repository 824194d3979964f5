import getpass
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from training.evaluation.provenance import write_provenance
from training.run_folder import ENVIRONMENT_FILE, SPLIT_FILE
from training.run_setup import read_setup

MakeRun = Callable[..., Path]


def test_a_run_says_what_it_was_made_with_and_on_and_nothing_of_the_person(make_run: MakeRun) -> None:
    run_dir = make_run(seed=7)
    write_provenance(read_setup(run_dir, time.monotonic()))
    text = (run_dir / ENVIRONMENT_FILE).read_text()
    environment = json.loads(text)
    assert environment["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert environment["python"] == platform.python_version()
    assert (environment["seed"], environment["device"], environment["processes"]) == (7, "cpu", 1)
    assert environment["base"] == "lungs-unet@1"
    assert environment["code"]
    assert platform.node() not in text
    assert str(run_dir) not in text
    assert f"/{getpass.getuser()}" not in text


def test_the_split_says_which_item_was_used_for_what(make_run: MakeRun) -> None:
    run_dir = make_run()
    setup = read_setup(run_dir, time.monotonic())
    write_provenance(setup)
    split = json.loads((run_dir / SPLIT_FILE).read_text())
    assert [item["name"] for item in split["train"]] == ["train0", "train1", "train2", "train3"]
    assert [item["name"] for item in split["hold_out"]] == ["held0", "held1", "held2"]
    assert split["replay"] == [{"name": "old", "group": "old", "source": "phantoms"}]
