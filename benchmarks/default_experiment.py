"""How long the default experiment takes on the bags of a finished stage 1, stage by stage.

    python extract.py phantom configs/study.toml && python extract.py run configs/study.toml
    python benchmarks/default_experiment.py [configs/study.toml] [--output results/reference/default_experiment.csv]

The default experiment: attention, phase attention, mean pooling, XGBoost and every baseline, 5 folds x 5 repeats,
with all tables, explanations, figures and the report, into an empty results folder. The bags are read once before the clock
starts; the target is 60 s on 2 cores.
"""

import argparse
import gc
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from reference import write_reference
from rich.console import Console

from aggregate import orchestration
from aggregate.cohort.study_cohort import load_study
from aggregate.fitting import cross_validation
from aggregate.planning.plan import load_aggregate_config, make_plan


class Clock:
    """Wall seconds per stage, and of the fits per model."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self._last = time.perf_counter()

    def tick(self, stage):
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now

    def after(self, module, name, stage):
        """Let a function of a module be counted under a stage."""
        function = getattr(module, name)

        def timed(*args, **kwargs):
            self.tick("the rest")
            result = function(*args, **kwargs)
            self.tick(stage)
            return result

        setattr(module, name, timed)

    def fits(self):
        """Count the time between two finished fits under the model of the second."""
        fit_all = cross_validation._fit_all

        def timed(*args, **kwargs):
            for task, fit, taken in fit_all(*args, **kwargs):
                self.tick(f"fits: {task.spec.name}")
                yield task, fit, taken

        cross_validation._fit_all = timed


def main():
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=here / "configs" / "study.toml")
    parser.add_argument("--set", action="append", default=[], help="key=value, as for aggregate.py run")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    config = load_aggregate_config(arguments.config, arguments.set)
    load_study(config).patients.bag_sizes()  # reads them once
    gc.freeze()  # as the command does
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "bags").symlink_to(config.bags_folder.resolve())
        moved = config.model_copy(update={"output": Path(empty), "slice_store": config.store_path})
        seconds = measured(moved)
    rows = [{"stage": stage, "seconds": round(value, 2)} for stage, value in seconds.items()]
    rows.append({"stage": "in all", "seconds": round(sum(seconds.values()), 2)})
    for row in rows:
        print(f"{row['stage']:30}{row['seconds']:10.2f}")
    if arguments.output is not None:
        write_reference(arguments.output, rows)


def measured(config):
    clock = Clock()
    clock.fits()
    clock.after(orchestration, "run_experiment", "the experiment beside its fits")
    clock.after(orchestration, "write_tables", "tables")
    clock.after(orchestration, "_explain", "explanations")
    clock.after(orchestration, "write_report", "figures and report")
    clock.tick("the rest")
    plan = make_plan(config)
    clock.tick("the plan")
    orchestration.run_and_report(plan, n_null=0, console=Console(quiet=True))
    clock.tick("the rest")
    return clock.seconds


if __name__ == "__main__":
    main()
