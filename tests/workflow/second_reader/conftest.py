"""The workspace of the workflow, and people who work in it."""

from workflow_fixtures import checked_samples, open_workspace, ws

__all__ = ["checked_samples", "open_workspace", "ws"]
