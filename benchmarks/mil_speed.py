"""Gated attention-MIL on 25 folds: this package's fits against plain loops, as ratios of one run, quality beside speed.

    python benchmarks/mil_speed.py [--rounds 3] [--output results/reference/mil_speed.csv]

120 patients of 30 to 120 slices, d = 512, 5 x 5 folds, 30 epochs, no early stopping, the same network for all.
This package takes 24 bags a step, the loops one, so each has its own learning rate, chosen in the same way: the best
out-of-fold AUC of LEARNING_RATES on five folds of other bags, as `--choose-learning-rates` prints them. It found
    3e-6: plain loop 0.737, phasemil 0.529    1e-5: 0.977, 0.635    3e-5: 0.983, 0.873    1e-4: 0.968, 0.992
    3e-4: 0.975, 0.983    1e-3: 0.966, 0.975    3e-3: 0.975, 0.983
The rate changes no timing.
torchmil's trainer takes the steps of the plain loop, on the same network, and has its rate. The contestants
run in turn, several times over, and the median of each counts: the machine may be shared.
The slow ones train a few folds only per round; what is compared is the time per fit. The plain loops run as a
researcher would start them, with PyTorch's own number of threads, and once more on one thread, which is quicker for
products as small as theirs. This package's fits run as `aggregate.py run` runs them: one process for each core, one
thread each; the first round includes the start of the processes. The floor of the 25 fits
is about 2.5 TFLOP: 25 fits x 30 epochs x 96 bags x 75 slices x 0.46 MFLOP (first layer: forward and gradient of
the weights; gates: forward and both gradients). Its own line says how fast this processor multiplies, and so how many
times faster than the plain loop a fit could be at most if it did nothing else.

Exit code 1 when an AUC is more than 0.02 below the plain loop's.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from joblib import Parallel, delayed
from reference import write_reference
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from aggregate.cohort.bag_sets import BagFolder, phases_with_instances
from aggregate.cohort.chosen import Chosen
from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.models.attention_mil import AttentionMIL
from extract.vision import torchvision_models
from pipeline.bags import Bag, BagHeader, Recipe, Source, write_bag
from pipeline.processor import has_native_bfloat16

PATIENTS, D, CLASSES, EPOCHS, HIDDEN, GATE = 120, 512, 3, 30, 128, 128
WEIGHT_DECAY = 1e-2
LEARNING_RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
LOOP_RATE, OUR_RATE = 3e-5, 1e-4
OTHER_SEED = 1


def draw_bags(seed=0):
    """Draw bags in which a third of the slices carries a class-specific direction."""
    rng = np.random.default_rng(seed)
    labels = np.arange(PATIENTS) % CLASSES
    directions = rng.normal(size=(CLASSES, D)) / np.sqrt(D)
    bags = []
    for number, label in enumerate(labels):
        n = int(rng.integers(30, 121))
        features = rng.normal(size=(n, D))
        strength = rng.gamma(2.0, 1.6)
        features[rng.random(n) < 0.33] += strength * directions[label] * 1.0
        bags.append(as_bag(f"p{number:03}", features))
    return bags, labels


def as_bag(patient_id, features):
    n = len(features)
    source = Source("a.nii.gz", "0", "0", "drawn", (1.0, 1.0, 3.0), n)
    header = BagHeader(
        patient_id, ("AP",), {}, ("crop",), Recipe("e", "l", "w", "0", "float32", {}), {"AP": source}, patient_id, 1e5, 224
    )  # fmt: skip
    return Bag(
        header=header,
        features=features.astype(np.float32),
        phase=np.zeros(n, np.int8),
        slice_index=np.arange(n, dtype=np.int32),
        z_mm=np.arange(n, dtype=np.float32),
        tumour_area_mm2=np.ones(n, np.float32),
        lesion=np.ones(n, np.int16),
        scale=np.zeros(n, np.int8),
    )


def draw_folds(labels, repeats=5):
    nobody = np.array([], dtype=np.intp)
    return [
        Fold(repeat, fold, train, nobody, test)
        for repeat in range(repeats)
        for fold, (train, test) in enumerate(
            StratifiedKFold(5, shuffle=True, random_state=repeat).split(labels, labels)
        )
    ]


class PlainNetwork(torch.nn.Module):
    """What a researcher would write: one bag (slices, d) in, logits (classes,) out."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Sequential(torch.nn.Linear(D, HIDDEN), torch.nn.ReLU())
        self.signal = torch.nn.Sequential(torch.nn.Linear(HIDDEN, GATE), torch.nn.Tanh())
        self.door = torch.nn.Sequential(torch.nn.Linear(HIDDEN, GATE), torch.nn.Sigmoid())
        self.score = torch.nn.Linear(GATE, 1)
        self.classify = torch.nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        h = self.embed(x)
        weights = torch.softmax(self.score(self.signal(h) * self.door(h)), dim=0)
        return self.classify((weights * h).sum(dim=0))


