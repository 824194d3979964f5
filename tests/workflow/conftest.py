"""The workspace that all tests of the workflow share."""

from workflow_fixtures import dropped, open_workspace, train_here, ws

__all__ = ["dropped", "open_workspace", "train_here", "ws"]
