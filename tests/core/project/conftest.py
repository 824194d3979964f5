"""The workspace of the tests of the workflow, for what a review leaves in the project folder."""

from workflow_fixtures import dropped, open_workspace, ws

__all__ = ["dropped", "open_workspace", "ws"]
