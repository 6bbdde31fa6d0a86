import hashlib
import re
import struct
import tracemalloc

import pytest

from pipeline.dataset import verify as verify_module
from pipeline.dataset.verify import verify
from pipeline.errors import InputError
from pipeline.job import build
from pipeline.write import records
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
    with pytest.raises(InputError, match="1.1.9: no such folder; expected the folder of one version of the dataset"):
        verify(tmp_path / "1.1.9")


def replace_shard(dataset, examples) -> str:
    """Replaces the first shard of train, and its checksum; returns its name."""
    path = next(dataset.glob("*train*-00000-*"))
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"".join(piece for e in examples for piece in records.frame(records.encode(*e))))
    sums = dataset / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
    return path.name


@pytest.mark.parametrize("labels", [(), (3, 2), (2, 2), (28,)])
def test_labels_that_are_not_ascending_class_ids_are_named(dataset, labels):
    name = replace_shard(dataset, [("ex-new", bytes(64), labels)])
    assert f"{name}: record 0: id 'ex-new': labels {list(labels)}, expected ascending class ids 0..27" in verify(
        dataset
    )


@pytest.mark.parametrize("vector", [None, records.label_vector((4,), 28), bytes(27)])
def test_a_label_vector_that_contradicts_the_labels_is_named(dataset, vector):
    name = replace_shard(dataset, [("ex-new", bytes(64), (3,), vector)])
    assert f"{name}: record 0: id 'ex-new': its label vector does not match the labels [3]" in verify(dataset)


def test_a_record_of_a_single_label_in_a_multi_label_dataset_is_named(dataset):
    name = replace_shard(dataset, [("ex-new", bytes(64), (3,), records.label_vector((3,), 28), True)])
    assert f"{name}: record 0: id 'ex-new': labels [3], expected a list" in verify(dataset)


def test_another_image_size_or_number_of_records_is_named(dataset):
    name = replace_shard(dataset, [(f"new-{k}", bytes(60), (0,)) for k in range(9)])
    problems = verify(dataset)
    assert f"{name}: record 8: id 'new-8': image of 60 bytes, expected 64" in problems
    assert any(re.fullmatch(rf"{name}: 9 records, expected \d as dataset_info.json says", line) for line in problems)


def test_metadata_that_cannot_be_read_is_named_and_the_shards_are_not_checked(dataset):
    (dataset / "metadata.json").write_text("{}")
    (changed, unread) = verify(dataset)
    assert changed == "metadata.json: changed since it was published (its SHA-256 differs)"
    assert unread == "dataset_info.json or metadata.json cannot be read (KeyError('size')): shards not checked"


@pytest.mark.parametrize(
    "text",
    ["", "null", "1e999", "[" * 100_000, '{"size": 1e999}', '{"size": [4]}', '{"size": null}', "\udc80"],
    ids=range(8),
)
def test_metadata_that_is_no_metadata_gives_no_traceback(dataset, text):
    (dataset / "metadata.json").write_bytes(text.encode(errors="surrogateescape"))
    assert verify(dataset)[-1].endswith(": shards not checked")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[" * 100_000, '{"splits": 1e999}', '{"splits": [1]}', '{"splits": [{"name": "train"}]}',
     '{"splits": [{"name": "train", "shardLengths": [1e999]}]}', '{"splits": [{"name": "x", "shardLengths": 1}]}'],
    ids=range(8),
)  # fmt: skip
def test_an_index_of_shards_that_is_none_gives_no_traceback(dataset, text):
    (dataset / "dataset_info.json").write_text(text)
    last = verify(dataset)[-1]
    assert re.search(r"dataset_info\.json: cannot be read \(\w+\), so this is not a complete dataset", last)


@pytest.mark.parametrize("length", [1 << 31, 1 << 60, (1 << 64) - 1])
def test_a_record_that_claims_to_be_huge_takes_no_memory(dataset, length):
    path = next(dataset.glob("*train*-00000-*"))
    header = struct.pack("<Q", length)
    path.write_bytes(header + struct.pack("<I", records._masked_crc(header)) + bytes(100))
    tracemalloc.start()
    assert f"{path.name}: record 0 at byte 0: the file ends inside it" in verify(dataset)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


def test_a_damaged_list_of_checksums_is_named(dataset):
    sums = dataset / "SHA256SUMS"
    sums.write_text("digest of a file\n" + sums.read_text())
    assert verify(dataset) == ["SHA256SUMS: line 1 is not 'digest  name'"]
    sums.write_bytes(b"\xff")
    assert verify(dataset)[0] == "SHA256SUMS: not text"


def test_a_dataset_that_is_replaced_while_it_is_verified_is_not_called_damaged(source, dataset, tmp_path):
    def replace(done, total):
        if done < 5:
            source.labels["ex-0000"] = (done % 28,)
            source.write_table()
            build(config_for(source, tmp_path / "data", size=4, shard_mib=0.001, overwrite=True))

    with pytest.raises(InputError, match="was replaced while it was read; run the same command again"):
        verify(dataset, replace)
    assert verify(dataset) == []


def test_a_file_that_goes_while_it_is_read_is_named(dataset, monkeypatch):
    name = next(dataset.glob("*dev*")).name
    real = verify_module.files.sha256_of

    def remove_shard(path):
        (dataset / name).unlink(missing_ok=True)
        (dataset / "features.json").unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(verify_module.files, "sha256_of", remove_shard)
    problems = verify(dataset)
    assert "features.json: removed while it was read" in problems
    assert f"{name}: removed while it was read" in problems
