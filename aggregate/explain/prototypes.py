"""Most similar training patients, typical slices of each class, and clusters of slices found without labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from aggregate.cohort.patients import Patients
from aggregate.explain.inputs import ExplainableModel, OutOfFoldModels, PerInstance
from aggregate.explain.resampling import Resampling
from aggregate.tables.shared_columns import LABEL, MODEL, PATIENT_ID, PHASE, SCALE, SLICE_NUMBER
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.bags import Bag

PROTOTYPES = Table(
    "prototypes.csv",
    "model x patient x neighbour",
    (
        MODEL,
        PATIENT_ID,
        LABEL,
        Column("rank", "1 for the most similar training patient", "", Kind.COUNT),
        Column("neighbour_id", "Identifier of the training patient"),
        Column("neighbour_label", "Reference class of the training patient"),
        Column(
            "similarity",
            "Cosine similarity of the attention-weighted mean features, standardised on the training patients",
            "-1 to 1",
            Kind.NUMBER,
        ),
    ),
    place=260,
    step=Step.EXPLANATIONS,
)
TYPICAL_SLICES = Table(
    "typical_slices.csv",
    "model x class x rank",
    (
        MODEL,
        Column("class", "Class that the slice is typical of"),
        Column("rank", "1 for the most typical slice; one slice per patient", "", Kind.COUNT),
        PATIENT_ID,
        LABEL,
        PHASE,
        SLICE_NUMBER,
        SCALE,
        Column(
            "evidence",
            "Evidence for the class minus the strongest evidence for another class",
            "model's own",
            Kind.NUMBER,
        ),
    ),
    place=280,
    step=Step.EXPLANATIONS,
)
CLUSTERS = Table(
    "clusters.csv",
    "number of clusters x cluster x class",
    (
        Column(
            "clusters", "Number of clusters (k-means on the frozen features, without labels)", "", Kind.COUNT
        ),
        Column("cluster", "1 for the largest", "", Kind.COUNT),
        Column("class", "Reference class of the slices"),
        Column("n_slices", "Slices of the class in the cluster, once at each scale", "slices", Kind.COUNT),
        Column("share_of_cluster", "Share of the class in the cluster", "0 to 1", Kind.NUMBER),
        Column("share_of_all", "Control: share of the class in all slices", "0 to 1", Kind.NUMBER),
        Column(
            "adjusted_mutual_information",
            "Adjusted mutual information of cluster and class over all slices; 0 by chance for independent slices",
            "",
            Kind.NUMBER,
        ),
        Column(
            "mutual_information_shuffled",
            "Control: the same with shuffled labels of the patients",
            "",
            Kind.NUMBER,
        ),
    ),
    place=290,
    step=Step.EXPLANATIONS,
)
CLUSTER_SHARES = Table(
    "cluster_shares.csv",
    "number of clusters x patient x cluster",
    (
        Column("clusters", "Number of clusters", "", Kind.COUNT),
        PATIENT_ID,
        LABEL,
        Column("cluster", "1 for the largest", "", Kind.COUNT),
        Column("share", "Share of the patient's slices in the cluster", "0 to 1", Kind.NUMBER),
    ),
    place=300,
    step=Step.EXPLANATIONS,
)
CLUSTER_SLICES = Table(
    "cluster_slices.csv",
    "number of clusters x cluster x rank",
    (
        Column("clusters", "Number of clusters", "", Kind.COUNT),
        Column("cluster", "1 for the largest", "", Kind.COUNT),
        Column(
            "rank",
            "1 for the slice nearest to the centre of the cluster; one slice per patient",
            "",
            Kind.COUNT,
        ),
        PATIENT_ID,
        LABEL,
        PHASE,
        SLICE_NUMBER,
        SCALE,
        Column(
            "distance",
            "Distance to the centre of the cluster, in principal components of the standardised features",
            "standard deviations",
            Kind.NUMBER,
        ),
    ),
    place=305,
    step=Step.EXPLANATIONS,
)
NEIGHBOURS = 5
TYPICAL_PER_CLASS = 10
CENTRAL_PER_CLUSTER = 10
CLUSTER_NUMBERS = (2, 3)
_COMPONENTS = 32
_SHUFFLES = 20


def prototype_rows(inputs: OutOfFoldModels, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of prototypes.csv: the training patients most like each test patient of the first repeat.

    A patient is represented by the mean of its standardised features, weighted by the attention of the out-of-fold
    model; similarity is the cosine. The same model weights the training patients.
    """
    first = inputs.repeats(name)[0]
    for fold, model, tested, patients in inputs.seen(name):
        if fold.repeat != first:
            continue
        training = fold.train[model.sees(inputs.patients.take(fold.train))]
        known_vectors = _embed(model, inputs.patients.take(training))
        vectors = _embed(model, patients)
        centre, scale = known_vectors.mean(axis=0), known_vectors.std(axis=0) + 1e-9
        similarity = _unit((vectors - centre) / scale) @ _unit((known_vectors - centre) / scale).T
        for patient, row in zip(tested, similarity, strict=True):
            yield from _nearest(inputs.patients, name, int(patient), training, row)


