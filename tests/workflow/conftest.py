"""The workspace that all tests of the workflow share."""

from workflow_fixtures import checked_samples, dropped, open_workspace, train_here, ws

__all__ = ["checked_samples", "dropped", "open_workspace", "train_here", "ws"]
