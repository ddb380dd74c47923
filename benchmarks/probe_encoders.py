"""What frozen features are worth: linear probes of the embedded encoder beside untrained networks and ImageNet.

    python benchmarks/probe_encoders.py       (writes results/reference/encoder_probes.csv and ..._scores.csv)

Every probe is a logistic regression on standardised frozen features, its C chosen by cross-validation inside the
training part. All encoders see the same pixels at the same size. "way" is (embedded - random) / (ImageNet - random),
where random is the mean of the untrained networks of the embedded architecture.

    organs_blocks     which of 13 organs a crop of 96 mm shows, one real CT (TotalSegmentator's example, 3 mm):
                      trained on two blocks of 10 slices and tested on the third, each in turn (balanced accuracy)
    organs_scans      liver, spine or aorta: trained on that CT, tested on two scans of other people (dcmqi's three
                      slices for liver and spine, TotalSegmentator's aorta crop), all at 3 mm (balanced accuracy)
    photographs       which of 18 photographs inside scikit-image's package a grey patch of 64 px comes from: trained
                      on the left half of each, tested on the right half (balanced accuracy)
    digits            scikit-learn's digits, trained on 10 of each, 10 draws (balanced accuracy)
    phantom           the phantom's cohort, mean over all slices of a patient as stage 2's mean pooling has it,
                      stratified 5 folds, 4 repeats (macro AUC)
    phantom_phases    the same with one mean per phase, side by side
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from probe_tasks import PHASES, SHARED, Task, digit_task, organ_tasks, phantom_task, photograph_task
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import recall_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import interpolate

from extract.encoders import Encoder, load_encoder
from pipeline.tables import write_table

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


def accuracy(task: Task, features: np.ndarray) -> float:
    scores = []
    for train, test in task.splits:
        known = np.isin(task.labels[test], np.unique(task.labels[train]))
        model = fitted(features[train], task.labels[train])
        scores.append(
            recall_score(
                task.labels[test][known],
                model.predict(features[test][known]),
                average="macro",
                labels=np.unique(task.labels[test][known]),
            )
        )
    return float(np.mean(scores))


def phantom_scores(task: Task, features: np.ndarray) -> dict[str, float]:
    patient, phase = task.bags
    exact = features.astype(np.float64)
    over_all = np.stack([exact[patient == k].mean(0) for k in range(len(task.labels))])
    by_phase = np.full((len(task.labels), len(PHASES), features.shape[1]), np.nan)
    for k, p in {*zip(patient.tolist(), phase.tolist(), strict=True)}:
        by_phase[k, p] = exact[(patient == k) & (phase == p)].mean(0)
    return {
        "phantom": macro_auc(task, over_all),
        "phantom_phases": macro_auc(task, by_phase.reshape(len(task.labels), -1)),
    }


def macro_auc(task: Task, vectors: np.ndarray) -> float:
    """Return the mean over all folds of the one-against-rest AUC; missing phases become the training mean."""
    scores = []
    for train, test in task.splits:
        filled = np.where(np.isnan(vectors), np.nanmean(vectors[train], axis=0), vectors)
        model = fitted(filled[train], task.labels[train])
        scores.append(roc_auc_score(task.labels[test], model.predict_proba(filled[test]), multi_class="ovr"))
    return float(np.mean(scores))


def embedded(encoder: Encoder, images: np.ndarray, size: int) -> np.ndarray:
    parts = []
    for start in range(0, len(images), 256):
        part = torch.from_numpy(images[start : start + 256])[:, None]
        part = part.float() / 255 if part.dtype == torch.uint8 else part
        if part.shape[-1] != size:
            part = interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        parts.append(encoder.embed(part.clamp(0, 1).expand(-1, 3, -1, -1)).numpy())
    return np.concatenate(parts)


def all_scores(tasks: Sequence[Task], encoder: Encoder, size: int) -> dict[str, float]:
    scores = {}
    for task in tasks:
        features = embedded(encoder, task.images, size)
        if task.bags is None:
            scores[task.name] = accuracy(task, features)
        else:
            scores |= phantom_scores(task, features)
    return scores


def summary(scores: dict[str, dict[str, float]], size: int) -> list[dict[str, object]]:
    """One row per probe: the embedded encoder beside the untrained ones and ImageNet, and how far of the way."""
    rows = []
    for probe, own in scores["embedded"].items():
        goal = scores["imagenet"][probe]
        untrained = np.array([values[probe] for name, values in scores.items() if name.startswith("random:")])
        rows.append({
            "probe": probe, "size_px": size, "embedded": own, "random_mean": untrained.mean(),
            "random_sd": untrained.std(ddof=1), "random_best": untrained.max(), "imagenet": goal,
            "way": (own - untrained.mean()) / (goal - untrained.mean()),
            "above_every_random": "yes" if own > untrained.max() else "no",
        })  # fmt: skip
    return rows


def parsed() -> argparse.Namespace:
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="squeezenet1_1")
    parser.add_argument("--weights", default="embedded", help="weights to be judged, as in [extract] weights")
    parser.add_argument("--imagenet", default=str(SHARED.parent / "weights" / "squeezenet1_0_imagenet.pth"))
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--seeds", type=int, default=5, help="untrained networks")
    parser.add_argument("--phantom", default="study", help="preset, or none")
    parser.add_argument(
        "--phantom-folder", type=Path, default=Path(tempfile.gettempdir()) / "phasemil-probes"
    )
    parser.add_argument("--out", type=Path, default=here / "results" / "reference")
    return parser.parse_args()


def main() -> None:
    chosen = parsed()
    tasks = [*organ_tasks(), photograph_task(), digit_task()]
    if chosen.phantom != "none":
        tasks.append(phantom_task(chosen.phantom_folder / chosen.phantom, chosen.phantom, seed=1))
    encoders = {
        "embedded": (chosen.architecture, chosen.weights),
        "imagenet": ("squeezenet1_0", chosen.imagenet),
    }
    encoders |= {f"random:{k}": (chosen.architecture, f"random:{k}") for k in range(chosen.seeds)}
    scores = {}
    for name, (architecture, weights) in encoders.items():
        began = time.monotonic()
        scores[name] = all_scores(tasks, load_encoder(architecture, weights), chosen.size)
        shown = "  ".join(f"{probe} {value:.3f}" for probe, value in scores[name].items())
        print(f"{name:10} {shown}  ({time.monotonic() - began:.0f} s)", flush=True)
    rows = summary(scores, chosen.size)
    write_table(chosen.out / "encoder_probes.csv", tuple(rows[0]), rows)
    flat = [
        {"encoder": name, "probe": probe, "size_px": chosen.size, "score": score}
        for name, values in scores.items()
        for probe, score in values.items()
    ]
    write_table(chosen.out / "encoder_probes_scores.csv", tuple(flat[0]), flat)
    for row in rows:
        print(
            f"{row['probe']:15} {row['way']:6.2f} of the way, above every random one: {row['above_every_random']}"
        )
    print(f"mean way {np.mean([row['way'] for row in rows]):.2f}")


if __name__ == "__main__":
    main()
