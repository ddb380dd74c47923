"""Every network again, one bag at a time: the oracle of aggregate/models, which shares no arithmetic with it.

    PYTHONPATH=. python tests/aggregate/models/one_bag_loop.py [--precision bfloat16] [--learn] [--scramble] [KIND ...]

Each model is fitted for three epochs; a loop over single bags in float64, with AdamW written from its paper's
formula (Loshchilov and Hutter 2019, algorithm 2), goes from the same first parameters through the same bags. Printed as
JSON: per kind the largest difference of a parameter and of a probability, and the lowest cosine, over the tensors,
between the ways that the parameters went, and the macro AUC of both on patients that neither trained on. `--learn`
trains on twice as many patients with a stronger signal, for 15 epochs. `--scramble` has one weight's gradient read in transposed order, to show
that the comparison sees it. `tests/aggregate/models/test_oracle.py` runs this under every ATEN_CPU_CAPABILITY.
"""

import argparse
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy, layer_norm, softplus

from aggregate.models.mil import MILEstimator
from aggregate.models.network import Shape
from aggregate.models.registry import MODELS, build_model
from pipeline.bags import Bag, BagHeader, Recipe, Source

SEED, RATE, DECAY, BAGS_PER_STEP = 11, 1e-3, 1e-2, 8
D, N_CLASSES = 96, 3
PHASES = ("NC", "AP", "PVP", "DP")
VARIANTS = {
    "attention_mil": {},
    "phase_attention": {},
    "phase_concat": {"pool": "attention", "differences": True, "rank": 0},
    "phase_concat mean": {"pool": "mean", "differences": False, "missing": "mean", "rank": 0},
    "phase_concat rank": {"pool": "attention", "differences": True, "rank": 6},
    "smooth_attention": {"smoothness": 0.4, "steps": 3},
    "embedding_pooling": {"pool": "mean"},
    "embedding_pooling max": {"pool": "max"},
    "instance_pooling": {"pool": "mean"},
    "instance_pooling max": {"pool": "max"},
    "mlp": {},
    "modality_attention": {
        "modalities": {
            "one": {"phases": ["AP"]},
            "two": {"phases": ["NC"]},
            "three": {"phases": ["PVP", "DP"]},
        }
    },
    "clam": {"instances": 3},
    "dsmil": {},
    "transmil": {},
    "multiscale_attention embedding": {"scales_by": "embedding"},
    "multiscale_attention attention": {"scales_by": "attention"},
}
"""Name -> parameters; the first word is the kind."""


@dataclass(frozen=True)
class Exercise:
    """How many patients there are, how many of them train, how long, and how strong the signal is."""

    n_patients: int
    n_train: int
    epochs: int
    signal: float


COMPARED = Exercise(n_patients=36, n_train=24, epochs=3, signal=1.0)
LEARNED = Exercise(n_patients=90, n_train=48, epochs=15, signal=3.0)


class Patient:
    """A bag as plain float64 tensors.

    `below` and `above` are row numbers, a row itself where it has no neighbour in its phase.
    """

    def __init__(self, bag, mean, std):
        self.x = torch.from_numpy((bag.features.astype(np.float64) - mean) / std)
        self.phase, self.scale = bag.phase.tolist(), bag.scale.tolist()
        place = {(p, z): row for row, (p, z) in enumerate(zip(self.phase, bag.slice_index, strict=True))}
        self.below = [
            place.get((p, z - 1), r) for r, (p, z) in enumerate(zip(self.phase, bag.slice_index, strict=True))
        ]
        self.above = [
            place.get((p, z + 1), r) for r, (p, z) in enumerate(zip(self.phase, bag.slice_index, strict=True))
        ]


def affine(p, name, rows):
    bias = p.get(f"{name}.bias")
    product = rows @ p[f"{name}.weight"].T
    return product if bias is None else product + bias


def embedded(p, patient):
    return affine(p, "embed.0", patient.x).clamp(min=0)


def gated(p, name, rows):
    signal, door = affine(p, f"{name}.gates", rows).chunk(2, dim=1)
    return (signal.tanh() / (1 + (-door).exp())) @ p[f"{name}.score.weight"][0]


