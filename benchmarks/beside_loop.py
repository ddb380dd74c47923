"""Attention-MIL on the bags of a finished stage 1, beside a loop over single bags on the same folds.

    python benchmarks/beside_loop.py [configs/study.toml] [--repeats 3] [--output results/reference/beside_loop.csv]

The loop steps one bag at a time with PyTorch's AdamW, as published training scripts do, and stops early on the same
tuning patients; it shares no arithmetic with the package. What is compared is the out-of-fold macro AUC of each repeat.
Exit code 1 when the package's mean is more than 0.03 below the loop's.
"""

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from reference import write_reference
from sklearn.metrics import roc_auc_score

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.study_cohort import load_study
from aggregate.models.registry import build_model
from aggregate.planning.plan import load_aggregate_config
from aggregate.planning.splits import repeated_folds

EPOCHS, PATIENCE, RATES = 60, 12, (3e-4, 1e-3, 3e-3)
KINDS = ("attention_mil", "phase_attention")


class OneBag(torch.nn.Module):
    """Gated attention over the slices of one bag (slices, d)."""

    def __init__(self, d, n_classes, hidden=128, gate=64):
        super().__init__()
        self.embed = torch.nn.Sequential(torch.nn.Linear(d, hidden), torch.nn.ReLU())
        self.signal = torch.nn.Sequential(torch.nn.Linear(hidden, gate), torch.nn.Tanh())
        self.door = torch.nn.Sequential(torch.nn.Linear(hidden, gate), torch.nn.Sigmoid())
        self.score = torch.nn.Linear(gate, 1)
        self.classify = torch.nn.Sequential(torch.nn.Dropout(0.25), torch.nn.Linear(hidden, n_classes))

    def forward(self, x):
        h = self.embed(x)
        weights = torch.softmax(self.score(self.signal(h) * self.door(h)), dim=0)
        return self.classify((weights * h).sum(dim=0))


def loop(bags, labels, fold, seed, rate):
    """Return the test probabilities of one fit of the loop."""
    torch.manual_seed(seed)
    together = np.concatenate([bags[i].features for i in fold.train])
    mean, std = together.mean(axis=0), together.std(axis=0)
    std[std < 1e-5 * np.abs(mean)] = 1
    rows = [torch.from_numpy((bag.features - mean) / std) for bag in bags]
    n_classes = int(labels.max()) + 1
    weight = len(fold.train) / (n_classes * np.bincount(labels[fold.train]))
    loss_of = torch.nn.CrossEntropyLoss(weight=torch.from_numpy(weight).float(), reduction="none")
    network = OneBag(rows[0].shape[1], n_classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    order = np.random.default_rng(seed)
    best, kept, waited = np.inf, None, 0
    for _ in range(EPOCHS):
        network.train()
        for i in order.permutation(fold.train):
            optimizer.zero_grad()
            loss_of(network(rows[i])[None], torch.tensor([labels[i]])).sum().backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            logits = torch.stack([network(rows[i]) for i in fold.tune])
            loss = float(loss_of(logits, torch.from_numpy(labels[fold.tune])).mean())
        waited = 0 if loss < best else waited + 1
        if loss < best:
            best, kept = loss, deepcopy(network.state_dict())
        if waited >= PATIENCE:
            break
    network.load_state_dict(kept)
    with torch.inference_mode():
        return torch.stack([network(rows[i]) for i in fold.test]).softmax(dim=1).numpy()


def package(kind):
    def fit(bags, labels, fold, seed, rate):
        model = build_model(kind, {"learning_rate": rate}, random_state=seed)
        tune = (Chosen(bags, fold.tune), labels[fold.tune])
        model.fit(Chosen(bags, fold.train), labels[fold.train], tune=tune)
        return model.predict_proba(Chosen(bags, fold.test))

    return fit


def macro_auc(labels, folds, results, repeat):
    table = np.zeros((len(labels), int(labels.max()) + 1))
    for fold, result in zip(folds, results, strict=True):
        if fold.repeat == repeat:
            table[fold.test] = result
    return roc_auc_score(labels, table / table.sum(axis=1, keepdims=True), multi_class="ovr")


def main():
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=here / "configs" / "study.toml")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    patients = load_study(load_aggregate_config(arguments.config, ())).patients
    bags, labels = [patients.first_bag(i) for i in range(len(patients))], patients.codes
    folds = repeated_folds(patients, folds=5, repeats=arguments.repeats, tune_share=0.2, seed=1)
    torch.set_num_threads(1)
    rows = []
    for name, fit in {"loop over single bags": loop, **{kind: package(kind) for kind in KINDS}}.items():
        for rate in RATES:
            results = [fit(bags, labels, fold, number, rate) for number, fold in enumerate(folds)]
            aucs = [macro_auc(labels, folds, results, repeat) for repeat in range(arguments.repeats)]
            row = {"model": name, "learning_rate": rate, "macro_auc": float(np.mean(aucs))}
            rows.append({**row, "sd_over_repeats": float(np.std(aucs, ddof=1)), "n": len(labels)})
            print(rows[-1], flush=True)
    if arguments.output is not None:
        write_reference(arguments.output, rows)
    best = {
        name: max(r["macro_auc"] for r in rows if r["model"] == name) for name in {r["model"] for r in rows}
    }
    if best["attention_mil"] < best["loop over single bags"] - 0.03:
        sys.exit(
            f"attention-MIL {best['attention_mil']:.3f} below the loop's {best['loop over single bags']:.3f}"
        )


if __name__ == "__main__":
    main()
