"""Print the ceilings of a phantom cohort: AUC of oracles that know how it was drawn.

    python benchmarks/phantom_ceiling.py configs/demo.toml

The first table is of a large draw (sampling error below 0.002), the second of the cohort itself where it has been
written: with few patients it scatters around the first.
"""

import argparse
from pathlib import Path

import numpy as np

from extract.phantom import facts
from extract.phantom.ceiling import (
    HounsfieldOracle,
    Reading,
    areas,
    draw_reading,
    prior_of,
    read_signs,
    read_truth,
)
from extract.phantom.cohort import TRUTH
from extract.phantom.commands import PhantomConfig
from pipeline.config import load_config


def main():
    """Read the arguments and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--patients", type=int, default=100_000, help="size of the large draw")
    arguments = parser.parse_args()
    config = load_config(arguments.config, PhantomConfig)
    section, prior = config.phantom, prior_of(config.phantom)
    rng = np.random.default_rng(0)
    complete = section.model_copy(update={"missing": dict.fromkeys(facts.PHASES, 0.0)})
    oracle = HounsfieldOracle().fit(draw_reading(complete, 2 * arguments.patients, rng))
    print_ceilings(
        f"{arguments.patients} drawn patients", draw_reading(section, arguments.patients, rng), oracle, prior
    )
    truth = config.cohort.table.with_name(TRUTH)
    if truth.exists():
        reading = read_truth(truth)
        print_ceilings(f"{truth}, {len(reading.label)} patients", reading, oracle, prior)


def print_ceilings(title: str, reading: Reading, oracle: HounsfieldOracle, prior: np.ndarray) -> None:
    """Print one line per oracle."""
    print(
        f"\n{title}\n{'AUC, one against the rest':28}"
        + "".join(f"{n:>10}" for n in (*facts.CLASSES, "macro"))
    )
    probabilities = {"signs": read_signs(reading, prior), "signs + HU": oracle.predict_proba(reading, prior)}
    for name, values in probabilities.items():
        print(f"{name:28}" + "".join(f"{area:10.3f}" for area in areas(reading.label, values).values()))


if __name__ == "__main__":
    main()