def share(scores):
    powers = (scores - scores.max()).exp()
    return powers / powers.sum()


def attention_mil(p, patient, **_):
    h = embedded(p, patient)
    return affine(p, "classify", share(gated(p, "slice_score", h)) @ h)


def smooth_attention(p, patient, smoothness, steps, **_):
    h = embedded(p, patient)
    scores = gated(p, "slice_score", h)
    u = scores
    for _ in range(steps):
        u = torch.stack(
            [
                (1 - smoothness) * scores[i] + smoothness * (u[patient.below[i]] + u[patient.above[i]]) / 2
                for i in range(len(u))
            ]
        )
    return affine(p, "classify", share(u) @ h)


def phase_attention(p, patient, **_):
    h = embedded(p, patient)
    scores = gated(p, "slice_score", h)
    present = sorted(set(patient.phase))
    pooled = []
    for phase in present:
        rows = [i for i, q in enumerate(patient.phase) if q == phase]
        pooled.append(share(scores[rows]) @ h[rows] + p["phase_embedding"][phase])
    z = torch.stack(pooled)
    return affine(p, "classify", share(gated(p, "phase_score", z)) @ z)


def phase_vectors(patient, weights_of):
    """Return phase -> weighted mean of its rows, of the phases there are."""
    rows_of = {q: [i for i, p in enumerate(patient.phase) if p == q] for q in sorted(set(patient.phase))}
    return {q: weights_of(rows) @ patient.x[rows] for q, rows in rows_of.items()}


def parts_of(differences):
    """Return the blocks: a phase, or an earlier and a later one."""
    pairs = [(a, b) for a in range(len(PHASES)) for b in range(a + 1, len(PHASES))]
    return [*range(len(PHASES)), *(pairs if differences else [])]


def block(vectors, part):
    """Return a phase's vector or the difference of two, None where one is missing."""
    if isinstance(part, int):
        return vectors.get(part)
    early, late = part
    return vectors[late] - vectors[early] if {early, late} <= set(vectors) else None


def phase_concat_fixed(patients, differences, **_):
    """Return the training bags' mean of each phase and spread of each block, which nothing learns."""
    means = [
        phase_vectors(patient, lambda rows: torch.ones(len(rows)).double() / len(rows))
        for patient in patients
    ]
    centre = {q: torch.stack([m[q] for m in means if q in m]).mean(dim=0) for q in range(len(PHASES))}
    spread = []
    for part in parts_of(differences):
        found = [b - block(centre, part) for m in means if (b := block(m, part)) is not None]
        spread.append((torch.stack(found) ** 2).mean(dim=0).sqrt())
    return {"centre": centre, "spread": spread}


def phase_concat(p, patient, pool, differences, fixed, **_):
    def weights(rows):
        if pool == "mean":
            return torch.ones(len(rows)).double() / len(rows)
        return share(gated(p, "score", patient.x[rows]))

    vectors, blocks = phase_vectors(patient, weights), []
    for number, part in enumerate(parts_of(differences)):
        here = block(vectors, part)
        if here is None:
            width = p["project"].shape[2] if "project" in p else D
            blocks.append(p["missing"][number] if "missing" in p else torch.zeros(width).double())
            continue
        here = (here - block(fixed["centre"], part)) / fixed["spread"][number]
        blocks.append(here @ p["project"][number] if "project" in p else here)
    return affine(p, "classify", torch.cat(blocks))


def pooled_over(values, pool):
    return values.mean(dim=0) if pool == "mean" else values.max(dim=0).values


def embedding_pooling(p, patient, pool, **_):
    return affine(p, "classify", pooled_over(embedded(p, patient), pool))


def instance_pooling(p, patient, pool, **_):
    return pooled_over(affine(p, "classify", embedded(p, patient)), pool)


def mlp(p, patient, **_):
    return affine(p, "classify", embedded(p, patient)[0])


def rows_of_modality(patient, given):
    return [i for i, q in enumerate(patient.phase) if PHASES[q] in given["phases"]]


