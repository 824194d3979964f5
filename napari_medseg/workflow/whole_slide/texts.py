"""Short texts on the progress of a slide."""

from napari_medseg.workflow.whole_slide.prediction import SlideProgress


def format_seconds(seconds: float) -> str:
    """Return a time to wait: seconds, then minutes, then hours and minutes."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def describe_progress(progress: SlideProgress) -> str:
    """Return how far a prediction is, in one line."""
    parts = [f"{progress.done:,} of {progress.total:,} chunk{'s' * (progress.total != 1)}"]
    if progress.n_objects:
        parts.append(f"{progress.n_objects:,} object{'s' * (progress.n_objects != 1)}")
    if progress.is_waiting:
        parts.append("waits for your prediction")
    elif progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{format_seconds(progress.seconds_left)} left")
    return ", ".join(parts)
