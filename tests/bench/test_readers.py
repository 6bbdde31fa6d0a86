import json

import pytest
from click.testing import CliRunner

from bench import forms, readers
from model import backend


def test_epoch_reads_every_shard_several_times(tmp_path):
    built = tmp_path / "built"
    built.mkdir()
    for index in range(2):
        (built / f"hpa_stacked-train.tfrecord-0000{index}-of-00002").write_text(f"shard {index}")
    splits = [{"name": name, "numBytes": "14", "shardLengths": ["3", "4"]} for name in ("train", "dev")]
    (built / "dataset_info.json").write_text(json.dumps({"name": "hpa_stacked", "splits": splits}))
    out = forms.tfds_dir(tmp_path, 2)
    forms.repeat(built, out, 2)
    names = [f"hpa_stacked-train.tfrecord-0000{index}-of-00004" for index in range(4)]
    assert [(out / name).read_text() for name in names] == ["shard 0", "shard 1"] * 2
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["splits"] == [{"name": "train", "numBytes": "28", "shardLengths": ["3", "4", "3", "4"]}]


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, 2 * 3 * 64 / 8), (2.0, 2 * 64 / 2.4)])
def test_rate_is_of_whole_epochs_with_their_starts_without_the_first(monkeypatch, seconds, expected):
    now = [0.0]

    def batches():
        for batch_seconds in [1.2, *[1.0] * 100]:
            now[0] += 1.0
            for _ in range(3):
                now[0] += batch_seconds
                yield [0] * 64, None
            yield readers.END

    monkeypatch.setattr(readers.time, "perf_counter", lambda: now[0])
    assert readers.rate(batches(), seconds) == pytest.approx(expected)


@pytest.mark.parametrize("name", [*readers.READERS, "limit"])
def test_every_contender_keeps_freed_memory(tmp_path, monkeypatch, name):
    calls = []
    monkeypatch.setattr(backend, "keep_freed_memory", lambda: calls.append("kept"))
    monkeypatch.setattr(backend, "start", lambda: calls.append("started"))
    monkeypatch.setattr(readers, "rate", lambda batches, seconds: 1.0)
    monkeypatch.setattr(readers, "limit", lambda out, seconds: 1.0)
    result = CliRunner().invoke(readers.main, ["run", name, str(tmp_path)])
    assert result.output == '{"examples_per_second": 1.0}\n'
    assert calls == ["kept", "started"] if name == "ours" else ["kept"]