def standardised(bags, fold):
    """Return all bags as tensors, standardised by the training slices."""
    together = np.concatenate([bags[i].features for i in fold.train])
    mean, std = together.mean(axis=0), together.std(axis=0)
    return [torch.from_numpy((bag.features - mean) / std) for bag in bags]


def plain_loop(bags, labels, folds, learning_rate=LOOP_RATE):
    """Step one bag at a time, as the published training scripts do."""
    results = []
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        xs = standardised(bags, fold)
        network = PlainNetwork()
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
        order = np.random.default_rng(number)
        for _ in range(EPOCHS):
            for i in order.permutation(fold.train):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(network(xs[i])[None], torch.tensor([labels[i]]))
                loss.backward()
                optimizer.step()
        with torch.inference_mode():
            results.append(torch.stack([network(xs[i]) for i in fold.test]).softmax(dim=1).numpy())
    return results


def torchmil_trainer(bags, labels, folds):
    """Train torchmil's own ABMIL with torchmil's own Trainer, its defaults but for the shared settings."""
    torchvision_models()  # torchmetrics imports torchvision, which beside CPU torch needs this first
    from tensordict import TensorDict  # noqa: PLC0415 - optional, the extra `mil`
    from torchmil.data import collate_fn  # noqa: PLC0415
    from torchmil.models import ABMIL  # noqa: PLC0415
    from torchmil.utils.trainer import Trainer  # noqa: PLC0415

    class Multiclass(ABMIL):
        """ABMIL has one logit; three classes need a wider last layer."""

    results = []
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        xs = standardised(bags, fold)
        model = Multiclass(
            in_shape=(D,), att_dim=GATE, att_act="tanh", gated=True,
            feat_ext=torch.nn.Sequential(torch.nn.Linear(D, HIDDEN), torch.nn.ReLU()),
            criterion=SqueezedCrossEntropy(),
        )  # fmt: skip
        model.classifier = torch.nn.Linear(HIDDEN, CLASSES)
        samples = [TensorDict({"X": xs[i], "Y": torch.tensor(labels[i])}) for i in range(len(bags))]
        loader = torch.utils.data.DataLoader(
            [samples[i] for i in fold.train], batch_size=1, shuffle=True, collate_fn=collate_fn
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=LOOP_RATE, weight_decay=WEIGHT_DECAY)
        trainer = Trainer(
            model, optimizer, metrics_dict={}, obj_metric="loss", obj_metric_mode="min",
            device="cpu", disable_pbar=True, verbose=False,
        )  # fmt: skip
        # Without a validation loader it would go through the training bags a second time.
        one_bag = torch.utils.data.DataLoader([samples[fold.train[0]]], collate_fn=collate_fn)
        trainer.train(max_epochs=EPOCHS, train_dataloader=loader, val_dataloader=one_bag)
        model.eval()
        with torch.inference_mode():
            logits = [model(xs[i][None]).reshape(1, CLASSES) for i in fold.test]
        results.append(torch.cat(logits).softmax(dim=1).numpy())
    return results


