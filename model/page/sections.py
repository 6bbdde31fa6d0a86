"""What does a report say about runs? One function for each section, from evaluations to HTML."""

import dataclasses
import itertools
import json
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from model import runs
from model.page import charts, document, gallery
from model.scores import evaluation, intervals, thresholds
from pipeline.errors import InputError

SPLITS = ("train", "dev", "test")

PAPER = {"green-128": "about 0.1", "green-256": "about 0.16", "stacked-256": "about 0.33"}
"""Macro F1 that the paper reports for its models, on the atlas's own images."""


MIN_BIN = 10
"""Predictions that a bin of the reliability diagram needs: the share of a few is mostly luck."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run and all that is told of it; `pictures` is uint8 `[n, S, S, 4]`, in the order of its gallery."""

    name: str
    run: runs.Run
    found: dict[str, Any]
    pictures: np.ndarray

    @property
    def shown(self) -> str:
        """The split that is shown in detail: test, if it was scored."""
        return self.found["shown_split"]

    @property
    def split(self) -> dict[str, Any]:
        return self.found["splits"][self.shown]

    @property
    def class_names(self) -> list[str]:
        return self.found["dataset"]["class_names"]


def load(opened: Sequence[runs.Run]) -> list[Subject]:
    """Returns the runs with their evaluations.

    Raises:
        InputError: one was given twice.
        MissingError: one was not evaluated.
    """
    names = _names([run.path for run in opened])
    subjects = []
    for name, run in zip(names, opened, strict=True):
        with np.load(run.path / "evaluation" / "gallery.npz") as file:
            subjects.append(Subject(name, run, evaluation.load(run.path), file["images"]))
    return subjects


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns short names: the folder's, with as much of the path as tells them apart."""
    whole = [path.absolute() for path in paths]
    if len(set(whole)) < len(whole):
        raise InputError("the same run was given twice")
    length = next(n for n in range(1, 99) if len({path.parts[-n:] for path in whole}) == len(whole))
    return ["/".join(path.parts[-length:]) for path in whole]


def title(subjects: Sequence[Subject]) -> str:
    """Returns the heading of the page."""
    names = [subject.name for subject in subjects]
    return f"Run {names[0]}" if len(names) == 1 else f"{len(names)} runs: {names[0]} to {names[-1]}"


def lead(subjects: Sequence[Subject]) -> str:
    """Returns what must be known first: what the data are, and what limits the figures."""
    parts = [
        document.paragraph("Protein localisations in images of the Human Protein Atlas: 28 classes, one or more each.")
    ]
    for subject in subjects:
        found = subject.found
        if not found["same_dataset"]:
            parts.append(
                document.paragraph(f"{subject.name} was scored on another dataset than it was trained on.", "notice")
            )
        if found["limit_examples"]:
            limit = f"{found['limit_examples']:,}"
            parts.append(
                document.paragraph(f"{subject.name} saw only the first {limit} examples of each split.", "notice")
            )
    if any(subject.found["dataset"]["synthetic"] for subject in subjects):
        text = "SYNTHETIC data: drawn by a program, not photographed. No figure here says anything about real images."
        parts.insert(1, document.paragraph(text, "notice"))
    if not comparable(subjects):
        text = "The runs were scored on different examples: their figures cannot be compared with one another."
        parts.append(document.paragraph(text, "notice"))
    return "".join(parts)


def comparable(subjects: Sequence[Subject]) -> bool:
    """Returns whether all runs were scored on the same examples of the same split."""
    first = _predictions(subjects[0])
    return all(
        subject.shown == subjects[0].shown and set(_predictions(subject)) == set(first) for subject in subjects[1:]
    )


