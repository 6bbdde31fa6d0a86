import pytest

from pipeline.dataset.verify import verify
from pipeline.errors import InputError
from pipeline.job import build
from tests.support.sources import config_for


@pytest.fixture
def dataset(source, tmp_path):
    return build(config_for(source, tmp_path / "data", size=4, shard_mib=0.001)).path


def test_an_untouched_dataset_is_intact(dataset):
    seen = []
    assert verify(dataset, lambda done, total: seen.append((done, total))) == []
    assert seen[-1] == (20, 20)


def test_every_flipped_byte_of_every_file_is_found_and_named(dataset):
    for path in sorted(dataset.iterdir()):
        data = bytearray(path.read_bytes())
        for position in range(0, len(data), max(1, len(data) // 40)):
            data[position] ^= 0x04
            path.write_bytes(data)
            problems = verify(dataset)
            assert problems, f"{path.name}: byte {position}"
            if path.name != "SHA256SUMS":  # a flipped byte of it may be in the name of another file
                assert any(path.name in problem for problem in problems)
            data[position] ^= 0x04
        path.write_bytes(data)
    assert verify(dataset) == []


def test_a_flipped_pixel_names_the_record(dataset):
    path = next(dataset.glob("*train*-00000-*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (problem,) = verify(dataset)
    assert problem.startswith(f"{path.name}: record ")
    assert problem.endswith("the data does not match its checksum")


def test_missing_and_foreign_files_are_named(dataset):
    shard = next(dataset.glob("*dev*"))
    shard.rename(dataset / "stray.bin")
    assert verify(dataset) == [
        f"{shard.name}: listed in SHA256SUMS, but does not exist",
        "stray.bin: not listed in SHA256SUMS",
    ]


def test_a_repeated_id_is_named_even_if_the_checksums_agree(dataset):
    import hashlib

    first, second = sorted(dataset.glob("*train*"))[:2]
    old = hashlib.sha256(second.read_bytes()).hexdigest()
    second.write_bytes(first.read_bytes())
    sums = dataset / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(first.read_bytes()).hexdigest()))
    assert any("is already in" in problem and first.name in problem for problem in verify(dataset))


def test_a_folder_without_dataset_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="no SHA256SUMS there; expected the folder of one version of the dataset, like"
    ):
        verify(tmp_path)
