"""The chain behind a package: its files, its models, the run that they come from, and the weights of its encoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from aggregate.package.bag_contract import CONTRACT, PackageContract
from aggregate.package.chain_links import Compared, Link, State, compared_files, file_hash, summed_up
from aggregate.package.loaded_package import load_package
from aggregate.package.package_files import RECORD, PackageRecord, file_faults, read_package_record, validated
from aggregate.package.weights_files import weights_links
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from aggregate.run_folder.run_record import config_of_run, results_in
from aggregate.store.fit_cache import FitCache
from pipeline.errors import PhasemilError
from pipeline.provenance import sha256_of_file

_FILES, _ITSELF, _MODELS = f"package -> {RECORD}", f"{RECORD} -> what freeze printed", "package -> models"
_RUN, _FITS = "package -> run", "models -> fits of the run"


def chain_of_package(
    folder: Path, *, sha256: str, results: Path | None, weights: Sequence[Path], run_code: bool
) -> Iterator[Link]:
    """Yield every link behind a package.

    Args:
        folder: the package.
        sha256: what `freeze` printed; empty where it is not known.
        results: the folder of the run that it comes from; None where it is not here.
        weights: files that may be those of the encoder.
        run_code: whether Python files of the package may run.

    Raises:
        PackageError: package.json cannot be read.
    """
    record = read_package_record(folder)
    faults = list(file_faults(folder, record))
    yield from (Link(_FILES, fault.file, State.DIFFERS, fault.expected, fault.found) for fault in faults)
    bad = {fault.file for fault in faults}
    good = {name: known for name, known in record.files.items() if name not in bad}
    yield from summed_up(_FILES, "files", compared_files(folder, good), absent="not here")
    yield _itself(folder, sha256)
    if bad:
        yield Link(
            _MODELS, "models", State.UNKNOWN, why="the files are not those of the package, and are not read"
        )
    else:
        yield from _models(folder, record, run_code=run_code)
    yield from _run(folder, record, results)
    if CONTRACT not in bad:
        contract = validated(PackageContract, folder, CONTRACT)
        recipes = {name: one.model_dump() for name, one in contract.bag_sets.items()}
        yield from weights_links(recipes, None, weights)


def _itself(folder: Path, expected: str) -> Link:
    found = sha256_of_file(folder / RECORD)
    if not expected:
        why = f"compare SHA-256 {found} with what `freeze` printed, or say it with --sha256"
        return Link(_ITSELF, RECORD, State.UNKNOWN, why=why)
    state = State.MATCHES if expected == found else State.DIFFERS
    return Link(_ITSELF, RECORD, state, f"SHA-256 {expected}", f"SHA-256 {found}")


def _models(folder: Path, record: PackageRecord, *, run_code: bool) -> Iterator[Link]:
    """Read every model."""
    if record.has_code and not run_code:
        yield Link(
            _MODELS,
            "models",
            State.UNKNOWN,
            why="they hold code, which would run; say --run-code if you trust it",
        )
        return
    try:
        models = load_package(folder, run_code=run_code).models
    except PhasemilError as error:
        yield Link(_MODELS, "models", State.DIFFERS, "models that can be read", str(error))
        return
    yield Link(_MODELS, "models", State.MATCHES, why=f"{len(models)} of {len(record.models)} can be read")


def _run(folder: Path, record: PackageRecord, results: Path | None) -> Iterator[Link]:
    """Compare the models with the fits in the cache of the run."""
    if results is None:
        yield Link(_RUN, record.experiment, State.UNKNOWN, why="name the folder of its run with --results")
        return
    results = results_in(results)
    found = file_hash(results / RUN_RECORD)
    compared = Compared(f"{RUN_RECORD} of {record.experiment}", record.run_sha256, found)
    yield from summed_up(_RUN, RUN_RECORD, [compared], absent="not here")
    cache = FitCache(config_of_run(results).cache_folder)
    yield from summed_up(
        _FITS,
        "files of models",
        _compared_models(folder, record, cache),
        absent="no longer in the cache of the run",
    )


def _compared_models(folder: Path, record: PackageRecord, cache: FitCache) -> Iterator[Compared]:
    for name, key in zip(record.models, record.fits, strict=False):
        for path in sorted(path for path in (folder / name).rglob("*") if path.is_file()):
            if record.has_code and path.name == "config.json":
                continue  # it names the code in the package instead of that of the user
            of_run = file_hash(cache.model_folder(key) / path.relative_to(folder / name))
            yield Compared(path.relative_to(folder).as_posix(), sha256_of_file(path), of_run)