def _nearest(
    patients: Patients,
    name: str,
    patient: int,
    training: NDArray[np.intp],
    similarity: NDArray[np.float64],
) -> Iterator[Mapping[str, Any]]:
    for rank, j in enumerate(np.argsort(-similarity, kind="stable")[:NEIGHBOURS], start=1):
        neighbour = int(training[j])
        yield {
            "model": name,
            "patient_id": patients.patient_ids[patient],
            "label": patients.label(patient),
            "rank": rank,
            "neighbour_id": patients.patient_ids[neighbour],
            "neighbour_label": patients.label(neighbour),
            "similarity": float(similarity[j]),
        }


def neighbour_checks(
    rows: Sequence[Mapping[str, Any]], patients: Patients, resampling: Resampling
) -> Iterator[Mapping[str, Any]]:
    """Yield rows for explanation_checks.csv: share of neighbours with the patient's label, and the share by chance."""
    agreement: dict[int, list[bool]] = {}
    for patient, row in zip(patients.index_of([row["patient_id"] for row in rows]), rows, strict=True):
        agreement.setdefault(patient, []).append(row["label"] == row["neighbour_label"])
    explained = sorted(agreement)
    share = np.array([np.mean(agreement[i]) for i in explained])
    codes = patients.codes
    counts = np.bincount(codes, minlength=len(patients.classes))
    chance = np.array([(counts[codes[i]] - 1) / (len(patients) - 1) for i in explained])
    if explained:
        model = rows[0]["model"]
        yield {"model": model, "measure": "neighbour_agreement", **resampling.mean(share, explained)}
        yield {
            "model": model,
            "measure": "neighbour_agreement_by_chance",
            **resampling.mean(chance, explained),
        }


def _embed(model: ExplainableModel, patients: Patients) -> NDArray[np.float64]:
    """Return the attention-weighted mean of the features of each patient; a missing measure counts as 0."""
    pairs = zip(model.attention(patients), model.seen_bags(patients), strict=True)
    return np.stack([weights @ np.nan_to_num(bag.features.astype(np.float64)) for weights, bag in pairs])


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.maximum(length, 1e-12)
    return unit


