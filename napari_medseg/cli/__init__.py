"""The command line `medseg`: one file per command. The top layer."""
