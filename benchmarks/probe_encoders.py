"""What frozen features are worth: linear probes of the embedded encoder beside untrained networks and ImageNet.

    python benchmarks/probe_encoders.py       (writes results/reference/encoder_probes.csv and ..._scores.csv)

Scores of the same weights in an earlier ..._scores.csv are taken from it, unless --fresh is given.

Every probe is a logistic regression on standardised frozen features, its C chosen by cross-validation inside the
training part. All encoders see the same pixels at the same size. "way" is (embedded - random) / (ImageNet - random),
where random is the mean of the untrained networks of the embedded architecture; it is empty where ImageNet itself is
not above every untrained network, for then there is no way to go.

Balanced accuracy is what was agreed on; the macro AUC of the same fits (PROBE_auc) moves less from draw to draw.

    organs_blocks     which of 13 organs a crop of 96 mm shows, one real CT (TotalSegmentator's example, 3 mm):
                      trained on two blocks of 10 slices and tested on the third, each in turn (balanced accuracy)
    organs_scans      liver, spine or aorta: trained on that CT, tested on two scans of other people (dcmqi's three
                      slices for liver and spine, TotalSegmentator's aorta crop), all at 3 mm (balanced accuracy)
    photographs       which of 18 photographs inside scikit-image's package a grey patch of 64 px comes from: trained
                      on the left half of each, tested on the right half (balanced accuracy)
    digits            scikit-learn's digits, trained on 10 of each, 10 draws (balanced accuracy)
    phantom           the phantom's cohort, mean over all slices of a patient as stage 2's mean pooling has it,
                      stratified 5 folds, 4 repeats (macro AUC), squares of 120 mm as stage 1 cuts them by default
    phantom_phases    the same with one mean per phase, side by side
    phantom_70mm, phantom_70mm_phases
                      the same with squares of 70 mm, as configs/demo.toml and study.toml cut them; at 112 px only
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from probe_tasks import SHARED, Task, digit_task, organ_tasks, photograph_task
from rich.console import Console
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import recall_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import interpolate

from extract.config import ExtractConfig
from extract.encoders import Encoder, load_encoder
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from extract.run import run_extraction
from pipeline.bags import Bag, read_bag
from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.tables import read_table, write_table

IMAGE_PROBES = ("organs_blocks", "organs_scans", "photographs", "digits")
PHANTOM_SIDES_MM = {"phantom": 120.0, "phantom_70mm": 70.0}
SIDES_ONLY_AT_112_PX = ("phantom_70mm",)
PROBES = (
    *(f"{name}{metric}" for name in IMAGE_PROBES for metric in ("", "_auc")),
    *(f"{name}{pooled}" for name in PHANTOM_SIDES_MM for pooled in ("", "_phases")),
)
SCORE_COLUMNS = ("encoder", "architecture", "probe", "size_px", "score", "weights_sha256")
CS = tuple(10.0**k for k in range(-5, 1))


def fitted(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """Fit the probe; the full PCA only turns the axes, which makes the rest quick where images are few."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    regression = LogisticRegressionCV(
        Cs=CS, cv=folds, scoring="neg_log_loss", max_iter=300, tol=1e-3, class_weight="balanced",
        l1_ratios=(0,), use_legacy_attributes=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(StandardScaler(), PCA(), regression).fit(features, labels)


def image_scores(task: Task, features: np.ndarray) -> dict[str, float]:
    """Return balanced accuracy and macro AUC, means over the splits, of classes in both parts."""
    accuracies, aucs = [], []
    for train, test in task.splits:
        model = fitted(features[train], task.labels[train])
        known = test[np.isin(task.labels[test], model.classes_)]
        true, chances = task.labels[known], model.predict_proba(features[known])
        present = np.unique(true)
        told = model.classes_[chances.argmax(1)]
        accuracies.append(recall_score(true, told, average="macro", labels=present))
        columns = np.searchsorted(model.classes_, present)
        aucs.append(
            np.mean([roc_auc_score(true == k, chances[:, c]) for k, c in zip(present, columns, strict=True)])
        )
    return {task.name: float(np.mean(accuracies)), f"{task.name}_auc": float(np.mean(aucs))}