def every(subjects: Sequence[Subject]) -> list[tuple[str, str, str]]:
    """Returns all sections: anchor, heading, HTML."""
    last = subjects[-1]
    compared = "Correct predictions, class by class"
    return [
        ("scores", "Scores" if len(subjects) == 1 else "The ladder of runs", scores(subjects)),
        ("curves", "Learning curves", learning_curves(subjects)),
        ("correct", compared, correct_predictions(subjects)),
        ("classes", "Every class", classes(subjects)),
        ("precision-recall", "Precision and recall", precision_recall(last)),
        ("channels", "What each channel adds", ablation(subjects)),
        ("thresholds", "Thresholds", threshold_rules(subjects)),
        ("calibration", "Calibration", calibration(subjects)),
        ("errors", "Which errors come together", errors(last)),
        ("gallery", "Gallery", pictures(last)),
        ("dataset", "Dataset", datasets(subjects)),
        ("repeat", "To repeat it", repeat(subjects)),
    ]


def scores(subjects: Sequence[Subject]) -> str:
    """Macro F1 of each run with intervals, beside what needs no model; for several runs their differences."""
    last = subjects[-1]
    rule, split = last.split["rules"]["fixed"], last.split
    precision = split["mean_average_precision"]
    parts = [
        document.tiles(
            [
                (_three(rule["macro_f1"]), f"macro F1 on {last.shown}, 95% interval {_range(rule['interval'])}"),
                (_three(split["baselines"]["all_positive"]), "without a model: every class for every image"),
                ("–" if precision is None else _three(precision), f"mean average precision on {last.shown}"),
                (_three(split["calibration"]["expected_error"]), "expected calibration error"),
            ]
        )
    ]
    present = [one for one in SPLITS if any(one in subject.found["splits"] for subject in subjects)]
    rows, whiskers = [], []
    for subject in subjects:
        by_split = [subject.found["splits"].get(one) for one in present]
        rules = [one["rules"]["fixed"] if one else None for one in by_split]
        rows.append((subject.name, [one["macro_f1"] if one else 0.0 for one in rules]))
        whiskers.append([(one["interval"]["low"], one["interval"]["high"]) if one else None for one in rules])
    mark = [(split["baselines"]["all_positive"], "every class for every image")]
    chart = charts.bars(rows, title="Macro F1 of each run", whiskers=whiskers, marks=mark, label_width=96)
    body = charts.legend(present) + chart
    parts.append(
        document.grid([document.figure("Macro F1 over 28 classes at 0.5, with 95% intervals", body), _notes(last)])
    )
    parts.append(_score_table(subjects, present))
    if len(subjects) > 1:
        parts.append(_difference_table(subjects))
    return "".join(parts)


def _notes(subject: Subject) -> str:
    least, split = subject.found["min_positives"], subject.split
    absent = "".join(
        document.paragraph(
            f"No example of {', '.join(one['absent'])} in {name}: F1 there counts as 0, average precision not."
        )
        for name, one in subject.found["splits"].items()
        if one["absent"]
    )
    num = split["num_frequent"]
    beside = f"the mean over the {num} classes with {least} or more stands beside that over all 28."
    if not num:
        beside = f"and no class has {least} or more in {subject.shown}: these figures say very little."
    return (
        "<div>"
        + document.paragraph(
            "F1 is counted over whole splits. A class that is neither there nor predicted has an F1 of 0. "
            f"With fewer than {least} examples the F1 of a class is mostly luck, {'so ' if num else ''}{beside}"
        )
        + document.paragraph(
            "Intervals are from the bootstrap, near-duplicates drawn together; weak pseudo-counts keep it from being "
            "too sure of rare classes, so that intervals over all 28 can lie above an estimate near 0.",
            "muted",
        )
        + absent
        + "</div>"
    )


def _score_table(subjects: Sequence[Subject], splits: Sequence[str]) -> str:
    rows: list[list[document.Cell]] = []
    for subject in subjects:
        settings = subject.run.settings
        for name in splits:
            one = subject.found["splits"].get(name)
            if one is None:
                continue
            rule = one["rules"]["fixed"]
            frequent = rule["macro_f1_frequent"] if one["num_frequent"] else None
            rows.append(
                [
                    subject.name,
                    name,
                    one["num_examples"],
                    rule["macro_f1"],
                    _range(rule["interval"]),
                    frequent and f"{frequent['estimate']:.4f} {_range(frequent)} ({one['num_frequent']})",
                    rule["macro_precision"],
                    rule["macro_recall"],
                    one["mean_average_precision"],
                    PAPER.get(settings.preset) if name == "test" else None,
                ]
            )
    least = subjects[-1].found["min_positives"]
    header = ["run", "split", "examples", "macro F1", "95% interval", f"over classes with {least}+ (how many)"]
    return document.table([*header, "precision", "recall", "mAP", "the paper, real images"], rows)


