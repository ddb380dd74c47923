"""The chain behind a results folder: result -> model -> folds -> bags -> weights -> images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.bag_sets import bag_in_phases
from aggregate.cohort.folds import Fold
from aggregate.cohort.matching import BagSource
from aggregate.cohort.slide_bags import slide_bag
from aggregate.cohort.slide_table import read_slide_table
from aggregate.cohort.study_cohort import StudyCohort, load_study
from aggregate.config import AggregateConfig
from aggregate.outcomes.tables.predictions import PREDICTIONS_OF, read_outcome_predictions
from aggregate.package.chain_links import Compared, Link, State, compared_files, file_hash, listed, summed_up
from aggregate.package.weights_files import weights_links
from aggregate.planning.baselines import with_baselines
from aggregate.planning.configured_names import published_columns
from aggregate.planning.fit_tasks import fit_tasks
from aggregate.planning.splits import read_splits
from aggregate.run_folder.run_record import (
    BAG_ARRAYS,
    BAGS_SHA256,
    FILES,
    FITS,
    MODEL_CODE,
    RECIPES,
    SPLITS_SHA256,
    bags_of_record,
    config_of_run,
    require_record,
)
from aggregate.store.fit_cache import FitCache, code_of_model
from aggregate.tables.cohort import read_cohort_facts
from aggregate.tables.predictions import PREDICTIONS, read_predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS
from aggregate.tables.table import Table
from pipeline.bags import CT, Bag, BagHeader, arrays_sha256, bag_path, read_bag, read_header
from pipeline.cohort import read_cohort
from pipeline.errors import PhasemilError
from pipeline.provenance import sha256_of_json

_RECORD, _FILES, _MODEL = "run.json", "results -> run.json", "result -> model"
_CACHE, _FOLDS, _BAGS = "model -> cache", "model -> folds, labels, bags, code", "folds -> bags"
_COHORT = "results -> cohort table"
_IMAGES = "bags -> images"
_OWN = "the probabilities of its fits"
_SAME = 1e-9
_ELSEWHERE = "not here"
_NO_IMAGE = "not here, or not named in the cohort table"


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder that is verified.

    Attributes:
        folder: with run.json.
        record: what run.json says.
        config: of the run.
    """

    folder: Path
    record: Mapping[str, Any]
    config: AggregateConfig

    @classmethod
    def of(cls, folder: Path) -> "Results":
        """Read the record of a results folder.

        Raises:
            ResultsError: it is not that of a finished run.
        """
        return cls(folder, require_record(folder), config_of_run(folder))

    @cached_property
    def study(self) -> StudyCohort | PhasemilError:
        """The patients as they are now, or why they cannot be read."""
        try:
            return load_study(self.config)
        except PhasemilError as error:
            return error

    @cached_property
    def folds(self) -> Sequence[Fold] | PhasemilError:
        """The folds of splits.csv, or why they cannot be read."""
        if isinstance(self.study, PhasemilError):
            return self.study
        try:
            return read_splits(self.folder / SPLITS.location, self.study.patients)
        except PhasemilError as error:
            return error

    @property
    def table_of_predictions(self) -> Table:
        """The table of what the models say of each patient."""
        task = self.config.aggregate.task
        return PREDICTIONS if task == "classification" else PREDICTIONS_OF[task]

    @property
    def fits(self) -> Mapping[str, Sequence[str]]:
        """Model -> keys of its fits."""
        found: Mapping[str, Sequence[str]] = self.record.get(FITS, {})
        return found


def chain_of_results(folder: Path, weights: Sequence[Path], *, images: bool) -> Iterator[Link]:
    """Yield every link behind the results of a folder.

    Args:
        folder: with run.json.
        weights: files that may be those of the encoder, beside the places where they usually lie.
        images: whether the files of the scans are read.

    Raises:
        ResultsError: it is not the folder of a finished run.
    """
    results = Results.of(folder)
    yield from _files(results)
    yield from _record_itself(results)
    yield from _models(results)
    yield from _cached(results)
    yield from _cohort_table(results)
    yield from _same_fits(results)
    yield from _bags(results)
    yield from weights_links(results.record.get(RECIPES, {}), results.config, weights)
    if images:
        yield from _images(results)
    else:
        yield Link(_IMAGES, "images and masks", State.UNKNOWN, why="--no-images")


