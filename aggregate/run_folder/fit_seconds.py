"""Times of the fits of an earlier run, used to estimate the time of a plan; unknown times are not guessed."""

import json
from collections.abc import Mapping

from aggregate.config import AggregateConfig
from aggregate.run_folder.run_record import record_of
from pipeline.provenance import canonical_json

FIT_SECONDS = "fit_seconds"
"""Of run.json: model -> mean seconds of a fit, of this run or of the earlier one that trained it."""


def recorded_seconds(config: AggregateConfig) -> Mapping[str, float]:
    """Return the mean seconds of a fit, by model, of those that have not changed since the run in the results folder."""
    record = record_of(config.results_folder) or {}
    known: Mapping[str, float] = record.get(FIT_SECONDS, {})
    before: Mapping[str, Mapping[str, object]] = (
        record.get("config", {}).get("aggregate", {}).get("model", {}) if known else {}
    )
    return {name: seconds for name, seconds in known.items() if _is_same(config, name, before.get(name))}


def patients_of_record(config: AggregateConfig) -> int | None:
    """Return how many patients the run in the results folder had, None where there was none."""
    return (record_of(config.results_folder) or {}).get("n_patients")


def seconds_to_record(config: AggregateConfig, fitted: Mapping[str, float]) -> Mapping[str, float]:
    """Return the seconds of the fits of this run, and of an earlier one for models that came from the cache."""
    return {name: round(seconds, 4) for name, seconds in {**recorded_seconds(config), **fitted}.items()}


def _is_same(config: AggregateConfig, name: str, before: Mapping[str, object] | None) -> bool:
    """Say whether a model has the parameters of the earlier run; a baseline has those it always has."""
    now = config.aggregate.model.get(name)
    if now is None or before is None:
        return now is None and before is None
    written = json.loads(now.model_dump_json(by_alias=True))
    return canonical_json(written) == canonical_json(dict(before))