def _difference_table(subjects: Sequence[Subject]) -> str:
    if not comparable(subjects):
        return ""
    rows: list[list[document.Cell]] = []
    for before, after in itertools.pairwise(subjects):
        change = difference(before, after)
        sure = "yes" if change.low > 0 or change.high < 0 else "no"
        rows.append([f"{before.name} to {after.name}", f"{change.estimate:+.4f}", _range(change.to_json()), sure])
    text = f"Steps of the ladder: change of macro F1 on {subjects[0].shown}, the same examples redrawn for both"
    return document.heading(text) + document.table(["step", "change", "95% interval", "0 excluded"], rows)


def difference(before: Subject, after: Subject) -> intervals.Interval:
    """Returns macro F1 of `after` less that of `before` on the same examples, at 0.5."""
    one, other = _predictions(before), _predictions(after)
    ids = sorted(one)
    labels = np.stack([one[key][0] for key in ids])
    first, second = (np.stack([where[key][1] for key in ids]) >= thresholds.FIXED for where in (one, other))
    return intervals.difference(labels, first, second)


def _predictions(subject: Subject) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns label vector and probabilities of every example of the shown split, by id."""
    with np.load(subject.run.path / "evaluation" / f"predictions-{subject.shown}.npz") as file:
        return {
            key: (labels, probabilities)
            for key, labels, probabilities in zip(
                file["ids"].tolist(), file["labels"], file["probabilities"], strict=True
            )
        }


def learning_curves(subjects: Sequence[Subject]) -> str:
    """Loss of train and dev, and macro F1 of dev, by training step."""
    steps = [runs.read_rows(subject.run.steps_csv) for subject in subjects]
    epochs = [runs.read_rows(subject.run.metrics_csv) for subject in subjects]
    wanted = [
        ("Loss on train", steps, "loss"),
        ("Loss on dev", epochs, "dev_loss"),
        ("Macro F1 on dev", epochs, "dev_macro_f1"),
    ]
    figures = []
    for caption, tables, column in wanted:
        series = [[(float(row["step"]), float(row[column])) for row in rows] for rows in tables]
        is_score = column.endswith("f1")
        chart = charts.lines(
            series,
            title=caption,
            x_label="step",
            y_label="macro F1" if is_score else "loss",
            y_range=_from_zero(series) if is_score else None,
            dots=max(map(len, series), default=0) <= 40,
            width=340,
        )
        figures.append(document.figure(caption, chart))
    return charts.legend([subject.name for subject in subjects]) + document.grid(figures)


def _from_zero(series: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, float]:
    return 0.0, max((y for points in series for _, y in points), default=0.0) * 1.05 or 1.0


def correct_predictions(subjects: Sequence[Subject]) -> str:
    """How many examples of each class were found: the first run against the last, as in the paper's figure 6."""
    compared = [subjects[0], subjects[-1]] if len(subjects) > 1 else [subjects[0]]
    last, names = compared[-1], [subject.name for subject in compared]
    table = [subject.split["rules"]["fixed"]["classes"] for subject in compared]
    rows = []
    for index, name in enumerate(last.class_names):
        support = table[-1][index]["support"]
        rows.append((f"{name} ({support})", [one[index]["true_positives"] for one in table]))
    half = -(-len(rows) // 2)
    most = max((value for _, values in rows for value in values), default=0) or 1
    drawings = [
        charts.bars(part, title="Correct predictions of each class", maximum=most, label_width=198, form="{:g}".format)
        for part in (rows[:half], rows[half:])
    ]
    text = f"Examples of each class in {last.shown} that were found at 0.5; in brackets how many there are."
    return document.paragraph(text) + charts.legend(names) + document.grid(drawings)


def classes(subjects: Sequence[Subject]) -> str:
    """One row for each class: support, counts, precision, recall, F1 with interval, average precision."""
    parts = [_class_table(subjects[-1])]
    for subject in subjects[:-1]:
        parts.append(document.folded(f"The same of {subject.name}", _class_table(subject)))
    return document.paragraph(f"{subjects[-1].name} on {subjects[-1].shown}, at 0.5.") + "".join(parts)


def _class_table(subject: Subject) -> str:
    header = ["class", "examples", "found", "said wrongly", "precision", "recall", "F1", "95% interval", "AP"]
    rows: list[list[document.Cell]] = []
    described = subject.split["rules"]["fixed"]["classes"]
    for index, (row, precision) in enumerate(zip(described, subject.split["average_precision"], strict=True)):
        counts = [row["support"], row["true_positives"], row["false_positives"]]
        interval = f"[{row['f1_low']:.2f}, {row['f1_high']:.2f}]"
        measures = [row["precision"], row["recall"], row["f1"], interval, precision]
        rows.append([f"{index} {row['name']}", *counts, *measures])
    return document.table(header, rows)


def precision_recall(subject: Subject) -> str:
    """A small curve for each class, the share of the class as the level of guessing."""
    figures = []
    described, num = subject.split["rules"]["fixed"]["classes"], max(subject.split["num_examples"], 1)
    for index, (name, curve) in enumerate(zip(subject.class_names, subject.split["curves"], strict=True)):
        precision = subject.split["average_precision"][index]
        caption = f"{name}: none here" if precision is None else f"{name}: AP {precision:.3f}"
        base = described[index]["support"] / num
        drawing = charts.small_curve(curve, title=caption, fill=charts.colour(0), base=base)
        figures.append(document.figure(caption, drawing))
    text = (
        f"{subject.name} on {subject.shown}: recall to the right, precision upwards, both 0 to 1; the best precision "
        "at each recall or beyond. Dashed: the share of the class, which guessing reaches."
    )
    return document.paragraph(text) + document.grid(figures, "small")


def ablation(subjects: Sequence[Subject]) -> str:
    """Macro F1 with channels blanked, and how sure the change is."""
    parts = [
        document.paragraph(
            "The same run, scored with channels blanked: set to their mean over train, which is 0 after "
            "normalisation. Red shows microtubules, blue the nucleus, yellow the endoplasmic reticulum; green is the "
            "protein itself and stands here as a control. The network was not trained to miss a channel, so this says "
            "how much it relies on it, not how well one trained without it would do."
        )
    ]
    for subject in subjects:
        found = subject.found.get("ablation")
        parts.append(document.heading(subject.name))
        if not found:
            parts.append(document.paragraph("Not measured (--no-ablation).", "muted"))
            continue
        rows: list[list[document.Cell]] = [
            [
                ", ".join(row["blanked"]) or "nothing",
                row["macro_f1"],
                row["change"] and f"{row['change']['estimate']:+.4f}",
                row["change"] and _range(row["change"]),
                row["mean_average_precision"],
            ]
            for row in found["rows"]
        ]
        parts.append(document.table([f"blanked ({found['split']})", "macro F1", "change", "95% interval", "mAP"], rows))
    return "".join(parts)


def threshold_rules(subjects: Sequence[Subject]) -> str:
    """Macro F1 by four rules chosen on dev, with the gap to test."""
    rows: list[list[document.Cell]] = []
    for subject in subjects:
        splits = subject.found["splits"]
        for rule in subject.found["thresholds"]:
            dev, test = (splits[one]["rules"][rule] if one in splits else None for one in ("dev", "test"))
            gap = f"{dev['macro_f1'] - test['macro_f1']:+.4f}" if dev and test else None
            interval = _range(test["interval"]) if test else None
            rows.append([subject.name, rule, dev and dev["macro_f1"], test and test["macro_f1"], interval, gap])
    text = (
        "Chosen on dev alone. fixed: 0.5. flat: one for all classes. matched: each class is predicted as often as it "
        "occurs. shrunk: the best of each class, drawn towards flat the more, the rarer the class. A large gap from "
        "dev to test is overfitting to dev."
    )
    header = ["run", "rule", "macro F1 on dev", "on test", "95% interval", "gap"]
    return document.paragraph(text) + document.table(header, rows)


def calibration(subjects: Sequence[Subject]) -> str:
    """Reliability of the probabilities, and their errors beside those of the classes' frequencies."""
    series, rows = [], []
    for subject in subjects:
        found = subject.split["calibration"]
        bins = zip(found["bins"]["count"], found["bins"]["mean"], found["bins"]["share"], strict=True)
        series.append([(mean, share) for count, mean, share in bins if count >= MIN_BIN])
        errors = [found["expected_error"], found["classwise_error"], found["brier"], found["brier_of_frequencies"]]
        rows.append([subject.name, *errors])
    chart = charts.lines(
        series,
        title="Reliability of probabilities",
        x_label="probability",
        y_label="share that is right",
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
        dots=True,
        height=340,
    )
    header = ["run", "expected error", "mean over classes", "Brier score", "of class frequencies"]
    text = f"All predictions on {subjects[-1].shown} in 15 bins of equal width, those with fewer than {MIN_BIN} left out: on the dashed line, probabilities are right."
    return document.grid(
        [document.figure(text, charts.legend([one.name for one in subjects]) + chart), document.table(header, rows)]
    )


def errors(subject: Subject) -> str:
    """Which class was said where which other one was missed."""
    found, names = subject.split["confusion"], subject.class_names
    pairs = sorted(
        ((value, i, j) for i, row in enumerate(found) for j, value in enumerate(row) if value),
        key=lambda one: (-one[0], one),
    )[:10]
    text = (
        f"{subject.name} on {subject.shown}: in how many examples the class of the row was missed while that of the "
        "column was said wrongly. An example with several errors counts once in each pair."
    )
    top = document.table(["missed", "said instead", "examples"], [[names[i], names[j], value] for value, i, j in pairs])
    if not pairs:
        top = document.paragraph("No example has both a missed class and a wrong one.", "muted")
    drawing = charts.heatmap(
        found, names, title="Errors that come together", row_title="missed", column_title="said wrongly"
    )
    return document.paragraph(text) + f'<div class="wide">{drawing}</div>' + document.heading("The most frequent") + top


def pictures(subject: Subject) -> str:
    """The surest mistakes and the emptiest green images, with all four channels."""
    entries = list(zip(subject.found["gallery"], subject.pictures, strict=True))
    channels = subject.found["dataset"]["channels"]
    stains = subject.found["dataset"]["stains"]
    key = "; ".join(f"{channel}: {stains[channel]}" if channel in stains else channel for channel in channels)
    parts = [
        document.paragraph(
            f"{subject.name} on {subject.shown}. Large: all channels in the atlas's colours, the references dimmed. "
            f"Below, one by one: {key}."
        )
    ]
    for kind, caption in gallery.KINDS.items():
        cards = [_card(subject, entry, image, channels) for entry, image in entries if entry["kind"] == kind]
        parts.append(document.heading(caption))
        parts.append(document.grid(cards, "gallery") if cards else document.paragraph("None.", "muted"))
    return "".join(parts)


def _card(subject: Subject, entry: dict[str, Any], image: np.ndarray, channels: Sequence[str]) -> str:
    names, said = subject.class_names, np.array(entry["probabilities"])
    large = document.picture(gallery.png(gallery.composite(image, channels)), f"{entry['id']}, all channels")
    small = gallery.small(image, 96)
    parts = [
        document.picture(gallery.png(gallery.coloured(small, channel, channels)), f"{entry['id']}, {channel}")
        for channel in channels
    ]
    if entry["class"] is None:
        reason = f"mean of green {entry['brightness']:.2f} of 255"
    else:
        verb = "said" if entry["kind"] == "wrong" else "missed"
        reason = f"{verb} {names[entry['class']]}: {said[entry['class']]:.3f}"
    predicted = ", ".join(f"{names[k]} {said[k]:.2f}" for k in np.argsort(-said) if said[k] >= thresholds.FIXED)
    nearest = f"nothing; nearest {names[int(said.argmax())]} {said.max():.2f}"
    lines = [
        ("b", reason),
        ("span", f"true: {', '.join(names[k] for k in entry['labels'])}"),
        ("span", f"predicted: {predicted or nearest}"),
    ]
    text = "<br>".join(f"<{tag}>{escape(line)}</{tag}>" for tag, line in lines)
    text += f'<br><span class="id">{escape(entry["id"])}</span>'
    return f'<figure>{large}<div class="parts">{"".join(parts)}</div><figcaption>{text}</figcaption></figure>'


def datasets(subjects: Sequence[Subject]) -> str:
    """The card of each dataset: where it is, its fingerprint, the split of each class, what was left out."""
    cards: dict[str, dict[str, Any]] = {}
    for subject in subjects:
        cards.setdefault(subject.found["dataset"]["fingerprint"], subject.found["dataset"])
    return "".join(_dataset_card(card) for card in cards.values())


def _dataset_card(card: dict[str, Any]) -> str:
    counts = ", ".join(f"{split} {num:,}" for split, num in card["num_examples"].items())
    facts = [
        ["folder", card["path"]],
        ["fingerprint", card["fingerprint"]],
        ["origin", "SYNTHETIC: drawn, not photographed" if card["synthetic"] else "images of the source"],
        ["examples", counts],
        ["image", f"{card['size']} x {card['size']}, channels {', '.join(card['channels'])}"],
        ["mean, 0..1", ", ".join(f"{one:.4f}" for one in card["mean"])],
        ["standard deviation", ", ".join(f"{one:.4f}" for one in card["std"])],
        [
            "near-duplicates",
            f"{card['num_grouped']:,} examples are in groups" if card["num_grouped"] else "no groups given",
        ],
        ["left out", f"{card['num_quarantined']:,} examples"],
    ]
    parts = [document.table(["", ""], facts)]
    if card["quarantine"]:
        rows = [[row.get(key, "") for key in ("id", "filter", "code", "detail")] for row in card["quarantine"]]
        parts.append(
            document.folded(
                "What was left out (first 100 images)", document.table(["id", "filter", "code", "detail"], rows)
            )
        )
    else:
        parts.append(document.paragraph("The quarantine is empty: every example of the label table is in a split."))
    if card["label_counts"]:
        splits = list(card["label_counts"])
        table = [
            [f"{index} {name}", *(card["label_counts"][split][index] for split in splits)]
            for index, name in enumerate(card["class_names"])
        ]
        parts += [document.heading("Examples of each class"), document.table(["class", *splits], table)]
    return "".join(parts)


def repeat(subjects: Sequence[Subject]) -> str:
    """The commands that repeat each run, with code, versions and settings."""
    parts = [document.paragraph("--out names a new folder: a run is never written over.", "muted")]
    for subject in subjects:
        config = subject.run.config
        parts.append(document.heading(subject.name))
        parts.append(document.preformatted("\n".join(commands(subject))))
        commit = config["git_commit"] or "unknown"
        text = f"Code: commit {commit.removesuffix('+')}"
        text += ", with changes that were not committed." if commit.endswith("+") else "."
        versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
        parts.append(
            document.paragraph(f"{text} {versions}. Best checkpoint SHA-256 {subject.found['checkpoint_sha256']}.")
        )
        settings = document.preformatted(json.dumps(config["settings"], indent=2))
        parts.append(document.folded("All settings", settings))
    return "".join(parts)


def commands(subject: Subject) -> list[str]:
    """Returns the command that trained the run, and the one that scored it."""
    program, *arguments = subject.run.config["command"]
    start = "python -m model.train" if program.endswith("train.py") else shlex.quote(program)
    found = subject.found
    score = ["python -m model.evaluate", shlex.quote(str(subject.run.path)), "--views", found["views"]]
    score += ["--splits", ",".join(found["splits"])]
    if found["limit_examples"] != subject.run.settings.limit_examples:
        score += ["--limit", str(found["limit_examples"])]
    return [" ".join([start, *map(shlex.quote, arguments)]), " ".join(score)]


def _three(value: float) -> str:
    return f"{value:.3f}"


def _range(interval: dict[str, float]) -> str:
    return f"[{interval['low']:.3f}, {interval['high']:.3f}]"
