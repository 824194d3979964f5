"""How fast frames of a video are reached and played, and how much memory a long video takes, beside imageio's reader.

A minute of 1080p is encoded once for each distance of key frames, and repeated packet by packet to any length.

    python benchmarks/video.py --minutes 120 --groups 12 48 250 --pictures FOLDER --out video.json

With --play, the real window plays 1080p with labels for ten seconds instead (add xvfb-run where there is no screen):

    python benchmarks/video.py --play
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from long_videos import RATE, repeat_segment, write_segment

from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.video_reader import VideoReader

JUMPS = 20
STEPS = 40
PLAY_S = 5
LIMIT_S = 300
BEHIND = 24
"""The window keeps so many frames before one that a step back led to."""
Read = Callable[[int], object]
READERS = ("ours", "imageio")


def measure(path: Path, reader: str) -> dict[str, Any]:
    """Measure one reader on one video: the index, jumps, steps back, playing, and memory."""
    process = psutil.Process()
    before = process.memory_info().rss
    began, cpu = time.perf_counter(), time.process_time()
    read, read_behind, n_frames = OPENERS[reader](path)
    opened = {"open_s": time.perf_counter() - began, "open_cpu_s": time.process_time() - cpu}
    places = random.Random(1).sample(range(n_frames), JUMPS)
    jumps = [_time(read, number) for number in places]
    start = n_frames // 2
    back = [_time(read_behind, start - step) for step in range(STEPS)]
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(0, PLAY_S * RATE, max(1, RATE // 10)):
        read(number)
    played_s, played_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return opened | {
        "n_frames": n_frames,
        "jump_ms": _describe(jumps),
        "step_back_ms": _describe(back),
        "pictures_a_second": PLAY_S * 10 / played_s,
        "play_cpu_share": played_cpu_s / PLAY_S,
        "memory_mb": (process.memory_info().rss - before) / 2**20,
    }


def open_ours(path: Path) -> tuple[Read, Read, int]:
    """Open a video as the window does."""
    reader = VideoReader(path, read_index(path))
    return reader.read, partial(reader.read, steps_back=BEHIND), reader.index.n_frames


def open_imageio(path: Path) -> tuple[Read, Read, int]:
    """Open a video with imageio's reader, as napari's plugins for videos do."""
    import imageio.v3 as iio

    file: Any = iio.imopen(path, "r", plugin="pyav")
    n_frames = file.properties(index=...).shape[0]

    def read(number: int) -> object:
        return file.read(index=number)

    return read, read, n_frames


OPENERS = {"ours": open_ours, "imageio": open_imageio}


def run_each(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure each reader on each video in a process of its own, so that memory is its own."""
    pictures = _list_pictures(arguments.pictures)
    for group in arguments.groups:
        segment, path = folder / f"segment{group}.mp4", folder / f"long{group}.mp4"
        write_segment(segment, pictures, 60 * RATE, group)
        repeat_segment(segment, path, arguments.minutes)
        for reader in READERS:
            words = [sys.executable, __file__, "--measure", str(path), "--reader", reader]
            about = {"group": group, "minutes": arguments.minutes, "reader": reader, "file_mb": _megabytes(path)}
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, check=False, env=os.environ, timeout=LIMIT_S
                )
            except subprocess.TimeoutExpired:
                yield about | {"error": f"not done within {LIMIT_S} s"}
                continue
            yield about | (json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-300:]})
        path.unlink()


def main() -> None:
    """Measure, print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--groups", type=int, nargs="+", default=[12, 48, 250])
    parser.add_argument("--pictures", type=Path, default=Path("napari_medseg/samples/laparoscopy"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--play", action="store_true", help="play in the real window")
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--reader", choices=READERS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        sys.stdout.write(json.dumps(measure(arguments.measure, arguments.reader)))
        return
    if arguments.play:
        from play_video import measure_playing  # it opens a window

        sys.stdout.write(json.dumps(measure_playing(_list_pictures(arguments.pictures), 10, (1920, 1080))) + "\n")
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in run_each(arguments, Path(folder)):
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
            rows.append(row)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def _list_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))[:7]


def _time(read: Read, number: int) -> tuple[float, float]:
    """Return milliseconds by the clock and of the processor."""
    began, cpu = time.perf_counter(), time.process_time()
    read(number)
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - cpu)


def _describe(values: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    described = {}
    for name, of in zip(("clock", "processor"), zip(*values, strict=True), strict=True):
        ordered = sorted(of)
        p95 = ordered[int(0.95 * len(ordered))]
        described[name] = {"median": statistics.median(ordered), "p95": p95, "largest": ordered[-1]}
    return described


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 2**20


if __name__ == "__main__":
    main()
