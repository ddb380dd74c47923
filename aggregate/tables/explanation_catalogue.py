"""The part of the dictionary that `aggregate.py explain` and the report fill."""

from collections.abc import Mapping

from aggregate.tables.entries import HIGH, ID, LABEL, LOW, MODEL, N, TableEntry, interval

_MODEL = "Name of the model; `control: ...` is a rule that never saw an image"
_PHASE = "Contrast phase"
_SLICE = "Slice number from 1, inferior to superior, however the file is stored"
_RHO = "-1 to 1"
_SIGNS: Mapping[str, tuple[str, str]] = {
    "arterial_hyperenhancement_hu": ("Lesion minus parenchyma, arterial phase", "HU"),
    "nonrim_hyperenhancement_hu": ("Core of the lesion minus parenchyma, arterial phase", "HU"),
    "washout_hu": (
        "Nonperipheral washout: loss of the core's contrast since the arterial phase, or its darkness if smaller, least phase",
        "HU",
    ),
    "washout_ratio": ("100 x parenchyma / lesion, delayed phase", "%"),
    "rim_arterial_hu": ("Rim minus core, arterial phase", "HU"),
    "rim_portal_hu": ("Rim minus core, portal venous phase", "HU"),
    "rim_delayed_hu": ("Rim minus core, delayed phase", "HU"),
    "progressive_enhancement_hu": ("Core minus parenchyma, delayed less arterial phase", "HU"),
    "capsule_hu": ("3 mm around the lesion minus the brighter of its rim and the parenchyma, best later phase", "HU"),
    "heterogeneity_hu": ("Robust spread of the lesion, smoothed over 2 mm, about its profile from edge to core, median of the enhanced phases", "HU"),
    "diameter_mm": ("Greatest in-plane diameter, median of the phases", "mm"),
    "volume_ml": ("Tumour volume from areas and slice spacing, median of the phases", "ml"),
    "sphericity": ("1 for a ball, less for a lobulated or long lesion, of the largest part, median of the phases; empty under 3 slices", "0 to 1"),
}  # fmt: skip
_MEASURES: Mapping[str, tuple[str, str]] = {
    "lesion_hu": ("Median of the tumour", "HU"),
    "parenchyma_hu": ("Median of the tissue 4 to 15 mm around the tumour", "HU"),
    "contrast_hu": ("Lesion minus parenchyma", "HU"),
    "core_contrast_hu": ("Inner half of the depth of the lesion minus parenchyma", "HU"),
    "rim_minus_core_hu": ("Outer 35 % of the depth of the lesion minus its core", "HU"),
    "border_hu": ("3 mm around the lesion minus the brighter of its rim and the parenchyma", "HU"),
    "heterogeneity_hu": (
        "Robust spread of the lesion, smoothed over 2 mm, about its profile from edge to core",
        "HU",
    ),
    "diameter_mm": ("Greatest diameter of the largest part", "mm"),
    "circularity": ("4 pi area / perimeter^2 of the largest part", "0 to 1"),
}
_CHECKS = (
    "effective_slices: exp(entropy) of the weights; effective_share: the same as a share of the slices; rank_stability: "
    "Spearman of the weights between two repeats; area_agreement, centre_agreement: Spearman of the weights with the tumour "
    "area and with the centre-slice prior; neighbour_agreement: share of nearest training patients of the same class, and "
    "neighbour_agreement_by_chance: the share of that class"
)
_WORTH = {
    "shapley": "Mean contribution of the phase to the macro AUC over all orders of adding phases",
    "auc_alone": "Macro AUC when this phase alone is shown",
    "auc_without": "Macro AUC when this phase is withheld",
}


def _sides(name: str, meaning: str, unit: str) -> Mapping[str, tuple[str, str]]:
    return {name: (meaning, unit), f"{name}_low": (LOW, unit), f"{name}_high": (HIGH, unit)}