def _files(results: Results) -> Iterator[Link]:
    known: Mapping[str, str] = results.record.get(FILES, {})
    told = {name: sha256 for name, sha256 in known.items() if sha256}
    untold = [name for name, sha256 in known.items() if not sha256]
    gone = [name for name in told if not (results.folder / name).is_file()]
    yield from (Link(_FILES, name, State.DIFFERS, f"SHA-256 {told[name]}", "no such file") for name in gone)
    there = {name: sha256 for name, sha256 in told.items() if name not in gone}
    yield from summed_up(_FILES, "files of the run", compared_files(results.folder, there), absent=_ELSEWHERE)
    if untold:
        yield Link(_FILES, listed(untold), State.UNKNOWN, why="a release wrote them that kept no SHA-256")


def _record_itself(results: Results) -> Iterator[Link]:
    """Compare what run.json says twice."""
    record = results.record
    bags = Compared("bags", str(record.get(BAGS_SHA256)), sha256_of_json(record.get("bags", {})))
    splits = Compared(
        "tables/splits.csv", str(record.get(SPLITS_SHA256)), file_hash(results.folder / SPLITS.location)
    )
    yield from summed_up(f"{_RECORD} -> itself", "lists of bags and folds", [bags, splits], absent=_ELSEWHERE)


def _models(results: Results) -> Iterator[Link]:
    """Compare the predictions of the table with those that the fits in the cache made."""
    if isinstance(results.study, PhasemilError) or isinstance(results.folds, PhasemilError):
        yield Link(_MODEL, results.table_of_predictions.file, State.UNKNOWN, why=str(results.folds))
        return
    try:
        told = _told(results)
    except PhasemilError as error:
        file = results.table_of_predictions.file
        yield Link(_MODEL, file, State.DIFFERS, "the predictions of the run", str(error))
        return
    cache, ids = FitCache(results.config.cache_folder), results.study.patients.patient_ids
    tested = [_Tested(fold.repeat, tuple(ids[i] for i in fold.test)) for fold in results.folds]
    compared = (
        Compared(name, _OWN, _found_in_fits(told, name, list(zip(tested, keys, strict=False)), cache))
        for name, keys in results.fits.items()
        if name in told.values
    )
    yield from summed_up(_MODEL, "models", compared, absent="not all of their fits are in the cache")


@dataclass(frozen=True, eq=False)
class _Told:
    """What a table of predictions says: model -> (repeats, patients, columns), rounded to its digits."""

    patient_ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    digits: int


def _told(results: Results) -> _Told:
    tables, section = ResultTables.of_record(results.folder, results.record), results.config.aggregate
    digits = results.table_of_predictions.digits
    if section.task == "classification":
        classes = read_predictions(tables)
        return _Told(classes.patient_ids, classes.probabilities, digits)
    outcomes = read_outcome_predictions(tables, section.task, section.outcome)
    return _Told(outcomes.patient_ids, outcomes.values, digits)


@dataclass(frozen=True)
class _Tested:
    """Whom one fold tests."""

    repeat: int
    patient_ids: tuple[str, ...]


def _found_in_fits(
    told: _Told, name: str, fits: Sequence[tuple[_Tested, str]], cache: FitCache
) -> str | None:
    """Say what the fits of a model in the cache say of their test patients; None where one is not there."""
    number = {patient_id: i for i, patient_id in enumerate(told.patient_ids)}
    largest = 0.0
    for tested, key in fits:
        try:
            test, _ = cache.stored_predictions(key)
        except (OSError, ValueError, KeyError):
            return None
        if len(tested.patient_ids) != len(test):
            return f"{len(test)} test patients in fit {key}, {len(tested.patient_ids)} in the folds"
        rows = [(number[p], row) for p, row in zip(tested.patient_ids, test, strict=True) if p in number]
        printed = np.round(np.array([row for _, row in rows]), told.digits)
        of_table = told.values[name][tested.repeat][[i for i, _ in rows]]
        largest = max(largest, float(np.abs(printed - of_table).max()))
    return _OWN if largest <= _SAME else f"others, by up to {largest:.2g}"


