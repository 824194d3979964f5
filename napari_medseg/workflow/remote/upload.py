"""What a run sends to its server, part by part: after the link broke, it goes on with what the server has not got."""

from napari_medseg.workflow.remote.link import JobLink, ask, send_part
from napari_medseg.workflow.remote.run_files import RunFiles
from napari_medseg.workflow.serving.job_calls import Missing, Offer


class Upload:
    """Sends the files of one job; each method can be called again after it raised `LinkLost`.

    Parameters
    ----------
    link, job
        Where it is sent.
    run
        The files.
    """

    def __init__(self, link: JobLink, job: str, run: RunFiles) -> None:
        self._link = link
        self._job = job
        self._run = run
        self._offer = Offer(job=job, purpose=run.purpose, files=tuple(run.files))
        self._missing: dict[str, int] | None = None

    def count_missing_bytes(self) -> int:
        """Return the size of the files that are not there whole."""
        missing = self._find_missing()
        return sum({file.sha256: file.size for file in self._run.files if file.sha256 in missing}.values())

    def is_complete(self) -> bool:
        """Whether all files are there."""
        return not self._find_missing()

    def send_part(self) -> None:
        """Send the next bytes; raise `MedSegError` if the server refuses them."""
        missing = self._find_missing()
        file = next((file for file in self._run.files if file.sha256 in missing), None)
        if file is None:
            return
        self._missing = None  # if the link breaks now, nobody here knows whether the bytes arrived
        missing[file.sha256] = send_part(self._link, self._job, file, self._run, missing[file.sha256])
        if missing[file.sha256] >= file.size:
            del missing[file.sha256]
        self._missing = missing

    def _find_missing(self) -> dict[str, int]:
        if self._missing is None:
            self._missing = dict(ask(self._link, self._offer, Missing)[0].files)
        return self._missing
