import pytest

from bench.checkout import HERE
from bench.figures import chart, results, show, summary
from tests.support.bench_results import ABOUT, section


def rows_of(text):
    return {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}


def test_table_has_the_ratio_to_every_contender():
    contenders = {"ours": [90.0], "mds": [30.0], "limit opencv": [100.0], "limit pillow": [60.0]}
    rows = rows_of(show.tables({"build": section(**contenders)}))
    assert "| 3.00 |" in rows["MosaicML Streaming (MDS)"]
    assert "| 0.90 |" in rows["limit: OpenCV decodes"]
    assert "| 1.50 |" in rows["limit: Pillow decodes"]


def test_contenders_that_cannot_be_told_apart_are_about_the_same():
    rates = {"ours": [100.0, 102.0, 98.0], "webdataset": [100.0, 98.0, 100.0], "mds": [50.0, 51.0, 49.0]}
    rows = rows_of(show.tables({"build": section(**rates, grain=[98.0, 170.0, 60.0])}))
    assert "| about the same (0.85 to 1.16) |" in rows["WebDataset"]
    assert "| 2.00 |" in rows["MosaicML Streaming (MDS)"]
    assert "| unclear (0.00 to 3.67) |" in rows["Grain on ArrayRecord"]
    assert "| 1.00 |" in rows["**hpa_stacked**"]


def test_earlier_checkout_is_shown_with_its_commit():
    found = section(ours=[90.0, 92.0, 94.0], before="abb")
    found["contenders"]["before"] = {**found["contenders"]["ours"], "ratio": [1.0, 1.02, 0.99]}
    assert "| about the same (0.93 to 1.08) |" in rows_of(show.tables({"read": found}))["hpa_stacked at commit abb"]


def test_failed_contender_is_shown_with_its_reason():
    found = section(ours=[90.0])
    found["contenders"]["mds"] = {"failed": "no such codec"}
    assert "| MosaicML Streaming (MDS) | no such codec |" in show.tables({"build": found})


def test_curve_shows_the_share_of_the_limit():
    ours = {"seconds": [25.0], "examples_per_second": [160.0], "peak_mb": [300.0], "own_mb": [200.0]}
    contenders = {"ours": ours, "limit opencv": {"examples_per_second": [200.0]}}
    results.add_ratios(contenders, "examples_per_second")
    text = show.tables({"curve": {"sizes": {"4000": contenders}, **ABOUT}})
    assert "| examples | seconds | examples/s | share of the limit: OpenCV decodes | peak MB |" in text
    assert "| 4,000 | 25.0 | 160 | 0.80 | 300 | 200 |" in text


def test_profile_counts_the_steps_of_building_and_not_the_decoder_alone():
    steps = {"files read": [1.0], **{part: [8.0] for part in show.ALONE}, "decoded": [9.0]}
    text = show.tables({"profile": {"building": steps, "reading": {"records": [10_000.0]}, **ABOUT}})
    assert "| files read | 1.00 | 10% |" in text
    assert "| decoded | 9.00 | 90% |" in text
    assert "| all steps | 10.00 |  |" in text
    assert "| records | 10,000 | 100 |" in text


def test_sizes_are_shown_as_shares_of_the_rate_at_the_first():
    rates = {"512": {"256": [200.0, 100.0], "224": [180.0, 90.0]}, "2048": {"256": [12.5, 12.5], "224": [10.0, 10.0]}}
    text = show.tables({"sizes": {"sides": rates, **ABOUT}})
    assert "| decoding, resizing and stacking | examples/s (spread) | share of the rate at 256 |" in text
    assert "| 0.90 |" in rows_of(text)["512 to 224 pixels"]
    assert "| 2048 to 224 pixels | 10 | 0.80 |" in text


def test_pooled_runs_are_shown_with_their_spread_and_times():
    later = section(ours=[88.0], mds=[20.0], about={**ABOUT, "began": ["2026-01-01 11:00"]})
    text = show.tables({"build": results.add(section(ours=[90.0, 92.0], mds=[20.0, 20.0]), later)})
    assert "| **hpa_stacked** | 90 (80 to 100) |" in text
    assert "| MosaicML Streaming (MDS) | 20 | 4.50 (4.00 to 5.00) |" in text
    assert "2 runs, begun 2026-01-01 08:00 to 2026-01-01 11:00 UTC; 2 cores, real pixels, commit abc." in text


def test_outcome_of_a_further_run_is_shown():
    repeat = {"began": "2026-01-02 08:00", "num": 8, "outside": ["read / ours"]}
    text = show.tables({"read": section(ours=[90.0]), "repeat": repeat})
    assert "A further run, begun 2026-01-02 08:00 UTC, was compared with the figures above: 7 of 8 medians" in text
    assert "Outside: read / ours." in text


def test_note_of_a_section_is_shown_below_its_table():
    assert "commit abc.*\n\nSlow disk." in show.tables({"read": {**section(ours=[90.0]), "note": "Slow disk."}})


def test_tables_are_put_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end -->\nafter\n")
    assert show.insert(show.tables({"read": section(ours=[2.0], limit=[4.0])}), readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert "| 0.50 |" in text
    assert "grain 1" in text


def test_file_without_marks_stays_as_it_is(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("text\n")
    assert not show.insert("table", readme)
    assert readme.read_text() == "text\n"


def test_summary_names_the_fastest_peer_and_says_that_it_is_a_tie():
    rates = {"ours": [100.0, 102.0], "webdataset": [99.0, 103.0], "mds": [50.0, 51.0], "stock_tfds": [30.0, 30.0]}
    text = summary.table({"build": section(**rates, **{"limit opencv": [300.0, 300.0], "limit pillow": [200.0] * 2})})
    assert "| building 1,000 examples, examples/s | 101 | 101 (WebDataset, about the same) | 30 | 300 |" in text
    assert "| its peak memory, MB | 300 | 300 | 300 |  |" in text


def test_summary_of_a_plan_says_how_far_sizes_are_off():
    contenders = {
        "ours": {"seconds": [0.5], "worst_size": [0]},
        "quick": {"seconds": [0.25], "worst_size": [23]},
        "slow": {"failed": "not finished after 600 s"},
    }
    text = summary.table({"plan": {"sizes": {"31072": contenders}, **ABOUT}})
    assert "| splitting 31,072 rows, s | 0.50, sizes exact | 0.25, sizes 23 off (quick) |  |  |" in text


@pytest.mark.parametrize("text", [show.tables, summary.table])
def test_published_results_make_the_texts(text):
    sections = results.load(HERE.root / "bench" / "results.json")
    assert "| ---: |" in text(sections)


def test_published_readme_has_the_tables_of_the_results():
    sections = results.load(HERE.root / "bench" / "results.json")
    assert show.tables(sections) in (HERE.root / "bench" / "README.md").read_text()


def test_chart_marks_ties_and_is_the_same_every_time(tmp_path):
    pytest.importorskip("matplotlib")
    rates = {"ours": [100.0, 102.0, 98.0], "webdataset": [100.0, 98.0, 100.0], "mds": [50.0, 51.0, 49.0]}
    sections = {"build": section(**rates)}
    chart.draw(sections, tmp_path / "a.svg")
    chart.draw(sections, tmp_path / "b.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert svg == (tmp_path / "b.svg").read_text()
    assert svg.count(", about the same") == 1
