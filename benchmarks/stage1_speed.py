"""Stage 1 against its floor and against peers, as ratios within one run.

usage: python benchmarks/stage1_speed.py [--patients 3] [--peers] [--flat] [--cohort TABLE] [--output CSV]

Count first. A 512 x 512 volume of 300 slices of 1 mm is 157 MB of int16, about 70 MB as .nii.gz. Per volume stage 1
must inflate what lies before the last tumour slice (zlib makes 170 to 300 MB/s a core, ISA-L twice that), inflate the
mask, and touch n tumour slices: a 120 mm square at 0.7 mm is 172 x 172 x 2 B = 59 kB, its image 224 x 224 x 3 x 4 B =
602 kB. A ResNet18 forward is 1.8 GMAC an image. Everything beside inflating and the forward pass is therefore below
2 MB a slice, under 1 ms on one core, against 10 ms of forward and up to 20 ms of inflating per slice.

The floor on a CPU is the sum of forward-only and decode-only, for they share the cores; on a GPU the slower of the
two. Both are measured here on the very scans and the very network of the run; decoding alone runs on one core, as
it does beside the encoder. `of floor` is the run's slices per second against the floor's, by the clock and by CPU
seconds: on a machine with other work wall seconds say little. `setup` (hashing files, loading and self-testing the network) is part of a
run and not of the floor.
"""

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from extract.config import ExtractConfig, load_extract_config
from extract.encoders import Encoder, load_encoder
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from extract.prepare import Preparation
from extract.regions import plan_region, read_region
from extract.run import run_extraction
from extract.volumes import open_volume
from pipeline.cohort import Scan, read_cohort
from pipeline.tables import write_table

CONFIG = """
name = "speed"
output = "out"
[cohort]
table = "{table}"
[extract]
encoder = "resnet18"
weights = "random:0"
"""
NETWORK = "encoder=resnet18"
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    wall_s: float
    cpu_s: float
    n_slices: int
    peak_gb: float

    def row(self, name: str, floor: "Cost | None") -> dict[str, object]:
        """Return the row of the table, beside the floor where there is one."""
        return {
            "what": name,
            "slices": self.n_slices,
            "wall_s": round(self.wall_s, 1),
            "cpu_s": round(self.cpu_s, 1),
            "slices_per_s": round(self.n_slices / self.wall_s, 1),
            "of_floor": round(floor.rate / self.rate, 2) if floor else "",
            "of_floor_cpu": round(floor.cpu_rate / self.cpu_rate, 2) if floor else "",
            "peak_gb": round(self.peak_gb, 2),
        }

    @property
    def rate(self) -> float:
        """Wall seconds per slice."""
        return self.wall_s / self.n_slices

    @property
    def cpu_rate(self) -> float:
        """CPU seconds per slice."""
        return self.cpu_s / self.n_slices


def _child(pipe, work: Callable[..., int], arguments: tuple) -> None:
    begun, cpu = time.perf_counter(), _cpu_seconds()
    n = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    pipe.send(Cost(time.perf_counter() - begun, _cpu_seconds() - cpu, n, peak))


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def cost(work: Callable[..., int], *arguments) -> Cost:
    """Run a piece of work in a process of its own, imports not counted."""
    here, there = SPAWN.Pipe(duplex=False)
    child = SPAWN.Process(target=_child, args=(there, work, arguments))
    child.start()
    there.close()
    found = here.recv()
    child.join()
    return found


def scans_of(config: ExtractConfig) -> list[Scan]:
    return [scan for patient in read_cohort(config.cohort).patients for scan in patient.scans.values()]


def build(config: ExtractConfig) -> Encoder:
    section = config.extract
    return load_encoder(section.encoder, section.weights, precision=section.precision, device=section.device)


def decode_only(path: Path) -> int:
    """Read every mask, and inflate every image up to its last tumour slice."""
    config = load_extract_config(path, [])
    settings = Preparation.of(config.extract)
    n = 0
    for patient in read_cohort(config.cohort).patients:
        for phase in patient.scans:
            plan = plan_region(patient, phase, settings.slices, settings.masks, {})
            image = open_volume(plan.scan.image)
            region = read_region(plan, image, settings.masks)
            first = region.start[0]
            image.read(first, first + len(region.number))
            n += int(region.number.any(axis=(1, 2)).sum())
    return n