@dataclass(frozen=True)
class Phantom:
    """The phantom's cohort, embedded by stage 1 itself; its slice store spares every later encoder the decoding."""

    folder: Path
    preset: str
    labels: np.ndarray
    splits: Sequence[tuple[np.ndarray, np.ndarray]]

    def bags(self, name: str, architecture: str, weights: str, size: int, side_mm: float) -> list[Bag]:
        config = ExtractConfig.model_validate({
            "name": self.preset,
            "slice_store": self.folder / f"slices_{side_mm:g}.zarr",
            "output": self.folder / f"{name.replace(':', '_')}_{side_mm:g}_{size}",
            "cohort": {"table": self.folder / "cohort.csv"},
            "extract": {
                "encoder": architecture, "weights": weights,
                "input": {"size_px": size, "scales_mm": {"tight": side_mm}},
            },
        })  # fmt: skip
        run_extraction(config, Console(quiet=True))
        return [read_bag(path) for path in sorted(config.bags_folder.glob("*.h5"))]


def write_phantom(folder: Path, preset: str) -> Phantom:
    """Draw the cohort, or leave alone what lies there already."""
    write_cohort(PhantomSection(preset=preset, seed=1, jobs=1), folder / "cohort.csv")
    people = sorted(
        read_cohort(CohortSection(table=folder / "cohort.csv")).patients, key=lambda p: p.patient_id
    )
    classes = sorted({str(person.label) for person in people})
    labels = np.array([classes.index(str(person.label)) for person in people])
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=4, random_state=0)
    return Phantom(folder, preset, labels, list(folds.split(labels, labels)))


def phantom_scores(name: str, phantom: Phantom, bags: Sequence[Bag]) -> dict[str, float]:
    over_all, by_phase = [], []
    for bag in bags:
        exact = bag.features.astype(np.float64)
        means = np.full((len(bag.header.phase_names), exact.shape[1]), np.nan)
        for phase in np.unique(bag.phase):
            means[phase] = exact[bag.phase == phase].mean(0)
        over_all.append(exact.mean(0))
        by_phase.append(means.ravel())
    return {
        name: macro_auc(phantom, np.stack(over_all)),
        f"{name}_phases": macro_auc(phantom, np.stack(by_phase)),
    }


def macro_auc(phantom: Phantom, vectors: np.ndarray) -> float:
    """Return the mean over all folds of the one-against-rest AUC; missing phases become the training mean."""
    scores = []
    for train, test in phantom.splits:
        filled = np.where(np.isnan(vectors), np.nanmean(vectors[train], axis=0), vectors)
        model = fitted(filled[train], phantom.labels[train])
        scores.append(
            roc_auc_score(phantom.labels[test], model.predict_proba(filled[test]), multi_class="ovr")
        )
    return float(np.mean(scores))


def embedded(encoder: Encoder, images: np.ndarray, size: int) -> np.ndarray:
    parts = []
    for start in range(0, len(images), 256):
        part = torch.from_numpy(images[start : start + 256])[:, None]
        if part.shape[-1] != size:
            part = interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        parts.append(encoder.embed(part.clamp(0, 1).expand(-1, 3, -1, -1)).numpy())
    return np.concatenate(parts)


def earlier_rows(path: Path) -> dict[tuple[str, ...], dict[str, object]]:
    """Read the scores of an earlier run, by weights, probe and size."""
    rows = read_table(path) if path.exists() else []
    return {key_of(row): {**row, "score": float(row["score"])} for row in rows}


def key_of(row: Mapping[str, object]) -> tuple[str, ...]:
    return str(row["weights_sha256"]), str(row["probe"]), str(row["size_px"])


def summary(scores: dict[str, dict[str, float]], size: int) -> list[dict[str, object]]:
    """One row per probe: the embedded encoder beside the untrained ones and ImageNet, and how far of the way."""
    rows = []
    for probe, own in scores["embedded"].items():
        goal = scores["imagenet"][probe]
        untrained = np.array([values[probe] for name, values in scores.items() if name.startswith("random:")])
        way = (own - untrained.mean()) / (goal - untrained.mean()) if goal > untrained.max() else None
        rows.append({
            "probe": probe, "size_px": size, "embedded": own, "random_mean": untrained.mean(),
            "random_sd": untrained.std(ddof=1), "random_best": untrained.max(), "imagenet": goal,
            "way": way,
            "above_every_random": "yes" if own > untrained.max() else "no",
        })  # fmt: skip
    return rows


