"""The training loop: a short generator of events without callbacks. `RunControl` does everything else."""

from collections.abc import Iterator

from training.data.prefetch import prefetch_batches
from training.model_selection import validate
from training.run_control import RunControl
from training.run_folder import Event


def train(control: RunControl) -> Iterator[Event]:
    """Train all stages, until the last one is over or the run is stopped; the best weights are in the run folder.

    Epoch 0 is the version that the run starts from. It is kept if no epoch is better.
    """
    for setup in control.stages():
        yield from control.take_notices()
        learner, n_replayed = setup.learner, setup.batches.n_replayed
        with prefetch_batches(setup.sample_batch, learner.device) as get_batch:
            for _ in control.epochs():
                for step in control.steps():
                    batch = get_batch(step.number)
                    patches, views = batch.make_patches(), batch.make_views()
                    loss = learner.step(patches, step.number, step.rate_factor, n_replayed, step.stage_progress, views)
                    control.record_loss(loss)
                    yield from control.take_notices()
                yield from control.take_notices()
                if control.is_paused():
                    break
                candidate = learner.make_candidate()
                val_dice = validate(candidate, setup.validation, setup.recipe.run.precision)
                yield control.end_epoch(candidate, val_dice)
                yield from control.take_notices()