class SqueezedCrossEntropy(torch.nn.CrossEntropyLoss):
    def forward(self, logits, target):
        return super().forward(logits.reshape(-1, CLASSES), target.reshape(-1).long())


def phasemil(precision, learning_rate=OUR_RATE):
    def run(bags, labels, folds):
        with tempfile.TemporaryDirectory() as name:  # as after stage 1: each process reads the bags itself
            for bag in bags:
                write_bag(Path(name), bag)
            present = [(bag.patient_id, phases_with_instances(bag)) for bag in bags]
            patients = Patients(
                patient_ids=tuple(bag.patient_id for bag in bags),
                codes=labels,
                classes=tuple(map(str, range(CLASSES))),
                bag_sets={"bags": BagFolder(Path(name), present)},
            )
            begin = time.perf_counter()
            work = (
                delayed(fit_and_predict)(patients, labels, fold, new_model(number, precision, learning_rate))
                for number, fold in enumerate(folds)
            )
            results, cpu_seconds = zip(*Parallel(n_jobs=-1)(work), strict=True)
            return list(results), time.perf_counter() - begin, sum(cpu_seconds)

    return run


def new_model(seed, precision, learning_rate):
    return AttentionMIL(
        hidden=HIDDEN, gate=GATE, epochs=EPOCHS, learning_rate=learning_rate, weight_decay=WEIGHT_DECAY,
        bags_per_step=24, dropout=0.0, class_weight="none", precision=precision, random_state=seed,
    )  # fmt: skip


def fit_and_predict(patients, labels, fold, model):
    cpu_begin = time.process_time()
    model.fit(Chosen(patients, fold.train), labels[fold.train])
    return model.predict_proba(Chosen(patients, fold.test)), time.process_time() - cpu_begin


def floor_seconds(dtype):
    """Return the CPU seconds of one fit's products alone, on one core of this processor."""
    rows, shapes = 1800, ((D, HIDDEN, 2), (HIDDEN, 2 * GATE, 3))
    seconds = 0.0
    for n_in, n_out, n_products in shapes:
        x, w = torch.randn(rows, n_in, dtype=dtype), torch.randn(n_out, n_in, dtype=dtype)
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - begin)
        seconds += median(times) * n_products
    return seconds * EPOCHS * 96 * 75 / rows


def out_of_fold_auc(labels, folds, results):
    """Average the macro one-vs-rest AUC of the pooled out-of-fold probabilities over the repeats."""
    values = []
    for repeat in sorted({fold.repeat for fold in folds}):
        table = np.full((len(labels), CLASSES), np.nan)
        for fold, result in zip(folds, results, strict=True):
            if fold.repeat == repeat:
                table[fold.test] = result
        values.append(roc_auc_score(labels, table / table.sum(axis=1, keepdims=True), multi_class="ovr"))
    return float(np.mean(values))


