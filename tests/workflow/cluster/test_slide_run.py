"""A slide on two workers: the labels and records of a prediction in one process, whichever chunk is faster."""

import contextlib
from pathlib import Path

import numpy as np
from cluster_phantoms import MODEL
from whole_slide_phantoms import DiscModel, draw_discs, plan_small, read_nuclei_card, write_slide

from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.case_request import ModelRequest
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.slide_run import SlideJob, begin_slide
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, predict_chunks

DISCS = ModelRequest(registry="", model="discs@1", weights_sha256=MODEL.weights_sha256)


def test_a_slide_on_workers_is_the_one_of_a_single_process(cluster: Cluster, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", draw_discs(400, 420, 120))
    with contextlib.closing(open_slide(path)) as slide:
        plan = plan_small(slide, read_nuclei_card())
        with begin_prediction(tmp_path / "one", plan) as whole:
            for _ in predict_chunks(whole, slide, DiscModel().predict):
                pass
            labels = whole.labels.read((slice(0, 400), slice(0, 420)))
            objects = list(whole.table.iterate_objects())
        with begin_prediction(tmp_path / "two", plan) as whole:
            with begin_slide(cluster, SlideJob(whole, path, DISCS)) as run:
                stopped = run.run()
                while next(stopped).done < 4:
                    pass
                stopped.close()  # as Ctrl+C
            n_done = whole.table.count("done")
            assert n_done < whole.table.n_chunks
            with begin_slide(cluster, SlideJob(whole, path, DISCS)) as run:
                assert len(run.requests) == whole.table.n_chunks - n_done
                assert n_done + run.n_kept >= 4, "merged, or waiting for their turn"
                list(run.run())
            assert whole.is_complete
            for worker in cluster.client.nthreads():  # a chunk that was cancelled may still be under way there
                cluster.client.submit(int, workers=[worker], pure=False).result()
            with begin_slide(cluster, SlideJob(whole, path, DISCS)) as run:
                assert run.requests == []
                left = {file.suffix or file.name for file in CaseRecords(whole.folder).folder.iterdir()}
                assert left == {"lock", ".token"}, "a chunk that is merged leaves no file"
            np.testing.assert_array_equal(whole.labels.read((slice(0, 400), slice(0, 420))), labels)
            assert list(whole.table.iterate_objects()) == objects
