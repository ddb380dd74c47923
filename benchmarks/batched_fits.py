"""How far fits trained in a stack differ from the same fits trained one by one, for every network of the registry.

    python benchmarks/batched_fits.py [--output results/reference/batched_fits.csv]

Synthetic bags of three classes with a signal in one phase, 5 folds x 2 repeats with tuning patients. Each model is
fitted on all folds by `fit_folds`, and on each fold alone by `fit` with the same seed, train and tune; each in
float32 and in bfloat16. What is compared is what the user gets: the out-of-fold probabilities.
"""

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from aggregate.chosen_bags import ChosenBags
from aggregate.models.mil import MILEstimator
from aggregate.models.registry import MODELS, build_model
from aggregate.splits import Roster, repeated_folds
from pipeline.bags import Bag, BagHeader, Recipe, Source
from pipeline.tables import TableStyle, write_table

PHASES = ("NC", "AP", "PVP", "DP")
CLASSES = ("HCC", "iCCA", "cHCC-CCA")
RECIPE = Recipe("none", "none", "random:0", "0" * 64, "float32", {})
NETWORKS = [kind for kind, model in MODELS.items() if issubclass(model, MILEstimator)]
PRECISIONS = ("float32", "bfloat16")
FOLDS, REPEATS = 5, 2
TRAINING = {"epochs": 6, "patience": 2, "learning_rate": 1e-2}
"""So quick that fits stop at different epochs, and leave the stack."""
DIGITS = 9


def draw_bags(n_patients, n_features, seed=0):
    """Draw bags whose arterial slices lean towards the axis of their class; a phase is missing now and then."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_patients) % len(CLASSES)
    return [draw_bag(f"p{i:03}", label, n_features, rng) for i, label in enumerate(labels)], labels


def draw_bag(patient_id, label, n_features, rng):
    present = [p for p in range(len(PHASES)) if p == 1 or rng.random() > 0.1]
    phase = np.repeat(present, rng.integers(3, 9, size=len(present))).astype(np.int8)
    n = len(phase)
    features = rng.normal(size=(n, n_features)).astype(np.float32)
    features[phase == 1, label] += 1.5
    index = np.concatenate([np.arange(np.sum(phase == p)) for p in present]).astype(np.int32)
    sources = {PHASES[p]: Source("a.nii.gz", "0", "0", "drawn", (1.0, 1.0, 5.0), 40) for p in present}
    missing = {name: "not drawn" for name in PHASES if name not in sources}
    return Bag(
        header=BagHeader(patient_id, PHASES, missing, ("tight",), RECIPE, sources, patient_id, 96e3, 224),
        features=features,
        phase=phase,
        slice_index=index,
        z_mm=(5 * index).astype(np.float32),
        tumour_area_mm2=np.ones(n, np.float32),
        lesion=np.ones(n, np.int16),
        scale=np.zeros(n, np.int8),
    )


def draw_folds(bags, labels):
    patient_ids = tuple(bag.patient_id for bag in bags)
    roster = Roster(patient_ids, labels, CLASSES, np.zeros(len(bags), dtype=np.intp), ("",))
    return repeated_folds(roster, folds=FOLDS, repeats=REPEATS, tune_share=0.2, seed=0)


class Contest:
    """The same fits of one model, stacked and one by one."""

    def __init__(self, bags, labels, folds):
        self.bags, self.labels, self.folds = bags, labels, folds

    def stacked(self, model):
        """Return the fitted models in the order of the folds, and the fits of the largest stack."""
        network = model.network()
        sizes = note_stack_sizes(network)
        model.network = lambda: network
        fitted = dict(model.fit_folds(self.bags, self.labels, self.folds, range(len(self.folds))))
        return [fitted[number] for number in range(len(self.folds))], max(sizes)

    def one_by_one(self, new_model, folds):
        """Return the fitted models in the order of the folds."""
        fitted = []
        for seed, fold in enumerate(folds):
            tune = ChosenBags(self.bags, fold.tune), self.labels[fold.tune]
            model = new_model(seed)
            fitted.append(model.fit(ChosenBags(self.bags, fold.train), self.labels[fold.train], tune=tune))
        return fitted

    def out_of_fold(self, models):
        """Return the probabilities of the patients out of fold (repeats, patients, classes)."""
        table = np.full((REPEATS, len(self.labels), len(CLASSES)), np.nan)
        for model, fold in zip(models, self.folds, strict=True):
            table[fold.repeat, fold.test] = model.predict_proba(ChosenBags(self.bags, fold.test))
        return table

    def macro_aucs(self, table):
        """Return the macro one-vs-rest AUC of each repeat (repeats,)."""
        return np.array([roc_auc_score(self.labels, p, multi_class="ovr") for p in table])


def note_stack_sizes(network):
    """Let a network note how many fits each of its training steps is for; return the growing list."""
    sizes = []
    outputs = network.training_outputs

    def noting(parameters, batch, target):
        sizes.append(len(next(iter(parameters.values()))))
        return outputs(parameters, batch, target)

    object.__setattr__(network, "training_outputs", noting)  # a network is a frozen dataclass
    return sizes


def compared(contest, kind, parameters):
    """Return one row of the table."""

    def new_model(seed):
        return build_model(kind, parameters, random_state=seed)

    contest.one_by_one(new_model, contest.folds[:1])  # PyTorch sets itself up in the first fit
    (together, largest), seconds_together = timed(lambda: contest.stacked(new_model(0)))
    alone, seconds_alone = timed(lambda: contest.one_by_one(new_model, contest.folds))
    a, b = contest.out_of_fold(together), contest.out_of_fold(alone)
    aucs_a, aucs_b = contest.macro_aucs(a), contest.macro_aucs(b)
    same_epoch = [x.best_epoch_ == y.best_epoch_ for x, y in zip(together, alone, strict=True)]
    return {
        "model": kind,
        "precision": parameters["precision"],
        "fits": len(contest.folds),
        "largest_stack": largest,
        "max_difference": float(np.abs(a - b).max()),
        "mean_difference": float(np.abs(a - b).mean()),
        "macro_auc_one_by_one": float(aucs_b.mean()),
        "max_auc_difference": float(np.abs(aucs_a - aucs_b).max()),
        "same_best_epoch": sum(same_epoch),
        "predicted_alike": float((a.argmax(axis=2) == b.argmax(axis=2)).mean()),
        "seconds_stacked": seconds_together,
        "seconds_one_by_one": seconds_alone,
    }


def timed(function):
    begin = time.perf_counter()
    result = function()
    return result, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=45)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    bags, labels = draw_bags(arguments.patients, arguments.features)
    contest = Contest(bags, labels, draw_folds(bags, labels))
    print(
        f"threads {torch.get_num_threads()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )
    rows = []
    for kind, precision in product(arguments.models, arguments.precisions):
        rows.append(compared(contest, kind, {**TRAINING, "precision": precision}))
        print(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()))
        if arguments.output is not None:
            write_table(arguments.output, tuple(rows[0]), rows, style=TableStyle(digits=DIGITS))


if __name__ == "__main__":
    main()
