"""The files of a user's jobs on a server: content by its hash, so that an image is sent once, and folders of jobs.

```
user/content/<sha256>      files that were sent or came of a job; `<sha256>.part` while they arrive
user/jobs/<id>/job.json    what was asked for, and how far it is
user/jobs/<id>/work/       the folder of the run; what it reads lies below it
```
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256, replace_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.snapshot import SNAPSHOT_FILE, read_snapshot
from napari_medseg.workflow.serving.job_calls import JobFile, Purpose
from training.adapt.request import REQUEST_FILE, read_request
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import (
    EARLIER_COMPARISONS_FILE,
    LABEL_PROBLEM_FILE,
    RECIPE_FILE,
    START_PLAN_FILE,
)
from training.start_plan import read_start_plan

JOB_FILE, WORK_FOLDER = "job.json", "work"
INPUT_FOLDERS = ("images", "labels", "versions")
INPUT_NAMES = {
    "train": (RECIPE_FILE, SNAPSHOT_FILE, START_PLAN_FILE, LABEL_PROBLEM_FILE, EARLIER_COMPARISONS_FILE),
    "adapt": (REQUEST_FILE, SNAPSHOT_FILE),
}
INPUT_SUFFIXES = (".json", ".txt", ".safetensors", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gz", ".nii", ".dcm")
"""Images, labels, JSON and safetensors: nothing that runs code when it is read."""
GB = 10**9
ARRIVAL_S = 86_400.0
"""How long a run may take to arrive before its files are deleted if another one needs the space."""


class JobRecord(BaseModel):
    """A job as it is kept on the disk.

    `n_starts` counts the processes that were started. `followed_at` is when its user asked for it last, in seconds
    since the Unix epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: Purpose
    files: tuple[JobFile, ...]
    state: str = "receiving"
    n_starts: int = 0
    made_at: float
    queued_at: float = 0.0
    followed_at: float
    budget_s: float | None = None
    problem: str = ""


class UserFiles:
    """What a server keeps for one user.

    Parameters
    ----------
    folder
        Folder of the user.
    quota_bytes
        Content and results that may be kept.
    """

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        self.folder = folder
        self._content = folder / "content"
        self._jobs = folder / "jobs"
        self._quota_bytes = quota_bytes
        self._content.mkdir(parents=True, exist_ok=True)
        self._jobs.mkdir(exist_ok=True)

    def list_jobs(self) -> list[str]:
        """Return the ids of the jobs."""
        return sorted(path.name for path in self._jobs.iterdir() if (path / JOB_FILE).is_file())

    def read(self, job: str) -> JobRecord | None:
        """Return a job; `None` if there is none with this id."""
        path = self._jobs / job / JOB_FILE
        if not path.is_file():
            return None
        return read_json_model(path, JobRecord, "is no job", "Ask for it again.")

    def write(self, job: str, record: JobRecord) -> None:
        """Write a job to the disk."""
        (self._jobs / job).mkdir(exist_ok=True)
        atomic_write_text(self._jobs / job / JOB_FILE, record.model_dump_json() + "\n")

    def get_work_folder(self, job: str) -> Path:
        """Return the run folder of a job."""
        return self._jobs / job / WORK_FOLDER

    def remove(self, job: str) -> None:
        """Delete a job. What was sent for it stays for the next one, until the space is needed."""
        (self._jobs / job / JOB_FILE).unlink(missing_ok=True)
        shutil.rmtree(self._jobs / job, ignore_errors=True)

    def find_missing(self, files: Iterable[JobFile]) -> dict[str, int]:
        """Return the hashes of files that are not there, and how many bytes of each have arrived."""
        missing = {}
        for file in files:
            kept = self._content / file.sha256
            if kept.is_file():
                os.utime(kept)
            else:
                part = self._get_part(file.sha256)
                missing[file.sha256] = part.stat().st_size if part.is_file() else 0
        return missing

    def make_room(self, files: Iterable[JobFile]) -> None:
        """Delete content that was used longest ago until these files fit into the quota.

        Raises
        ------
        MedSegError
            If they do not fit, because the jobs that are there need the space.
        """
        wanted = {file.sha256: file.size for file in files}
        kept = {path.name: path.stat() for path in self._content.iterdir()}
        needed = sum(size for sha256, size in wanted.items() if sha256 not in kept)
        used = self._count_bytes()
        needless = kept.keys() - wanted.keys() - self._list_arriving()
        for name in sorted(needless, key=lambda name: kept[name].st_mtime):
            if used + needed <= self._quota_bytes:
                return
            if kept[name].st_nlink == 1:  # else a job has it, too, and nothing would become free
                used -= kept[name].st_size
                (self._content / name).unlink()
        if used + needed > self._quota_bytes:
            raise MedSegError(
                f"the run needs {needed / GB:.1f} GB on the server, and {max(0, self._quota_bytes - used) / GB:.1f} of "
                f"your {self._quota_bytes / GB:.0f} GB there are free. Wait until your other runs have ended, or ask "
                "whoever keeps the server for more."
            )

    def receive(self, file: JobFile, offset: int, data: bytes) -> None:
        """Write a part of a file; with the last one, its hash is checked. What came before is not written again.

        Raises
        ------
        MedSegError
            If there is a gap before the part, it is too long, or the file has another hash; then it is deleted.
        """
        if (self._content / file.sha256).is_file():
            return
        part = self._get_part(file.sha256)
        there = part.stat().st_size if part.is_file() else 0
        if offset > there or offset + len(data) > file.size or (not data and file.size):
            raise MedSegError(f"{file.name} has {there} of {file.size} bytes on the server. Send it from there on.")
        data = data[there - offset :]  # a part that is sent again, because the link broke before the answer
        with part.open("ab") as stream:
            stream.write(data)
        if there + len(data) == file.size:
            if compute_file_sha256(part) != file.sha256:
                part.unlink()
                raise MedSegError(f"{file.name} was damaged on its way to the server. Send it again.")
            replace_file(part, self._content / file.sha256)

    def lay_out(self, job: str, record: JobRecord) -> None:
        """Put the files of a job into its run folder, and refuse those that would read elsewhere.

        Raises
        ------
        MedSegError
            If a file is missing, or a path in the recipe, snapshot or request leads out of the folder.
        """
        work = self.get_work_folder(job)
        for file in record.files:
            target = work / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                self._place(self._content / file.sha256, target)
        refuse_foreign_paths(work, record.purpose)

    def keep_results(self, job: str, names: Iterable[str]) -> list[JobFile]:
        """Return the results of a job that exist, and keep large ones as content: the next job may start from them."""
        work, found = self.get_work_folder(job), []
        for name in names:
            path = work / name
            if not path.is_file() or path.is_symlink():
                continue
            file = JobFile(name=name, size=path.stat().st_size, sha256=compute_file_sha256(path))
            found.append(file)
            if path.suffix == ".safetensors" and not (self._content / file.sha256).exists():
                self._place(path, self._content / file.sha256)
        return found

    def _count_bytes(self) -> int:
        """Return what the files take on the disk; one with several names is counted once."""
        sizes = {}
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):  # a run has just deleted it
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    sizes[found.st_dev, found.st_ino] = found.st_size
        return sum(sizes.values())

    def _list_arriving(self) -> set[str]:
        """Return the names of content, whole or in part, of runs that are being sent."""
        names: set[str] = set()
        for job in self.list_jobs():
            with contextlib.suppress(MedSegError):
                record = self.read(job)
                if record is not None and record.state == "receiving" and time.time() - record.made_at < ARRIVAL_S:
                    names |= {name for file in record.files for name in (file.sha256, f"{file.sha256}.part")}
        return names

    def _get_part(self, sha256: str) -> Path:
        return self._content / f"{sha256}.part"

    def _place(self, source: Path, target: Path) -> None:
        """Give a file a second name, or copy it where the disk has no second names."""
        if not source.is_file():
            raise MedSegError(f"{target.name} did not arrive at the server. Send it again.")
        if source.suffix == "" and target.suffix in (".json", ".txt"):  # a run may write into them
            shutil.copyfile(source, target)
            return
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def refuse_foreign_files(purpose: Purpose, files: Iterable[JobFile]) -> None:
    """Raise `MedSegError` if a job brings a file that it has no use for, such as a checkpoint or a program."""
    for file in files:
        parts = PurePosixPath(file.name).parts
        is_input = file.name in INPUT_NAMES[purpose] if len(parts) == 1 else parts[0] in INPUT_FOLDERS
        if not is_input or not file.name.lower().endswith(INPUT_SUFFIXES):
            raise MedSegError(f"a run does not read {file.name!r}, so the server does not take it.")