def _cached(results: Results) -> Iterator[Link]:
    """Compare every file of the fits in the cache with its SHA-256."""
    store = FitCache(results.config.cache_folder).store
    expected = "as it was written"
    compared = []
    for name, keys in results.fits.items():
        for key in keys:
            faults = store.faults(key)
            found = None if faults is None else expected if not faults else f"changed: {', '.join(faults)}"
            compared.append(Compared(f"{name}, {store.folder.name}/{key}", expected, found))
    yield from summed_up(_CACHE, "fits", compared, absent="no longer in the cache")


def _same_fits(results: Results) -> Iterator[Link]:
    """Make the keys of the fits anew from patients, labels, covariates, folds, bags, parameters and code."""
    study, folds = results.study, results.folds
    if isinstance(study, PhasemilError) or isinstance(folds, PhasemilError):
        yield Link(
            _FOLDS, "fits", State.UNKNOWN, why=str(study if isinstance(study, PhasemilError) else folds)
        )
        return
    specs = with_baselines(results.config.aggregate, study)
    tasks = fit_tasks(study, folds, specs, seed=results.config.aggregate.seed)
    changed = [
        name for name in tasks if [task.key for task in tasks[name]] != list(results.fits.get(name, ()))
    ]
    codes: Mapping[str, Sequence[str]] = results.record.get(MODEL_CODE, {})
    now = {spec.name: code_of_model(spec.kind, spec.parameters) for spec in specs}
    recoded = [name for name in changed if list(codes.get(name, ())) != now[name]]
    others = [name for name in changed if name not in recoded]
    if recoded:
        why = "the code of the models, or a library behind it, is not that of the run, and is a part of every key"
        yield Link(_FOLDS, f"fits of {listed(recoded)}", State.UNKNOWN, why=why)
    if others:
        expected = f"the keys in {_RECORD}"
        found = "others: labels, covariates, patients, folds, bags or parameters are not those of the run"
        yield Link(_FOLDS, f"fits of {listed(others)}", State.DIFFERS, expected, found)
    if len(changed) < len(tasks):
        yield Link(_FOLDS, "fits", State.MATCHES, why=f"{len(tasks) - len(changed)} of {len(tasks)} models")


def _cohort_table(results: Results) -> Iterator[Link]:
    """Compare labels and columns of the cohort table with those that the run wrote down."""
    study = results.study
    if isinstance(study, PhasemilError):
        yield Link(_COHORT, "patients", State.UNKNOWN, why=str(study))
        return
    tables = ResultTables.of_record(results.folder, results.record)
    try:
        told = {patient.patient_id: patient for patient in read_cohort_facts(tables).patients}
    except PhasemilError as error:
        yield Link(_COHORT, "cohort.csv", State.DIFFERS, "the patients of the run", str(error))
        return
    rows = {row.patient_id: row for _, _, row in study.everybody}
    published = published_columns(results.config.aggregate)
    compared = []
    for patient_id in sorted({*told, *rows}):
        before, now = told.get(patient_id), rows.get(patient_id)
        expected = "nobody" if before is None else _as_told(before.label, before.covariates)
        shown = (
            {} if now is None else {name: cell for name, cell in now.covariates.items() if name in published}
        )
        found = "nobody" if now is None else _as_told(now.label or "", shown)
        compared.append(Compared(f"patient {patient_id}", expected, found))
    yield from summed_up(_COHORT, "labels and columns of patients", compared, absent=_ELSEWHERE)


def _as_told(label: str, columns: Mapping[str, str]) -> str:
    return ", ".join([f"label {label}", *(f"{name} {cell}" for name, cell in sorted(columns.items()))])


