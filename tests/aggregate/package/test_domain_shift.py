"""A cohort of the same distribution is flagged at the nominal rate, a shifted one by the name of what was shifted."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.models.views import View
from aggregate.package.domain_shift import (
    BELOW,
    BEYOND,
    NO,
    VERY_FAR,
    centre_rows,
    differing,
    measure_shift,
    median_test,
    patient_rows,
)
from aggregate.package.read_features import Reading, readings_of_model
from aggregate.package.scan_quantities import REFERENCE_HU
from aggregate.package.training_distribution import (
    DISTRIBUTION,
    DistributionSummary,
    TrainingDistribution,
    learn_distribution,
    spread_of,
)
from pipeline.bags import Bag, Source
from pipeline.errors import PackageError
from tests.conftest import PHASES, draw_bag, patients_of

READINGS = (Reading("all features", View()),)
USUAL_HU = dict(zip(PHASES, (55.0, 70.0, 100.0, 85.0), strict=True))


def draw(n: int, rng: np.random.Generator, name: str = "p", **shift) -> list[Bag]:
    return [drawn(f"{name}{i:03}", rng, **shift) for i in range(n)]


def drawn(
    patient_id: str,
    rng: np.random.Generator,
    *,
    features: float = 0.0,
    thickness_mm: tuple[float, ...] = (5.0, 7.5),
    hu: dict[str, float] | None = None,
    area: float = 1.0,
    without: str = "",
) -> Bag:
    """Draw a patient whose vector has a part of its own, as real ones have, and a scan with a thickness and a liver."""
    bag = draw_bag(patient_id, 0, rng, signal=0.0)
    own = rng.normal(size=bag.features.shape[1]).astype(np.float32)
    own[3] += features
    thickness = float(rng.choice(thickness_mm))
    spacing = (*[float(rng.uniform(0.6, 0.9))] * 2, thickness)
    levels = {p: rng.normal(USUAL_HU[p] + (hu or {}).get(p, 0.0), 10.0) for p in bag.header.phases_present}
    sources: dict[str, Source] = {p: replace(s, spacing_mm=spacing) for p, s in bag.header.sources.items()}
    bag = replace(
        bag,
        header=replace(bag.header, sources=sources, reference_hu=levels),
        features=bag.features + own,
        tumour_area_mm2=bag.tumour_area_mm2 * np.float32(area * rng.lognormal(0, 0.7)),
    )
    if not without or without not in sources:
        return bag
    left = {p: s for p, s in sources.items() if p != without}
    missing = {**bag.header.phases_missing, without: "no scan"}
    shown = bag.in_phases(left)
    header = replace(
        bag.header, sources=left, phases_missing=missing, reference_hu={p: levels[p] for p in left}
    )
    return replace(shown, header=header)


def table(bags: list[Bag]):
    return patients_of(bags, np.zeros(len(bags)))


@pytest.fixture(scope="module")
def training() -> TrainingDistribution:
    return learn_distribution(table(draw(120, np.random.default_rng(1))), READINGS, ["bags"])


def shift_of(training: TrainingDistribution, bags: list[Bag]):
    return measure_shift(training, table(bags), ["Nord"] * len(bags))


def axes(training: TrainingDistribution, bags: list[Bag]) -> set[tuple[str, str]]:
    """Return what differs, the phases of a distance put together."""
    rows = differing(centre_rows(shift_of(training, bags)))
    return {(row["quantity"], "" if row["quantity"] == "distance" else row["phase"]) for row in rows}


def test_patients_of_the_same_distribution_are_flagged_at_the_nominal_rate():
    beyond, outside, hospitals = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        known = learn_distribution(table(draw(60, rng)), READINGS, ["bags"])
        shift = shift_of(known, draw(40, rng, "n"))
        rows = list(patient_rows(shift))
        told = [
            row for row in rows if row["quantity"] == "distance" and row["phase"] == "" and row["outside"]
        ]
        beyond += [row["outside"] in (BEYOND, VERY_FAR) for row in told]
        ranged = [row for row in rows if row["quantity"] == REFERENCE_HU and row["outside"]]
        outside += [row["outside"] != NO for row in ranged]
        hospitals.append(bool(differing(centre_rows(shift))))
    assert len(beyond) > 400
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.03)
    assert np.mean(outside) == pytest.approx(0.10, abs=0.03)
    assert sum(hospitals) <= 2  # 5 % of 12, and what chance adds


def test_nothing_differs_where_nothing_was_shifted(training):
    assert axes(training, draw(60, np.random.default_rng(5))) == set()


@pytest.mark.parametrize(
    ("shift", "axis"),
    [
        ({"features": 6.0}, ("distance", "")),
        ({"thickness_mm": (1.25,)}, ("slice_thickness_mm", "")),
        ({"hu": {"PVP": -20.0}}, (REFERENCE_HU, "PVP")),
        ({"area": 6.0}, ("lesion_volume_ml", "")),
        ({"without": "NC"}, ("has the phase", "NC")),
    ],
)
def test_what_was_shifted_is_named_and_nothing_else(training, shift, axis):
    found = axes(training, draw(60, np.random.default_rng(5), **shift))
    assert axis in found
    # Thin slices of the same number hold less volume.
    assert found - {axis} <= ({("lesion_volume_ml", "")} if "thickness_mm" in shift else set())


def test_a_patient_far_off_is_beyond_99_percent_and_one_with_thin_slices_below_the_range(training):
    bags = [
        drawn("far", np.random.default_rng(3), features=40.0),
        drawn("thin", np.random.default_rng(3), thickness_mm=(1.0,)),
    ]
    rows = {
        (row["patient_id"], row["quantity"], row["phase"]): row
        for row in patient_rows(shift_of(training, bags))
    }
    assert rows["far", "distance", "AP"]["outside"] == VERY_FAR
    assert (
        rows["far", "distance", ""]["outside"] == BEYOND
    )  # of fewer than 99 with all of its phases 99 % cannot be told
    assert "farther from the training patients than 99 % of them" in rows["far", "distance", "AP"]["in_words"]
    thin = rows["thin", "slice_thickness_mm", ""]
    assert thin["outside"] == BELOW
    assert thin["in_words"] == "slice thickness 1 mm; 90 % of the training patients have 5 to 7.5 mm"


def test_the_words_say_how_many_hu_and_why(training):
    rows = differing(centre_rows(shift_of(training, draw(60, np.random.default_rng(5), hu={"PVP": -20.0}))))
    (row,) = (row for row in rows if row["quantity"] == REFERENCE_HU)
    assert row["in_words"].startswith(
        "density of the reference organ in PVP: median 79.9 HU, of the training patients 98.5"
    )
    assert "HU less: an earlier or later phase" in row["in_words"]


def test_every_patient_has_a_row_of_everything_also_of_what_is_not_known(training):
    bag = drawn("alone", np.random.default_rng(3), without="PVP")
    blind = replace(bag, header=replace(bag.header, reference_hu={}))
    rows = {(row["quantity"], row["phase"]): row for row in patient_rows(shift_of(training, [blind]))}
    assert rows[REFERENCE_HU, "AP"]["in_words"] == "the bag does not tell it"
    assert rows[REFERENCE_HU, "AP"]["outside"] == ""


def test_of_fewer_than_twenty_patients_nothing_is_told():
    known = learn_distribution(table(draw(19, np.random.default_rng(1))), READINGS, ["bags"])
    assert known.summary.quantities == ()
    assert known.summary.readings[0].distances == {}
    rows = list(patient_rows(shift_of(known, draw(2, np.random.default_rng(2)))))
    assert {row["outside"] for row in rows} == {""}
    assert all(row["training_median"] is None for row in rows)
    assert "fewer than 20 training patients" in rows[0]["in_words"]


def test_beyond_99_percent_is_told_from_99_patients_on():
    assert spread_of(np.arange(98.0)).quantile(0.99) is None
    assert spread_of(np.arange(99.0)).quantile(0.99) == 98.0


def test_a_range_leaves_out_as_many_new_patients_as_it_says():
    """Of 19 values, a new one is equally likely in each of the 20 gaps: 5 % below the first, 5 % above the last."""
    spread = spread_of(np.arange(1.0, 20.0), is_rounded=True)
    assert (spread.quantile(0.05), spread.quantile(0.5), spread.quantile(0.95)) == (1.0, 10.0, 19.0)
    assert (spread.n_below, spread.n_above) == (9, 9)


def test_the_median_test_by_hand():
    """Three new values above the median of 19: 10/20 * 11/21 * 12/22 = 1/7, times two sides."""
    spread = spread_of(np.arange(1.0, 20.0), is_rounded=True)
    assert median_test(np.array([11.0, 12.0, 13.0]), [spread] * 3) == pytest.approx(2 / 7)


def test_ties_at_the_median_make_no_difference():
    usual = np.repeat([5.0, 7.5], [25, 47])
    spread = spread_of(usual, is_rounded=True)
    assert median_test(usual, [spread] * len(usual)) > 0.5
    assert median_test(np.full(40, 3.0), [spread] * 40) < 1e-6


def test_what_is_written_is_read_back_and_names_no_patient(training, tmp_path):
    training.write(tmp_path)
    text = (tmp_path / DISTRIBUTION).read_text()
    assert "p000" not in text
    again = TrainingDistribution.read(tmp_path, DistributionSummary.model_validate_json(text))
    bags = draw(5, np.random.default_rng(9))
    assert list(map(str, patient_rows(shift_of(again, bags)))) == list(
        map(str, patient_rows(shift_of(training, bags)))
    )


def test_arrays_of_another_package_are_refused(training, tmp_path):
    learn_distribution(table(draw(19, np.random.default_rng(1))), READINGS, ["bags"]).write(tmp_path)
    with pytest.raises(PackageError, match=r"expected the arrays of training_distribution\.json"):
        TrainingDistribution.read(tmp_path, training.summary)


def test_features_of_another_width_are_refused(training):
    bags = [draw_bag("wide", 0, np.random.default_rng(1), dim=17)]
    with pytest.raises(PackageError, match="expected 16, as of the training patients, found 17"):
        measure_shift(training, table(bags), [""])


def test_every_reading_of_a_model_of_models_once():
    image = {"kind": "phase_concat", "features": ["lesion"]}
    late = {"kind": "mean_pooling", "features": ["lesion"], "phases": ["PVP"]}
    measures = {"kind": "ensemble", "model": "xgboost", "parameters": {"features": ["measures"]}}
    found = readings_of_model("average", {"models": {"a": image, "b": late, "c": measures}})
    assert [(one.name, one.view.phases) for one in found] == [("lesion", ()), ("measures", ())]


def test_phases_of_a_reading_are_those_of_any_model():
    models = {name: {"kind": "mean_pooling", "phases": [name]} for name in ("AP", "PVP")}
    (found,) = readings_of_model("average", {"models": models})
    assert found == Reading("all features", View(phases=("AP", "PVP")))
    (single,) = readings_of_model("single_phase", {"phase": "AP"})
    assert single.view.phases == ("AP",)


def test_modalities_are_readings_of_their_own():
    modalities = {"scan": {"bags": "ct", "features": ["lesion"]}, "biopsy": {"bags": "slides"}}
    found = readings_of_model("modality_attention", {"modalities": modalities})
    assert [one.name for one in found] == ["ct: lesion", "slides: all features"]