EXPLANATIONS = (
    TableEntry(
        "attention.csv",
        "model x patient x phase x slice",
        {
            "model": (MODEL, ""),
            "patient_id": (ID, ""),
            "phase": (_PHASE, ""),
            "slice_number": (_SLICE, ""),
            "z_mm": ("Patient coordinate of the slice", "mm"),
            "weight": ("Attention of models that did not see the patient, mean of the repeats; sums to 1", "0 to 1"),
            "weight_sd": ("Standard deviation over the repeats", "0 to 1"),
            "rank": ("1 for the slice with the largest weight of the patient", ""),
            "uniform_weight": ("Control: the weight if every slice counted alike", "0 to 1"),
            "centre_weight": ("Control: the weight of a prior on the middle slice of each phase", "0 to 1"),
            "tumour_area_mm2": ("Tumour area on the slice", "mm2"),
        },
        notes="Attention is where a model looked, no proof of why it decided. A bag with several scales has one row per "
        "slice and scale.",
    ),
    TableEntry(
        "explanation_checks.csv",
        "model or control x measure",
        {
            "model": (_MODEL, ""),
            "measure": (_CHECKS, ""),
            **interval("Mean over the patients", "measure"),
            "n": ("Patients with a value", "patients"),
        },
        notes="A model tells more than a control only where its figures differ from the control's.",
    ),
    TableEntry(
        "phases.csv",
        "model or control x phase",
        {
            "model": (_MODEL, ""),
            "phase": (_PHASE, ""),
            "n_patients": ("Patients with the phase", "patients"),
            **_sides("attention_share", "Share of the attention in the phase, mean over these patients", "0 to 1"),
            "slice_share": ("Share of the slices in the phase, mean over these patients", "0 to 1"),
            **_sides("enrichment", "Share of attention divided by share of slices; 1 for both controls", ""),
            "worth_by": ("How the next columns were found: masking (fitted models), or retraining where every subset can be trained on", ""),
            **{c: v for name, meaning in _WORTH.items() for c, v in _sides(name, meaning, "AUC").items()},
        },
    ),
    TableEntry(
        "phase_value.csv",
        "model x method x phase x measure",
        {
            "model": (MODEL, ""),
            "method": ("masking: fitted models are shown fewer phases; retraining: they are trained on fewer", ""),
            "phase": (_PHASE, ""),
            "measure": (
                "; ".join(f"{name}: {meaning[0].lower()}{meaning[1:]}" for name, meaning in _WORTH.items())
                + "; loss_without: AUC of all phases less auc_without",
                "",
            ),
            **interval("The measure", "AUC"),
            "n": (N, "patients"),
        },
        notes="The Shapley values of all phases sum to the macro AUC of all phases minus 0.5. They are not estimable by "
        "retraining where a fold keeps no training patient of a class with some subset of the phases; ci_method says which.",
    ),
    TableEntry(
        "phase_subsets.csv",
        "model x method x subset of the phases",
        {
            "model": (MODEL, ""),
            "method": ("masking or retraining", ""),
            "phases": ("Phases shown", ""),
            "n_phases": ("Their number", "phases"),
            **interval("Macro AUC", "0 to 1"),
            "n": (N, "patients"),
        },
        notes="A patient without any of the phases gets the class frequencies of the training patients.",
    ),
    TableEntry(
        "slice_votes.csv",
        "model x patient x class",
        {
            "model": (MODEL, ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "class": ("Class voted for", ""),
            "share": ("Share of the slices with most evidence for the class, mean of the repeats", "0 to 1"),
            "weighted_share": ("The same, each slice counted by its attention", "0 to 1"),
            "share_of_others": ("Control: mean share of the class among all other patients", "0 to 1"),
            "n_slices": ("Instances in the bag", "slices"),
        },
    ),
    TableEntry(
        "concepts.csv",
        "patient",
        {"patient_id": (ID, ""), "label": (LABEL, ""), **_SIGNS},
        notes="Measured in the words of LI-RADS v2018 from HU inside and around the contours, against the parenchyma of the "
        "same slice. Empty where the phases that a sign needs are missing.",
    ),
    TableEntry(
        "concept_slices.csv",
        "patient x phase x slice",
        {"patient_id": (ID, ""), "phase": (_PHASE, ""), "slice_number": (_SLICE, ""), **_MEASURES},
    ),
    TableEntry(
        "concept_scores.csv",
        "model x class x concept",
        {
            "model": (MODEL, ""),
            "class": ("Class whose probability is correlated", ""),
            "concept": ("Column of concepts.csv", ""),
            "spearman": ("Rank correlation over patients of the out-of-fold probability and the concept", _RHO),
            "ci_low": (LOW, _RHO),
            "ci_high": (HIGH, _RHO),
            "p_value": ("Two-sided p-value of no correlation", ""),
            "p_holm": ("After Holm's adjustment over the classes and concepts of the model", ""),
            "spearman_reference": ("Correlation of the concept with the reference label: a perfect model", _RHO),
            "n": ("Patients with the concept", "patients"),
        },
    ),
    TableEntry(
        "concept_probes.csv",
        "concept",
        {
            "concept": ("Column of concepts.csv", ""),
            "spearman": ("Rank correlation of the measured concept and a ridge probe on the features, out of fold", _RHO),
            "ci_low": (LOW, _RHO),
            "ci_high": (HIGH, _RHO),
            "r_squared": ("Share of the variance that the probe explains, out of fold; may be below 0", ""),
            "spearman_shuffled": ("Control: the same probe on shuffled values of the concept", _RHO),
            "spearman_size": ("Control: correlation of the concept with the number of slices", _RHO),
            "n": ("Patients with the concept", "patients"),
        },
    ),
    TableEntry(
        "prototypes.csv",
        "model x patient x neighbour",
        {
            "model": (MODEL, ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "rank": ("1 for the most similar training patient", ""),
            "neighbour_id": ("The training patient", ""),
            "neighbour_label": ("Its reference class", ""),
            "similarity": ("Cosine of the attention-weighted mean features, standardised on the training patients", _RHO),
        },
    ),
    TableEntry(
        "chosen_patients.csv",
        "patient whose pictures the report shows",
        {
            "model": ("The explained model", ""),
            "number": ("Number of the picture montage_<number>_<patient>.svg", ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "predicted": ("Class with the highest mean out-of-fold probability", ""),
            "probability": ("Of the predicted class, mean over the repeats", "0 to 1"),
            "why": ("Surest right prediction or surest mistake of the reference class", ""),
        },
        notes="Sure is the probability of the reference class: highest among the right, lowest among the mistaken.",
    ),
    TableEntry(
        "typical_slices.csv",
        "model x class x rank",
        {
            "model": (MODEL, ""),
            "class": ("Class that the slice is typical of", ""),
            "rank": ("1 for the most typical; one slice per patient", ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "phase": (_PHASE, ""),
            "slice_number": (_SLICE, ""),
            "evidence": ("Evidence for the class less that for the strongest other class", "model's own"),
        },
    ),
    TableEntry(
        "clusters.csv",
        "number of clusters x cluster x class",
        {
            "clusters": ("Number of clusters (k-means on the frozen features, without labels)", ""),
            "cluster": ("1 for the largest", ""),
            "class": ("Reference class of the slices", ""),
            "n_slices": ("Slices of the class in the cluster", "slices"),
            "share_of_cluster": ("Share of the class in the cluster", "0 to 1"),
            "share_of_all": ("Control: share of the class in all slices", "0 to 1"),
            "adjusted_mutual_information": ("Of cluster and class over all slices; 0 by chance for single slices", ""),
            "mutual_information_shuffled": ("Control: the same with the labels of the patients shuffled", ""),
        },
    ),
    TableEntry(
        "cluster_shares.csv",
        "number of clusters x patient x cluster",
        {
            "clusters": ("Number of clusters", ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "cluster": ("1 for the largest", ""),
            "share": ("Share of the patient's slices in the cluster", "0 to 1"),
        },
    ),
    TableEntry(
        "checklist.csv",
        "item of a reporting checklist",
        {
            "standard": ("CLAIM 2024 or TRIPOD+AI", ""),
            "item": ("Number of the item", ""),
            "topic": ("The item, shortened", ""),
            "answered": ("in this report, at least in part, or by the authors", ""),
            "section": ("Section of report.html", ""),
            "answer": ("What is found there", ""),
        },
    ),
)  # fmt: skip
