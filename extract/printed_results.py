"""What `extract.py run` prints at its end."""

from collections.abc import Mapping

from rich.console import Console

from extract.config import ExtractConfig
from extract.record import RunResult
from pipeline.cohort import STAGES, Exclusion
from pipeline.exclusions import TABLE
from pipeline.run_log import say


def print_results(config: ExtractConfig, results: Mapping[str, RunResult], console: Console) -> None:
    """Print a line for each variant, then what was left out; what several variants left out is told once."""
    told: list[Exclusion] = []
    for name, result in results.items():
        say(
            console,
            f"{f'variant {name}: ' if name else ''}{len(result.written)} bags written ({result.n_slices} slices), "
            f"{len(result.skipped)} done before: {config.bags_folder_of(name)}",
        )
        told += [exclusion for exclusion in result.exclusions if exclusion not in told]
    for fault in (e for e in told if e.stage in STAGES):
        who = f"patient {fault.patient_id}" + (f", phase {fault.phase}" if fault.phase else "")
        say(console, f"{who}: {config.cohort.table}: {fault.reason}")
    if told:
        say(console, f"{len(told)} exclusions with their reasons: {config.bags_folder / TABLE}")
