import tracemalloc
from pathlib import Path

from napari_medseg.core.decoded_size.sized_file import SizedFile


def test_a_read_takes_at_most_what_is_left_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100_000))
    with SizedFile(path) as file:
        assert file.read(10) == bytes(10)
        tracemalloc.start()
        assert len(file.read(2**32)) == 99_990
        assert tracemalloc.get_traced_memory()[1] < 10**6
        tracemalloc.stop()
        assert file.read(2**40) == file.read() == b""
        file.seek(200_000)
        assert file.read(2**32) == b""
        file.seek(99_000)
        assert len(file.read()) == 1000
        assert file.name == "a.bin", "a message of a library names the file, not its folder"


def test_a_file_that_grew_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(10))
    with SizedFile(path) as file:
        path.write_bytes(bytes(200_000))
        assert len(file.read(2**20)) == 200_000
