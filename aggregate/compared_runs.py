"""The command `compare`: a model of one results folder against a model of another, and what their configurations differ in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregate.predictions import Predictions
from aggregate.run_folder.run_record import (
    BAGS_SHA256,
    SPLITS_SHA256,
    config_of_run,
    require_record,
    results_in,
    weights_of_run,
)
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.measures import MACRO, macro_auc
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from aggregate.tables.predictions import PREDICTIONS, read_predictions
from aggregate.tables.results import ResultTables, percent
from aggregate.tables.rows import numeric
from aggregate.tables.run_comparisons import (
    RUN_COMPARISONS,
    ModelOfRun,
    run_comparison_rows,
    shared_patients,
)
from pipeline.errors import ResultsError
from pipeline.run_log import say

_NO_SETTINGS = frozenset({"name", "output"})
_ABSENT = "-"
_SHOWN_PATIENTS = 3


@dataclass(frozen=True, eq=False)
class _FinishedRun:
    folder: Path
    record: Mapping[str, Any]
    predictions: Predictions
    tables: ResultTables

    @classmethod
    def read(cls, folder: Path) -> "_FinishedRun":
        folder = results_in(folder)
        record = require_record(folder)
        weights_of_run(folder)  # refuses a run that was cut off
        config_of_run(folder).require_classes("`aggregate.py compare`")
        tables = ResultTables.of_record(folder, record)
        if not tables.holds(PREDICTIONS):
            raise ResultsError(
                f"{tables.path(PREDICTIONS)}: no such table; of a run of an earlier release, `aggregate.py tables "
                f"{folder}` puts the tables where they belong"
            )
        return cls(folder, record, read_predictions(tables), tables)

    @property
    def statistics(self) -> StatisticsSection:
        return config_of_run(self.folder).aggregate.statistics

    def chosen(self, model: str | None) -> tuple[ModelOfRun, str]:
        """Return a model of the run, and why it: asked for, declared beforehand, the only one, or the best.

        Raises:
            ResultsError: the run has no such model.
        """
        known = self.predictions.models
        name, why = (model, "asked for") if model is not None else self._by_itself()
        if name not in known:
            raise ResultsError(f"{self.folder}: no model {name!r}; expected one of {', '.join(known)}")
        chosen = ModelOfRun(str(self.folder), name, str(self.record["weights"]), self.predictions)
        return chosen, f"{self.folder}: model {name}, {why}"

    def _by_itself(self) -> tuple[str, str]:
        aggregate = config_of_run(self.folder).aggregate
        if aggregate.explained_model is not None:
            return aggregate.explained_model, "declared as explained_model"
        if self.statistics.primary is not None:
            return self.statistics.primary.model_a, "declared as model_a of the primary comparison"
        configured = aggregate.model
        names = [name for name in self.predictions.models if name in configured] or self.predictions.models
        if len(names) == 1:
            return names[0], "the only one"
        labels, everyone = self.predictions.labels, np.ones((len(self.predictions.labels), 1))
        aucs = {n: macro_auc(labels, self.predictions.probabilities[n], everyone).resampled[0] for n in names}
        best = max(names, key=lambda name: aucs[name])
        return best, (
            f"the best of {len(names)} by macro AUC ({aucs[best]:.3f}) on all patients of its run, which "
            "favours it; --model-a and --model-b name others"
        )


def compare_runs(
    folders: tuple[Path, Path],
    models: tuple[str | None, str | None],
    *,
    output: Path | None,
    console: Console,
) -> None:
    """Print the difference of two models of two runs, and write run_comparisons.csv where `output` is a folder.

    Raises:
        ResultsError: a folder holds no finished run or no such model, the classes or the labels of the patients differ, no
            patient is in both runs, or the output holds another table of that name.
    """
    a, b = map(_FinishedRun.read, folders)
    _check_comparable(a, b)
    target = None if output is None else _target(output, a.tables)
    (model_a, why_a), (model_b, why_b) = a.chosen(models[0]), b.chosen(models[1])
    same_splits = _on_same_splits(a, b)
    settings = a.statistics
    rows = list(run_comparison_rows(model_a, model_b, settings, same_splits=same_splits))
    for line in (why_a, why_b, *_patient_lines(a, b), _splits_line(same_splits=same_splits)):
        say(console, line)
    console.print(_difference_table(rows, settings.confidence))
    _print_settings(a.record, b.record, console)
    if target is not None:
        target.folder.mkdir(parents=True, exist_ok=True)
        target.write(RUN_COMPARISONS, rows)
        say(console, f"Table: {target.path(RUN_COMPARISONS)}")


def _check_comparable(a: _FinishedRun, b: _FinishedRun) -> None:
    of_a, of_b = a.predictions, b.predictions
    both = f"{a.folder} and {b.folder}"
    if set(of_a.classes) != set(of_b.classes):
        raise ResultsError(
            f"{both}: expected the same classes, found {', '.join(of_a.classes)} and {', '.join(of_b.classes)}; compare "
            "runs of one question"
        )
    shared = shared_patients(of_a, of_b)
    if not shared:
        raise ResultsError(f"{both}: no patient is in both; expected runs of the same patients")
    labels = [
        {name: p.classes[label] for name, label in zip(p.patient_ids, p.labels, strict=True)}
        for p in (of_a, of_b)
    ]
    other = [name for name in shared if labels[0][name] != labels[1][name]]
    if other:
        raise ResultsError(
            f"{both}: {len(other)} of {len(shared)} patients have another label, such as {other[0]}: {labels[0][other[0]]} "
            f"and {labels[1][other[0]]}; run the older one again with the cohort table of the other"
        )


def _on_same_splits(a: _FinishedRun, b: _FinishedRun) -> bool:
    """Say whether both runs recorded the same splits, and predicted by them."""
    return a.record.get(SPLITS_SHA256) == b.record.get(SPLITS_SHA256) and (
        a.predictions.patient_ids == b.predictions.patient_ids
        and np.array_equal(a.predictions.fold, b.predictions.fold)
    )


def _target(output: Path, like: ResultTables) -> ResultTables:
    tables = like.within(output)
    if tables.holds(RUN_COMPARISONS) and tables.header(RUN_COMPARISONS) != RUN_COMPARISONS.header():
        raise ResultsError(
            f"{tables.path(RUN_COMPARISONS)}: another table than this command writes; name another folder as --output"
        )
    return tables


def _patient_lines(a: _FinishedRun, b: _FinishedRun) -> Iterator[str]:
    shared = frozenset(shared_patients(a.predictions, b.predictions))
    yield f"{len(shared)} patients are in both runs, paired by their identifier"
    for one in (a, b):
        ids = one.predictions.patient_ids
        alone = [name for name in ids if name not in shared]
        if alone:
            named = ", ".join(alone[:_SHOWN_PATIENTS])
            yield f"{one.folder}: {len(alone)} of its {len(ids)} patients are in this run alone, such as {named}; left out"


def _splits_line(*, same_splits: bool) -> str:
    if same_splits:
        return "Both runs used the same splits"
    return (
        "The runs used other splits: no corrected t over the folds, and the intervals count the patients alone, which makes "
        "them too short"
    )


def _difference_table(rows: Sequence[Mapping[str, Any]], confidence: float) -> Table:
    title = Text(f"a minus b [{percent(confidence)} CI]")
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for column in ("class", "metric", "a", "b", "difference", "p", "p, folds", "n"):
        table.add_column(column, no_wrap=True)
    over_folds = {(row["class"], row["metric"]): row for row in rows if row["test"] == CORRECTED_T}
    for row in (row for row in rows if row["test"] == BOOTSTRAP):
        folds = over_folds.get((row["class"], row["metric"]), {})
        difference = _figure(row["difference"], "+.3f")
        if numeric(row["ci_low"]) is not None:
            difference += f" [{_figure(row['ci_low'], '+.3f')}, {_figure(row['ci_high'], '+.3f')}]"
        n = row["n"] if row["class"] == MACRO else f"{row['n_positive']} of {row['n']}"
        table.add_row(
            row["class"], row["metric"], _figure(row["estimate_a"]), _figure(row["estimate_b"]), difference,
            _figure(row["p_value"]), _figure(folds.get("p_value", _ABSENT)), str(n),
        )  # fmt: skip
    return table


def _figure(value: object, style: str = ".3f") -> str:
    number = numeric(value)
    return str(value) if number is None else format(number, style)


def _print_settings(a: Mapping[str, Any], b: Mapping[str, Any], console: Console) -> None:
    differ = list(differing_settings(a, b))
    if a.get(BAGS_SHA256) != b.get(BAGS_SHA256):
        differ.append(("bags (SHA-256)", str(a.get(BAGS_SHA256))[:16], str(b.get(BAGS_SHA256))[:16]))
    if not differ:
        say(console, "The configurations, the bags and the software are the same")
        return
    table = Table(title=Text("What differs"), title_justify="left", box=SIMPLE, pad_edge=False)
    for column in ("key", "a", "b"):
        table.add_column(column, overflow="fold")
    for cells in differ:
        table.add_row(*cells)
    console.print(table)


def differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of two run.json that differ, with both values: configuration, encoder weights and software.

    The names of the experiments and their output folders are left out.
    """
    flat_a, flat_b = (
        {
            **dict(_flat({k: v for k, v in record["config"].items() if k not in _NO_SETTINGS})),
            "weights": str(record.get("weights", _ABSENT)),
            **dict(_flat(record.get("software", {}), "software.")),
        }
        for record in (a, b)
    )
    for key in dict.fromkeys((*flat_a, *flat_b)):
        if flat_a.get(key) != flat_b.get(key):
            yield key, flat_a.get(key, _ABSENT), flat_b.get(key, _ABSENT)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", str(value)
