"""The command `medseg`, also `python -m napari_medseg`: Ctrl+C is heard while the program is still loaded.

Loading takes some seconds on a slow disk. So this file imports nothing of it before it can answer.
"""

import os

_INTERRUPTED = 130
"""128 and the number of SIGINT, as `napari_medseg.cli.console` has it."""


def main() -> None:
    """Load the commands and run the one that the command line names."""
    try:
        from napari_medseg.cli.main import main as run
    except KeyboardInterrupt:
        os.write(2, b"medseg: interrupted\n")
        os._exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
