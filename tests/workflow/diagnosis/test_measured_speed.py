"""What `medseg doctor` shows of the measurements, and how they are forgotten."""

from pathlib import Path

from napari_medseg.inference.tuning.tuned_choice import Trial, TunedChoice, TuningCache, TuningKey
from napari_medseg.workflow.diagnosis.measured_speed import (
    describe_choice,
    describe_choices,
    forget_measured,
    list_measured,
)

KEY = TuningKey(
    wish="auto",
    device="CPU (x86_64, AVX2)",
    driver="",
    libraries="torch 2.15, openvino 2026.4",
    program="0.1.0",
    weights_sha256="a" * 64,
    architecture="{}",
    n_threads=2,
)
CHOICE = TunedChoice(
    key=KEY,
    model="lungs-unet@4",
    runtime="openvino",
    precision="fp32",
    batch_px=262_144,
    agreement=1.0,
    reason="OpenVINO is 2.00 times as fast as torch in fp32",
    trials=(Trial(way="torch fp32", seconds_per_mp=1.0), Trial(way="openvino fp32", seconds_per_mp=0.5)),
)


def test_choices_are_listed_described_and_forgotten(tmp_path: Path) -> None:
    assert list_measured(tmp_path) == []
    TuningCache(tmp_path / "tuning").write(CHOICE)
    (tmp_path / "tuning" / "damaged.json").write_text("{", encoding="utf-8")
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "model.bin").write_bytes(b"weights")
    assert list_measured(tmp_path) == [CHOICE]
    assert describe_choice(CHOICE) == (
        "lungs-unet@4 on CPU (x86_64, AVX2), 2 threads: OpenVINO in fp32, batches of 0.26 million pixels "
        "(OpenVINO is 2.00 times as fast as torch in fp32, 100.00% of the labels equal); "
        "per million pixels: torch fp32 1.00 s, openvino fp32 0.50 s"
    )
    assert describe_choices([CHOICE])[0]["trials"][1] == {"way": "openvino fp32", "seconds_per_mp": 0.5}
    assert forget_measured(tmp_path) == 2
    assert list_measured(tmp_path) == []
    assert not list((tmp_path / "openvino").iterdir())


def test_a_choice_holds_for_its_key_only(tmp_path: Path) -> None:
    cache = TuningCache(tmp_path)
    cache.write(CHOICE)
    assert cache.read(KEY) == CHOICE
    for name, value in [("driver", "560.1"), ("n_threads", 4), ("program", "0.2.0"), ("libraries", "torch 2.16")]:
        assert cache.read(KEY.model_copy(update={name: value})) is None, name
    (tmp_path / KEY.file_name).write_text(
        CHOICE.model_copy(update={"key": KEY.model_copy(update={"n_threads": 4})}).model_dump_json(), encoding="utf-8"
    )
    assert cache.read(KEY) is None, "a file under another name"
