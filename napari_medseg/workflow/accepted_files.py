"""The files of an accepted review: a copy of the image, the labels, and the mask of the review region."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import StoredLabels, write_case_labels, write_image_copy
from napari_medseg.core.project.review_region import ReviewRegion, write_review_region
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.readings.agreement import LabelsAgreement, compute_agreement
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task


@dataclass(frozen=True)
class AcceptedFiles:
    """Files written by `write_accepted_files`; input of `record_correction`.

    `agreement` is that of the labels with what the model proposed; `None` if no model did.
    """

    image_file: str
    labels: StoredLabels
    reviewed_mask: StoredLabels
    agreement: LabelsAgreement | None = None


def write_accepted_files(
    folder: Path,
    task: Task,
    case: Case,
    labels: NDArray[Any],
    image: Image,
    region: ReviewRegion,
    proposed: NDArray[Any] | None = None,
) -> AcceptedFiles:
    """Check the labels of a case, then write them and a copy of the image to the project folder.

    Call it in a worker thread, because the files may be large. If only a part of the image was reviewed, the mask of
    `region` is written beside the labels. `labels` are integers with the spatial shape of `image`, and `proposed` are
    those of the model, to measure how far both agree.

    Raises
    ------
    MedSegError
        If the image does not belong to the case, the review region is empty, or a check finds a blocking error (swapped
        sides, unknown values, wrong shape). The message names the error.
    """
    image = image.adopt_content_hash(case.content_hash)
    if image.content_hash != case.content_hash:
        raise MedSegError(f"this image does not belong to {case.name}. Open the case again, then accept it.")
    with ThreadPoolExecutor(
        1
    ) as beside:  # in parallel: compressing a large volume takes as long as checking its labels
        copying = beside.submit(write_image_copy, folder, image)
        findings = check_labels(labels, task, image)
        if blocking := [finding.text for finding in findings if finding.blocking]:
            raise MedSegError(
                f"{'; '.join(blocking)}. {case.name} cannot be accepted so: correct the labels, then accept."
            )
        reviewed = write_review_region(folder, case, region)
        stored = write_case_labels(folder, case, "correction", labels)
        agreement = None
        if proposed is not None:
            seen = None if region.is_whole_image else region.compute_mask(case.spatial_shape)
            agreement = compute_agreement(labels, proposed, task, seen)
        return AcceptedFiles(copying.result(), stored, reviewed, agreement)