def forward_only(path: Path, n: int) -> int:
    """Embed as many ready images as the cohort has slices."""
    config = load_extract_config(path, [])
    encoder = build(config)
    images = torch.rand(encoder.rows, 3, config.extract.input.size_px, config.extract.input.size_px)
    for _ in range(-(-n // encoder.rows)):
        encoder.embed(images)
    return n


def setup_only(path: Path) -> int:
    """Build the network, as every run and forward_only do."""
    build(load_extract_config(path, []))
    return 1


def stage_1(path: Path, overrides: list[str]) -> int:
    return run_extraction(load_extract_config(path, overrides), Console(quiet=True)).n_slices


def peer(path: Path, kind: str) -> int:
    """Embed with a MONAI dictionary pipeline and a torch DataLoader, in the same network.

    `whole` resamples the whole volume to the pixel size of the image, as the tutorials do; `crop` cuts out the box of
    the tumour with the margin of the square first.
    """
    # An extra that only this comparison needs.
    from monai.data import DataLoader, Dataset  # noqa: PLC0415

    config = load_extract_config(path, [])
    rows = [
        {"image": str(scan.image), "mask": str(scan.masks[0][1])} for scan in scans_of(config) if scan.masks
    ]
    loader = DataLoader(
        Dataset(rows, _transforms(kind)), batch_size=1, num_workers=2, collate_fn=_first, shuffle=False
    )
    encoder = build(config)
    n = 0
    for volume in loader:
        images = _tumour_squares(volume, config.extract.input.size_px)
        for chunk in images.split(encoder.rows):
            encoder.embed(chunk.unsqueeze(1).expand(-1, 3, -1, -1))
            n += len(chunk)
    return n


def _first(items: list[Mapping]) -> Mapping:
    return items[0]


def _transforms(kind: str):
    from monai import transforms as t  # noqa: PLC0415

    keys, pixel = ["image", "mask"], 120 / 224
    read = [t.LoadImaged(keys), t.EnsureChannelFirstd(keys), t.Orientationd(keys, axcodes="LPS", labels=None)]
    crop = [t.CropForegroundd(keys, source_key="mask", margin=(120, 120, 0), allow_smaller=True)]
    shape = [
        t.Spacingd(keys, pixdim=(pixel, pixel, -1), mode=("bilinear", "nearest")),
        t.ScaleIntensityRanged(["image"], a_min=-160, a_max=240, b_min=0, b_max=1, clip=True),
    ]
    return t.Compose(read + (crop if kind == "crop" else []) + shape)


def _tumour_squares(volume: Mapping, side: int) -> torch.Tensor:
    image, mask = (torch.as_tensor(volume[k])[0] for k in ("image", "mask"))
    chosen = torch.nonzero(mask.any(0).any(0)).flatten()
    squares = []
    for z in chosen:
        x, y = (torch.nonzero(mask[:, :, z].any(axis)).flatten() for axis in (1, 0))
        corner = [int(v.float().mean()) - side // 2 for v in (x, y)]
        padded = torch.nn.functional.pad(image[:, :, z], (side,) * 4)
        squares.append(
            padded[corner[0] + side : corner[0] + 2 * side, corner[1] + side : corner[1] + 2 * side].T
        )
    return torch.stack(squares)


def flatness(folder: Path) -> None:
    """Time per patient and peak memory from 30 to 300 patients: one tiny cohort under many identifiers."""
    table = folder / "tiny" / "cohort.csv"
    write_cohort(PhantomSection(preset="tiny", seed=2, jobs=1), table)
    head, *rows = table.read_text().splitlines()
    by_patient: dict[str, list[str]] = {}
    for row in rows:
        by_patient.setdefault(row.split(",")[0], []).append(row.partition(",")[2])
    patients = list(by_patient.values())
    print("\npatients   CPU s a patient   peak GB")
    for n in (30, 300):
        lines = [f"P{i:04},{rest}" for i in range(n) for rest in patients[i % len(patients)]]
        (table.parent / f"many{n}.csv").write_text("\n".join([head, *lines]) + "\n")
        path = folder / f"many{n}.toml"
        text = CONFIG.format(table=table.parent / f"many{n}.csv")
        path.write_text(text.replace("resnet18", "squeezenet1_0") + "[extract.input]\nsize_px = 64\n")
        found = cost(stage_1, path, ["shared_images=allow", f"output={folder / f'many{n}'}"])
        print(f"{n:8} {found.cpu_s / n:17.3f} {found.peak_gb:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=3, help="patients of the phantom preset `full`")
    parser.add_argument("--cohort", type=Path, help="cohort table (CSV) to use instead of a phantom")
    parser.add_argument(
        "--peers", action="store_true", help="also run the MONAI pipelines (extra `benchmark`)"
    )
    parser.add_argument("--output", type=Path, help="write the table of the first part there, too")
    parser.add_argument("--flat", action="store_true", help="also compare 30 with 300 patients")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = options.cohort
        if table is None:
            table = folder / "cohort" / "cohort.csv"
            shares = np.bincount(np.arange(options.patients) % 3, minlength=3).tolist()
            patients = dict(zip(("HCC", "iCCA", "cHCC-CCA"), shares, strict=True))
            write_cohort(PhantomSection(preset="full", seed=1, patients=patients, jobs=2), table)
        path = folder / "speed.toml"
        path.write_text(CONFIG.format(table=table.resolve()))
        rows = compare(path, folder, peers=options.peers)
        if options.output is not None:
            write_table(options.output, tuple(rows[0]), rows)
        if options.flat:
            flatness(folder)


def compare(path: Path, folder: Path, *, peers: bool) -> list[dict[str, object]]:
    """Return the rows of the table, each printed as it is done."""
    rows: list[dict[str, object]] = []

    def show(what: str, found: Cost, floor: Cost | None = None) -> Cost:
        rows.append(found.row(what, floor))
        if len(rows) == 1:
            print(_line(rows[0]))
        print(_line(rows[-1].values()), flush=True)
        return found

    setup = cost(setup_only, path)
    decode = show("decode only", cost(decode_only, path))
    n = decode.n_slices
    forward = show("forward only", cost(forward_only, path, n))
    seconds = decode.wall_s + forward.wall_s, decode.cpu_s + forward.cpu_s
    floor = show("floor (CPU): their sum", Cost(*seconds, n, max(decode.peak_gb, forward.peak_gb)))
    show("building the network, in each", setup)
    alone = show("stage 1, no store", cost(stage_1, path, [f"output={folder / 'a'}", "store=false"]), floor)
    blocks = ["store=false", 'regions=["whole", "lesion", "rim"]', "input.reference=liver"]
    three = show("stage 1, three blocks", cost(stage_1, path, [f"output={folder / 'c'}", *blocks]), floor)
    times, cpu_times = three.rate / alone.rate, three.cpu_rate / alone.cpu_rate
    print(f"  three blocks about the liver take {times:.2f} times as long ({cpu_times:.2f} by CPU seconds)")
    show("stage 1, writing the store", cost(stage_1, path, [f"output={folder / 'b'}"]), floor)
    shutil.rmtree(folder / "b" / "bags")
    show("second encoder from the store", cost(stage_1, path, [f"output={folder / 'b'}"]), forward)
    for kind in ("whole", "crop") if peers else ():
        found = show(f"MONAI, {kind}", cost(peer, path, kind))
        times, cpu_times = found.rate / alone.rate, found.cpu_rate / alone.cpu_rate
        print(f"  stage 1 embeds {times:.1f} times as many slices a second ({cpu_times:.1f} by CPU seconds)")
    return rows


def _line(cells: Iterable[object]) -> str:
    name, *numbers = cells
    return f"{name!s:32}" + "".join(f"{number!s:>14}" for number in numbers)


if __name__ == "__main__":
    main()