def modality_attention_fixed(patients, modalities, **_):
    """Return the training rows' mean and deviation of each modality."""
    found = []
    for given in modalities.values():
        x = torch.cat([patient.x[rows_of_modality(patient, given)] for patient in patients])
        found.append((x.mean(dim=0), x.std(dim=0, correction=0)))
    return found


def modality_attention(p, patient, modalities, fixed, **_):
    pooled = []
    for number, given in enumerate(modalities.values()):
        rows = rows_of_modality(patient, given)
        if rows:
            mean, std = fixed[number]
            h = affine(p, f"embed.{number}.0", (patient.x[rows] - mean) / std).clamp(min=0)
            pooled.append(share(gated(p, f"instance_score.{number}", h)) @ h)
    z = torch.stack(pooled)
    return affine(p, "classify", share(gated(p, "modality_score", z)) @ z)


def clam(p, patient, **_):
    return attention_mil(p, patient)


def clam_loss(p, patient, label, instances, instance_share=0.3, **_):
    h = embedded(p, patient)
    order = gated(p, "slice_score", h).argsort(descending=True).tolist()
    n = len(order)
    most = order[: min(instances, (n + 1) // 2)]
    least = order[n - min(instances, n // 2) :]
    likeness = affine(p, "instance", h)
    total = softplus(-likeness[most, label]).mean()
    if least:
        total = total + softplus(likeness[least, label]).mean()
    for other in range(N_CLASSES):
        if other != label:
            total = total + softplus(likeness[most, other]).mean()
    return instance_share * total / N_CLASSES


def dsmil(p, patient, **_):
    h = embedded(p, patient)
    evidence = affine(p, "instance", h)
    queries = affine(p, "query", h).tanh()
    streams, best = [], []
    for c in range(N_CLASSES):
        critical = int(evidence[:, c].argmax())
        best.append(evidence[critical, c])
        streams.append(share(queries @ queries[critical] / math.sqrt(queries.shape[1])) @ h)
    return (torch.stack(best) + affine(p, "classify", torch.cat(streams))) / 2


def transmil(p, patient, heads=4, **_):
    def layer(name, rows):
        normed = layer_norm(rows, rows.shape[1:], p[f"{name}.norm.weight"], p[f"{name}.norm.bias"])
        q, k, v = (normed @ p[f"{name}.attend.in_proj_weight"].T).chunk(3, dim=1)
        width = q.shape[1] // heads
        mixed = []
        for head in range(heads):
            cut = slice(head * width, (head + 1) * width)
            weights = torch.stack([share(k[:, cut] @ one / math.sqrt(width)) for one in q[:, cut]])
            mixed.append(weights @ v[:, cut])
        return rows + torch.cat(mixed, dim=1) @ p[f"{name}.attend.out_proj.weight"].T

    rows = layer("first", torch.cat([p["token"][None], embedded(p, patient)]))
    token, slices = rows[:1], rows[1:]
    own, below, above = p["position"]
    slices = slices + slices * own + slices[patient.below] * below + slices[patient.above] * above
    token = layer("second", torch.cat([token, slices]))[0]
    return affine(p, "classify", layer_norm(token, token.shape, p["norm.weight"], p["norm.bias"]))


def multiscale_attention(p, patient, scales_by, **_):
    h, e = embedded(p, patient), p["scale_embedding"]
    if scales_by == "embedding":
        rows = torch.stack([one + e[s] for one, s in zip(h, patient.scale, strict=True)])
        return affine(p, "classify", share(gated(p, "slice_score", rows)) @ rows)
    scores, pooled = gated(p, "slice_score", h), []
    for scale in sorted(set(patient.scale)):
        rows = [i for i, s in enumerate(patient.scale) if s == scale]
        pooled.append(share(scores[rows]) @ h[rows] + e[scale])
    z = torch.stack(pooled)
    return affine(p, "classify", share(gated(p, "scale_score", z)) @ z)


NETWORKS = {
    "attention_mil": attention_mil, "phase_attention": phase_attention, "phase_concat": phase_concat,
    "smooth_attention": smooth_attention, "embedding_pooling": embedding_pooling, "instance_pooling": instance_pooling, "mlp": mlp, "clam": clam, "modality_attention": modality_attention,
    "dsmil": dsmil, "transmil": transmil, "multiscale_attention": multiscale_attention,
}  # fmt: skip


def train(kind, parameters, patients, labels, settings, epochs):
    """Step through the training bags; return the parameters after the last epoch."""
    p = {name: value.double().clone().requires_grad_() for name, value in parameters.items()}
    first = {name: torch.zeros_like(value) for name, value in p.items()}
    second = {name: torch.zeros_like(value) for name, value in p.items()}
    order = np.random.default_rng(SEED)
    n_train = len(patients)
    class_weight = n_train / (N_CLASSES * np.bincount(labels, minlength=N_CLASSES))
    step = 0
    for _ in range(epochs):
        for bags in np.array_split(order.permutation(np.arange(n_train)), round(n_train / BAGS_PER_STEP)):
            step += 1
            for value in p.values():
                value.grad = None
            for i in bags.tolist():
                logits = NETWORKS[kind](p, patients[i], **settings)
                loss = cross_entropy(logits[None], torch.tensor([labels[i]]))
                if kind == "clam":
                    loss = loss + clam_loss(p, patients[i], int(labels[i]), **settings)
                (class_weight[labels[i]] * loss / len(bags)).backward()
            with torch.no_grad():
                for name, value in p.items():
                    gradient = torch.zeros_like(value) if value.grad is None else value.grad
                    first[name] = 0.9 * first[name] + 0.1 * gradient
                    second[name] = 0.999 * second[name] + 0.001 * gradient**2
                    mean = first[name] / (1 - 0.9**step)
                    deviation = (second[name] / (1 - 0.999**step)).sqrt() + 1e-8
                    value -= RATE * DECAY * value
                    value -= RATE * mean / deviation
    return {name: value.detach() for name, value in p.items()}


def draw_cohort(exercise):
    """Draw bags of unequal length, phases missing now and then, with a shift of every third feature, from the number of the label."""
    rng = np.random.default_rng(3)
    labels = np.arange(exercise.n_patients) % N_CLASSES
    labels[:3] = 0  # classes of unequal number
    bags = [draw_bag(f"p{i:02}", int(label), rng, exercise.signal) for i, label in enumerate(labels)]
    return bags, labels


def draw_bag(patient_id, label, rng, signal):
    present = [q for q in range(4) if q == 1 or rng.random() > 0.2]
    sizes = rng.integers(1, 9, size=len(present))
    phase = np.repeat(present, sizes).astype(np.int8)
    features = (2 + 3 * rng.normal(size=(len(phase), D))).astype(np.float32)
    features[phase == 1, label::N_CLASSES] += signal
    recipe = Recipe("drawn", "none", "random:0", "0" * 64, "float32", {})
    sources = {PHASES[q]: Source("f", f"{patient_id}{q}", "m", "drawn", (1.0, 1.0, 5.0), 40) for q in present}
    missing = {name: "no scan" for name in PHASES if name not in sources}
    header = BagHeader(patient_id, PHASES, missing, ("tight",), recipe, sources, patient_id, 1e5, 224)
    index = np.concatenate([np.arange(n) for n in sizes]).astype(np.int32)
    return Bag(
        header=header, features=features, phase=phase, slice_index=index, z_mm=index.astype(np.float32),
        tumour_area_mm2=np.ones(len(phase), np.float32), lesion=np.ones(len(phase), np.int16),
        scale=np.zeros(len(phase), np.int8),
    )  # fmt: skip


def at_two_scales(bags):
    """Return the bags with every slice at a second scale, too; some have one of the scales only."""
    return [with_second_scale(bag, number % 4) for number, bag in enumerate(bags)]


def with_second_scale(bag, which):
    """Every feature of the second scale is another one of the slice, half as large; of which 1 and 2 one scale is left."""
    header = replace(bag.header, scale_names=("tight", "context"))
    second = replace(bag, features=bag.features[:, ::-1] / 2, scale=np.ones(len(bag), np.int8))
    parts = [[bag, second], [bag], [second], [bag, second]][which]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("features", "phase", "slice_index", "z_mm", "tumour_area_mm2", "lesion", "scale")
    }
    return Bag(header=header, **arrays)


def as_mlp_sees(bag):
    """Return the bag of one row: mean, maximum and deviation of each feature."""
    exact = bag.features.astype(np.float64)
    pooled = np.concatenate([exact.mean(axis=0), exact.max(axis=0), exact.std(axis=0)])
    one = bag.take(np.array([0]))
    object.__setattr__(one, "features", pooled[None].astype(np.float32))
    return one


def compare(name, precision, exercise, *, scramble):
    kind, settings = name.split()[0], VARIANTS[name]
    bags, labels = draw_cohort(exercise)
    if kind == "multiscale_attention":
        bags = at_two_scales(bags)
    trained, tested = slice(exercise.n_train), slice(exercise.n_train, None)
    how = {
        "epochs": exercise.epochs, "learning_rate": RATE, "weight_decay": DECAY, "bags_per_step": BAGS_PER_STEP,
        "precision": precision, **({} if kind == "instance_pooling" else {"dropout": 0.0}),
    }  # fmt: skip
    model = build_model(kind, {**settings, **how}, random_state=SEED)
    seen = [as_mlp_sees(bag) for bag in bags] if kind == "mlp" else bags
    if kind == "modality_attention":
        model.widths_ = dict.fromkeys(settings["modalities"], D)
    torch.manual_seed(SEED)
    scales = len(bags[0].header.scale_names)
    network = model.new_network(Shape(seen[0].features.shape[1], len(PHASES), N_CLASSES, scales))
    begin = {key: value.detach().clone() for key, value in network.named_parameters()}
    if scramble:
        scramble_a_gradient(model)
    model.fit(bags[trained], labels[trained])
    together = np.concatenate([bag.features.astype(np.float64) for bag in seen[trained]])
    patients = [Patient(bag, together.mean(axis=0), together.std(axis=0)) for bag in seen]
    if kind == "modality_attention":
        settings = {**settings, "fixed": modality_attention_fixed(patients[trained], **settings)}
    if kind == "phase_concat":
        settings = {**settings, "fixed": phase_concat_fixed(patients[trained], **settings)}
    end = train(kind, begin, patients[trained], labels[trained], settings, exercise.epochs)
    with torch.no_grad():
        logits = torch.stack([NETWORKS[kind](end, patient, **settings) for patient in patients[tested]])
    theirs, ours = logits.softmax(dim=1).numpy(), model.predict_proba(bags[tested])
    moved = {key: value.detach().double() - begin[key] for key, value in model.network_.named_parameters()}
    wanted = {key: end[key] - begin[key] for key in end}
    cosines = [
        torch.cosine_similarity(moved[key].flatten(), wanted[key].flatten(), dim=0)
        for key in end
        if end[key].numel() > 1
    ]
    return {
        "parameters": max(float((moved[key] - wanted[key]).abs().max()) for key in end),
        "probabilities": float(np.abs(ours - theirs).max()),
        "cosine": float(min(cosines)),
        "auc": roc_auc_score(labels[tested], ours, multi_class="ovr"),
        "auc_of_loop": roc_auc_score(labels[tested], theirs, multi_class="ovr"),
    }


def scramble_a_gradient(model):
    """Have the first weight's gradient read in transposed order, as a step would that takes a view for contiguous."""
    build = model.new_network

    def scrambled(shape):
        network = build(shape)
        weight = network.embed[0].weight
        weight.register_hook(lambda gradient: gradient.T.contiguous().view(gradient.shape))
        return network

    object.__setattr__(model, "new_network", scrambled)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=list(VARIANTS))
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--scramble", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tested = {kind for kind, model in MODELS.items() if issubclass(model, MILEstimator)} - {"module"}
    assert tested == set(NETWORKS), f"a network without an oracle: {tested ^ set(NETWORKS)}"
    exercise = LEARNED if arguments.learn else COMPARED
    result = {
        name: compare(name, arguments.precision, exercise, scramble=arguments.scramble)
        for name in arguments.kinds
    }
    print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "kinds": result}))


if __name__ == "__main__":
    main()