def parsed() -> argparse.Namespace:
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="squeezenet1_1")
    parser.add_argument("--weights", default="embedded", help="weights to be judged, as in [extract] weights")
    parser.add_argument("--imagenet", default=str(SHARED.parent / "weights" / "squeezenet1_0_imagenet.pth"))
    parser.add_argument(
        "--size", type=int, nargs="+", default=[112, 224], help="sides of the images in pixels"
    )
    parser.add_argument("--seeds", type=int, default=5, help="untrained networks")
    parser.add_argument("--phantom", default="study", help="preset, or none")
    parser.add_argument(
        "--phantom-folder", type=Path, default=Path(tempfile.gettempdir()) / "phasemil-probes"
    )
    parser.add_argument("--fresh", action="store_true", help="take no score from an earlier table")
    parser.add_argument("--out", type=Path, default=here / "results" / "reference")
    return parser.parse_args()


@dataclass(eq=False)
class Scores:
    """The table of scores, written after every encoder; what an earlier run measured is not measured again."""

    path: Path
    earlier: dict[tuple[str, ...], dict[str, object]]
    rows: list[dict[str, object]] = field(default_factory=list)

    def known(self, row: Mapping[str, object]) -> dict[str, float]:
        keys = {probe: key_of({**row, "probe": probe}) for probe in PROBES}
        return {probe: self.earlier[key]["score"] for probe, key in keys.items() if key in self.earlier}

    def add(self, row: Mapping[str, object], scores: Mapping[str, float]) -> None:
        self.rows += [{**row, "probe": probe, "score": score} for probe, score in scores.items()]
        done = {key_of(row) for row in self.rows}
        kept = [row for key, row in self.earlier.items() if key not in done]
        write_table(self.path, SCORE_COLUMNS, self.rows + kept)

    def close(self) -> None:
        write_table(self.path, SCORE_COLUMNS, self.rows)


def measure(
    tasks: Sequence[Task], phantom: Phantom | None, chosen: argparse.Namespace, size: int, table: Scores
) -> list:
    """Score every encoder at one size and return the rows of the summary."""
    encoders = {"imagenet": ("squeezenet1_0", chosen.imagenet)}
    encoders |= {f"random:{k}": (chosen.architecture, f"random:{k}") for k in range(chosen.seeds)}
    encoders["embedded"] = (chosen.architecture, chosen.weights)
    scores = {}
    for name, (architecture, weights) in encoders.items():
        began = time.monotonic()
        encoder = load_encoder(architecture, weights)
        row = {
            "encoder": name,
            "architecture": architecture,
            "size_px": size,
            "weights_sha256": encoder.weights_sha256,
        }
        found = table.known(row)
        for task in tasks:
            if not found.keys() >= {task.name, f"{task.name}_auc"}:
                found |= image_scores(task, embedded(encoder, task.images, size))
        for probe, side_mm in PHANTOM_SIDES_MM.items():
            wanted = size == 112 or probe not in SIDES_ONLY_AT_112_PX
            if phantom is not None and wanted and probe not in found:
                bags = phantom.bags(name, architecture, weights, size, side_mm)
                found |= phantom_scores(probe, phantom, bags)
        scores[name] = {probe: found[probe] for probe in PROBES if probe in found}
        shown = "  ".join(f"{probe} {value:.3f}" for probe, value in scores[name].items())
        print(f"{size} {name:10} {shown}  ({time.monotonic() - began:.0f} s)", flush=True)
        table.add(row, scores[name])
    return summary(scores, size)


def main() -> None:
    chosen = parsed()
    tasks = [*organ_tasks(), photograph_task(), digit_task()]
    phantom = None
    if chosen.phantom != "none":
        phantom = write_phantom(chosen.phantom_folder / chosen.phantom, chosen.phantom)
    path = chosen.out / "encoder_probes_scores.csv"
    table = Scores(path, {} if chosen.fresh else earlier_rows(path))
    rows = [row for size in chosen.size for row in measure(tasks, phantom, chosen, size, table)]
    table.close()
    write_table(chosen.out / "encoder_probes.csv", tuple(rows[0]), rows)
    for row in rows:
        way = "no way to go" if row["way"] is None else f"{row['way']:.2f} of the way"
        print(
            f"{row['size_px']} {row['probe']:15} {way}, above every random one: {row['above_every_random']}"
        )


if __name__ == "__main__":
    main()