def choose_learning_rates():
    """Print the out-of-fold AUC of every rate on bags that are not the benchmark's."""
    bags, labels = draw_bags(OTHER_SEED)
    folds = draw_folds(labels, repeats=1)
    for rate in LEARNING_RATES:
        loop = out_of_fold_auc(labels, folds, on_one_thread(plain_loop)(bags, labels, folds, rate))
        ours = out_of_fold_auc(labels, folds, phasemil("float32", rate)(bags, labels, folds)[0])
        print(f"{rate:g}: plain loop {loop:.4f}, phasemil {ours:.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--slow-folds", type=int, default=5, help="folds that the plain loops train in all, 5 to 25"
    )
    parser.add_argument(
        "--quick-folds", type=int, default=25, help="folds that phasemil trains each round, to 25"
    )
    parser.add_argument("--without-torchmil", action="store_true")
    parser.add_argument("--choose-learning-rates", action="store_true", help="print the rates' AUCs, no more")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    if arguments.choose_learning_rates:
        choose_learning_rates()
        return
    bags, labels = draw_bags()
    folds = draw_folds(labels)
    slow = {"plain loop": timed(plain_loop), "plain loop, one thread": timed(on_one_thread(plain_loop))}
    if not arguments.without_torchmil:
        slow["torchmil trainer"] = timed(torchmil_trainer)
        slow["torchmil trainer, one thread"] = timed(on_one_thread(torchmil_trainer))
    quick = {"phasemil, float32": phasemil("float32")}
    if has_native_bfloat16():
        quick["phasemil, bfloat16"] = phasemil("bfloat16")
    seconds = {name: [] for name in (*slow, *quick)}
    cpu_seconds = {name: [] for name in seconds}
    results = {name: [] for name in seconds}
    for cut in np.array_split(np.arange(arguments.slow_folds), arguments.rounds):
        for name, contestant in (slow | quick).items():
            mine = [folds[i] for i in cut] if name in slow else folds[: arguments.quick_folds]
            outcome, wall, cpu = contestant(bags, labels, mine)
            seconds[name].append(wall / len(mine))
            cpu_seconds[name].append(cpu / len(mine))
            results[name] = [*results[name], *outcome] if name in slow else outcome
            print(f"{name}: {seconds[name][-1]:.3f} s, {cpu_seconds[name][-1]:.3f} CPU s per fit", flush=True)
    common = folds[: 5 * (arguments.slow_folds // 5)]  # whole repeats that every contestant trained
    aucs = {name: out_of_fold_auc(labels, common, results[name][: len(common)]) for name in seconds}
    rows = table(seconds, cpu_seconds, aucs)
    print(
        f"threads {torch.get_num_threads()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )
    if "phasemil, bfloat16" not in quick:
        print(
            "no bfloat16: this processor has no AVX-512 products of it, and emulates them several times more slowly"
        )
    print(tabulate(rows))
    for dtype in (torch.float32, torch.bfloat16):
        floor = on_one_thread(floor_seconds)(dtype)
        at_most = median(seconds["plain loop"]) / floor * torch.get_num_threads()
        print(
            f"products alone in {dtype}: {floor:.3f} CPU s per fit, so at most {at_most:.1f} times the plain loop"
        )
    if arguments.output is not None:
        write_reference(arguments.output, rows)
    worse = [name for name in quick if aucs[name] < aucs["plain loop"] - 0.02]
    if worse:
        sys.exit(f"out-of-fold AUC more than 0.02 below the plain loop's: {', '.join(worse)}")


def timed(contestant):
    """Return what a contestant returns, its seconds and its CPU seconds."""

    def run(*arguments):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        return contestant(*arguments), time.perf_counter() - begin, time.process_time() - cpu_begin

    return run


def on_one_thread(contestant):
    def run(*arguments):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return contestant(*arguments)
        finally:
            torch.set_num_threads(n_threads)

    return run


def table(seconds, cpu_seconds, aucs):
    """Return one row per contestant; times_faster and the like compare with the plain loop of the default threads."""
    reference, cpu_reference = median(seconds["plain loop"]), median(cpu_seconds["plain loop"])
    return [
        {
            "contestant": name,
            "seconds_per_fit": round(median(values), 3),
            "seconds_min": round(min(values), 3),
            "seconds_max": round(max(values), 3),
            "times_faster": round(reference / median(values), 2),
            "cpu_seconds_per_fit": round(median(cpu_seconds[name]), 3),
            "times_less_cpu": round(cpu_reference / median(cpu_seconds[name]), 2),
            "out_of_fold_auc": round(aucs[name], 4),
        }
        for name, values in seconds.items()
    ]


def tabulate(rows):
    names = tuple(rows[0])
    return "\n".join(
        f"{row[0]:30}" + "".join(f"{v!s:>21}" for v in row[1:])
        for row in [names, *(tuple(r.values()) for r in rows)]
    )


if __name__ == "__main__":
    main()