def typical_rows(
    evidence: PerInstance, patients: Patients, bags: Sequence[Bag]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of typical_slices.csv: the slices with most evidence for a class over the other classes.

    One slice per patient and class, so that one large tumour does not fill the list; `label` is the reference class
    of the patient, which may be another.
    """
    for k, name in enumerate(patients.classes):
        best = []
        for patient in evidence.values:
            values = evidence.mean(patient)
            margin = values[:, k] - np.delete(values, k, axis=1).max(axis=1)
            best.append((float(margin.max()), patient, int(margin.argmax())))
        best.sort(key=lambda entry: (-entry[0], entry[1]))
        for rank, (margin_of, patient, i) in enumerate(best[:TYPICAL_PER_CLASS], start=1):
            yield {
                "model": evidence.model,
                "class": name,
                "rank": rank,
                **_named_slice(patients, bags, patient, i),
                "evidence": margin_of,
            }


@dataclass(frozen=True, eq=False)
class Clusters:
    """The slices of all bags in clusters.

    Attributes:
        of_slices: per bag intp (n,), the cluster of each slice, from 0 for the largest.
        distances: per bag float64 (n,), from the centre of its cluster.
    """

    of_slices: Sequence[NDArray[np.intp]]
    distances: Sequence[NDArray[np.float64]]


def cluster_slices(bags: Sequence[Bag], number: int, *, seed: int) -> Clusters:
    """Cluster all slices by k-means on the standardised features, without labels.

    Each scale of each phase is centred on its own mean first: otherwise the clusters would only reproduce these.
    """
    features = np.concatenate([bag.features for bag in bags]).astype(np.float64)
    n_scales = len(bags[0].header.scale_names)
    group = np.concatenate([bag.phase.astype(np.intp) * n_scales + bag.scale for bag in bags])
    for index in np.unique(group):
        features[group == index] -= features[group == index].mean(axis=0)
    features = StandardScaler().fit_transform(features)
    n_components = min(_COMPONENTS, *features.shape)
    reduced = PCA(n_components, random_state=seed, svd_solver="randomized").fit_transform(features)
    # The matrix products are small: more than one thread costs more time than it saves, above all on a busy machine.
    with threadpool_limits(limits=1):
        centres = KMeans(number, n_init=10, random_state=seed).fit(reduced)
        cluster, distance = centres.labels_.astype(np.intp), centres.transform(reduced).min(axis=1)
    # Numbered by size, so that the numbers do not depend on the seed.
    order = np.argsort(-np.bincount(cluster, minlength=number), kind="stable")
    renumbered = np.argsort(order)[cluster]
    ends = np.cumsum([len(bag) for bag in bags])[:-1]
    return Clusters(np.split(renumbered, ends), np.split(distance.astype(np.float64), ends))


def cluster_rows(
    patients: Patients, clusters: Sequence[NDArray[np.intp]], number: int
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of clusters.csv: the mixture of classes in each cluster beside the mixture in all slices.

    Control: the mutual information of cluster and class when the labels of the patients are shuffled (mean of
    20); slices of one patient resemble each other, so it is above zero by chance.
    """
    sizes = np.array([len(cluster) for cluster in clusters])
    flat, label = np.concatenate(clusters), np.repeat(patients.codes, sizes)
    rng = np.random.default_rng(0)
    information = adjusted_mutual_info_score(label, flat)
    shuffled = [
        adjusted_mutual_info_score(np.repeat(rng.permutation(patients.codes), sizes), flat)
        for _ in range(_SHUFFLES)
    ]
    for cluster in range(number):
        inside = flat == cluster
        for k, name in enumerate(patients.classes):
            yield {
                "clusters": number,
                "cluster": cluster + 1,
                "class": name,
                "n_slices": int(np.sum(inside & (label == k))),
                "share_of_cluster": float(np.mean(label[inside] == k)) if inside.any() else None,
                "share_of_all": float(np.mean(label == k)),
                "adjusted_mutual_information": float(information),
                "mutual_information_shuffled": float(np.mean(shuffled)),
            }


def cluster_slice_rows(
    patients: Patients, bags: Sequence[Bag], clusters: Clusters, number: int
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of cluster_slices.csv: the slices nearest to the centre of each cluster, one per patient."""
    for cluster in range(number):
        nearest = []
        for patient, (of_slices, distance) in enumerate(
            zip(clusters.of_slices, clusters.distances, strict=True)
        ):
            inside = np.flatnonzero(of_slices == cluster)
            if len(inside):
                i = int(inside[distance[inside].argmin()])
                nearest.append((float(distance[i]), patient, i))
        for rank, (distance_of, patient, i) in enumerate(sorted(nearest)[:CENTRAL_PER_CLUSTER], start=1):
            yield {
                "clusters": number,
                "cluster": cluster + 1,
                "rank": rank,
                **_named_slice(patients, bags, patient, i),
                "distance": distance_of,
            }


def _named_slice(patients: Patients, bags: Sequence[Bag], patient: int, i: int) -> dict[str, Any]:
    """Return the cells that name an instance of a patient's bag: patient, label, phase, slice number from 1, scale."""
    bag = bags[patient]
    return {
        "patient_id": bag.patient_id,
        "label": patients.label(patient),
        "phase": bag.header.phase_names[bag.phase[i]],
        "slice_number": int(bag.slice_index[i]) + 1,
        "scale": bag.header.scale_names[bag.scale[i]],
    }


def cluster_patient_rows(
    patients: Patients, clusters: Sequence[NDArray[np.intp]], number: int
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of cluster_shares.csv: the share of each cluster among the slices of each patient."""
    for patient, (patient_id, cluster) in enumerate(zip(patients.patient_ids, clusters, strict=True)):
        for index in range(number):
            yield {
                "clusters": number,
                "patient_id": patient_id,
                "label": patients.label(patient),
                "cluster": index + 1,
                "share": float(np.mean(cluster == index)),
            }
