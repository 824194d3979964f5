"""Everything that a project keeps on disk: its database, case files, stroke journals and lock."""