def _bags(results: Results) -> Iterator[Link]:
    """Compare content keys and arrays of every bag."""
    arrays: Mapping[str, Mapping[str, str]] = results.record.get(BAG_ARRAYS, {})
    for name, keys in bags_of_record(results.record).items():
        source = results.config.bag_sources.get(name)
        if source is None or not source.folder.is_dir():
            yield Link(
                _BAGS, f"bags of {name}", State.UNKNOWN, why=f"{source and source.folder}: no such folder"
            )
            continue
        compared = [
            one
            for patient_id, key in keys.items()
            for one in _compared_bag(
                f"bag {patient_id} of {name}",
                partial(_bag_as_read, results.config, source, patient_id),
                key,
                arrays.get(name, {}).get(patient_id),
            )
        ]
        yield from summed_up(_BAGS, f"bags of {name}", compared, absent=f"{_ELSEWHERE}, in {source.folder}")
        if not arrays.get(name):
            yield Link(
                _BAGS, f"arrays in the bags of {name}", State.UNKNOWN, why="the run kept no SHA-256 of them"
            )


def _compared_bag(
    subject: str, read: Callable[[], Bag | None], key: str, sha256: str | None
) -> Iterator[Compared]:
    """Compare a bag with its content key, and with the SHA-256 of its arrays where the run kept that."""
    try:
        bag = read()
    except PhasemilError as error:
        yield Compared(subject, f"content key {key}", str(error))
        return
    if bag is None:
        yield Compared(subject, f"content key {key}", None)
        return
    yield Compared(f"{subject}, content key", key, bag.header.content_key)
    if sha256 is not None:
        yield Compared(f"{subject}, arrays", f"SHA-256 {sha256}", f"SHA-256 {arrays_sha256(bag)}")


def _bag_as_read(config: AggregateConfig, source: BagSource, patient_id: str) -> Bag | None:
    """Return a bag as the run read it, in the phases of the configuration; None where there is none."""
    if source.format is not None:
        files = read_slide_table(source.folder, source.format, source.slides).files
        return slide_bag(patient_id, files[patient_id], source.format) if patient_id in files else None
    path = bag_path(source.folder, patient_id)
    if not path.exists():
        return None
    bag = read_bag(path)
    return bag_in_phases(bag, config.cohort.phases) if bag.header.modality == CT else bag


def _images(results: Results) -> Iterator[Link]:
    """Compare the files of scans and masks with what the bags say of them."""
    try:
        cohort = read_cohort(results.config.cohort, needs_scans=False)
    except PhasemilError as error:
        yield Link(_IMAGES, "images and masks", State.UNKNOWN, why=str(error))
        return
    headers = list(_ct_headers(results))
    scans = {(p.patient_id, phase): scan for p in cohort.patients for phase, scan in p.scans.items()}
    compared: dict[str, Compared] = {}
    for header in headers:
        for phase, source in header.sources.items():
            scan = scans.get((header.patient_id, phase))
            place = f"image {source.file} of patient {header.patient_id}"
            found = None if scan is None else file_hash(scan.image)
            compared[place] = Compared(place, source.image_sha256, found)
            if scan is not None and len(scan.masks) == 1 and source.mask_source == "drawn":
                place = f"mask of {source.file} of patient {header.patient_id}"
                compared[place] = Compared(place, source.mask_sha256, file_hash(scan.masks[0][1]))
    if not compared:
        why = "no bag of scans is here that tells the SHA-256 of its images"
        yield Link(_IMAGES, "images and masks", State.UNKNOWN, why=why)
    yield from summed_up(_IMAGES, "images and masks", compared.values(), absent=_NO_IMAGE)


def _ct_headers(results: Results) -> Iterator[BagHeader]:
    for name, keys in bags_of_record(results.record).items():
        source = results.config.bag_sources.get(name)
        if source is None or source.format is not None:
            continue
        for patient_id in keys:
            path = bag_path(source.folder, patient_id)
            try:
                header = read_header(path)
            except PhasemilError:
                continue  # told where bags are compared
            if header.modality == CT:
                yield header
