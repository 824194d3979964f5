"""The files of a project: database, case files, stroke journals and lock."""
