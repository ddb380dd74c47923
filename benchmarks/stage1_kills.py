"""Kill stage 1 at random instants and prove that nothing but the patient in flight is lost.

usage: python benchmarks/stage1_kills.py [--kills 20] [--seed 0] [--table results/reference/stage1_kills.csv]

A small phantom cohort is embedded once without interruption. Then the same run is started in another folder and
killed at a random instant (SIGKILL and SIGINT in turn), again and again, each time going on where the last left off;
when it comes to its end unhurt, its output is deleted and it begins anew. After each kill every file under a final
name must be a readable bag. At last one run goes through, two runs work on one folder at the same time, and the
bags of all must equal the uninterrupted ones byte for byte, but for the time of creation.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import h5py
from rich.console import Console

from extract.config import load_extract_config
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from extract.run import run_extraction
from pipeline.bags import list_bags, read_bag, read_header
from pipeline.store import SliceStore
from pipeline.tables import write_table

CONFIG = """
name = "kills"
output = "out"
[cohort]
table = "cohort/cohort.csv"
[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
[extract.input]
size_px = 64
"""
# Children are forked so that a run takes seconds, not the seconds of its imports; the parent computes nothing.
FORK = multiprocessing.get_context("fork")


def run(config: Path, output: Path) -> None:
    settings = load_extract_config(config, [f"output={output}"])
    with Path(os.devnull).open("w") as nothing:
        try:
            run_extraction(settings, Console(file=nothing))
        except KeyboardInterrupt:
            os._exit(130)


def start(config: Path, output: Path) -> multiprocessing.process.BaseProcess:
    child = FORK.Process(target=run, args=(config, output))
    child.start()
    return child


def finish(child: multiprocessing.process.BaseProcess) -> None:
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"a run that nobody killed ended with {child.exitcode}")


def assert_readable(output: Path) -> int:
    """Read every bag and every patient of the store; return the number of bags."""
    for path in list_bags(output / "bags").values():
        read_bag(path)
    store = SliceStore(output / "slices.zarr")
    for folder in (output / "slices.zarr").glob("*/zarr.json"):
        store.read(folder.parent.name)
    return len(list_bags(output / "bags"))


def bytes_but_time(path: Path) -> bytes:
    with h5py.File(path) as file:
        created = file.attrs["created_utc"].encode()
    return path.read_bytes().replace(created, b"")


def assert_same(a: Path, b: Path) -> None:
    ours, theirs = list_bags(a / "bags"), list_bags(b / "bags")
    if list(ours) != list(theirs):
        raise SystemExit(f"{b}: expected the bags {list(ours)}, found {list(theirs)}")
    for patient_id in ours:
        if read_header(ours[patient_id]).content_key != read_header(theirs[patient_id]).content_key:
            raise SystemExit(f"patient {patient_id}: the content keys differ")
        if bytes_but_time(ours[patient_id]) != bytes_but_time(theirs[patient_id]):
            raise SystemExit(f"patient {patient_id}: the bytes differ")


Kill = dict[str, object]


def kill_again_and_again(config: Path, output: Path, *, kills: int, seconds: float, seed: int) -> list[Kill]:
    rng = random.Random(seed)
    table: list[Kill] = []
    while len(table) < kills:
        child = start(config, output)
        delay = rng.uniform(0, seconds)
        child.join(delay)
        if child.exitcode is not None:
            finish(child)
            shutil.rmtree(output)
            continue
        sent = signal.SIGINT if len(table) % 2 else signal.SIGKILL
        os.kill(child.pid, sent)
        child.join()
        partial = len(list(output.rglob("*.partial")))
        n_bags = assert_readable(output)
        table.append(
            {"kill": len(table) + 1, "signal": sent.name, "after_s": f"{delay:.2f}", "bags_all_readable": n_bags,
             "partial_files_left": partial}
        )  # fmt: skip
        print(", ".join(f"{name} {value}" for name, value in table[-1].items()), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="write the kills as CSV")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "kills.toml"
        config.write_text(CONFIG)
        writer = FORK.Process(
            target=write_cohort,
            args=(PhantomSection(preset="tiny", seed=1, jobs=1), folder / "cohort" / "cohort.csv"),
        )
        writer.start()
        finish(writer)
        begun = time.perf_counter()
        finish(start(config, folder / "whole"))
        seconds = time.perf_counter() - begun
        print(f"uninterrupted: {assert_readable(folder / 'whole')} bags in {seconds:.1f} s")
        table = kill_again_and_again(
            config, folder / "killed", kills=options.kills, seconds=seconds, seed=options.seed
        )
        finish(start(config, folder / "killed"))
        assert_same(folder / "whole", folder / "killed")
        print("the run after the last kill: byte-identical to the uninterrupted one but for created_utc")
        pair = [start(config, folder / "together") for _ in range(2)]
        for child in pair:
            finish(child)
        assert_same(folder / "whole", folder / "together")
        print("two runs at once over one folder: byte-identical too")
        left = len(list(folder.rglob("*.partial")))
        print(f"partial files after all: {left}")
    if options.table:
        write_table(options.table, tuple(table[0]), table)


if __name__ == "__main__":
    main()