def refuse_foreign_paths(work: Path, purpose: Purpose) -> None:
    """Raise `MedSegError` if recipe, plan, snapshot or request name a path outside the folder of the job."""
    root = work.resolve()
    for path in _list_paths(work, purpose):
        inside = (root / path).resolve()
        if path and not inside.is_relative_to(root):
            raise MedSegError("the run names a file outside its folder, so the server does not begin it.")


def set_device(work: Path, device: str) -> float | None:
    """Write into the recipe which device trains, whatever was asked for; return the time budget in seconds."""
    recipe = read_recipe(work / RECIPE_FILE)
    write_recipe(update_recipe(recipe, {"run": {"device": device, "n_threads": None}}), work / RECIPE_FILE)
    return recipe.run.budget_s


def get_device(work: Path) -> str:
    """Return the device that the recipe names; empty if it names none, or cannot be read."""
    with contextlib.suppress(MedSegError):
        return read_recipe(work / RECIPE_FILE).run.device
    return ""


def remove_old_content(folder: Path, keep_s: float) -> None:
    """Delete content of a user that nobody used for a time."""
    for path in (folder / "content").iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > keep_s:
                path.unlink()


def name_user_folder(user: str) -> str:
    """Return the name of a user's folder, which any name of a user gives."""
    return hashlib.sha256(user.encode()).hexdigest()[:24]


def _list_paths(work: Path, purpose: Purpose) -> Iterator[str]:
    for item in read_snapshot(work / SNAPSHOT_FILE).items:
        yield from (item.image, item.labels, item.field_labels, item.reviewed_mask, item.certain_mask)
    if purpose == "adapt":
        request = read_request(work)
        yield from (request.base, request.start, request.roi_model)
        return
    run = read_recipe(work / RECIPE_FILE).run
    yield from (run.base, run.compare_with, run.roi_model)
    if (work / START_PLAN_FILE).is_file():
        plan = read_start_plan(work)
        yield from (plan.weights_from, plan.encoder_weights, plan.registry)
