"""Matching the cohort table with the bags: nobody is dropped in silence."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.bag_sets import BagFolder
from aggregate.cohort.study_cohort import load_study
from aggregate.planning.plan import load_aggregate_config
from pipeline.bags import read_bag, write_bag
from pipeline.errors import BagError, CohortError, ConfigError

MODEL = '[aggregate.model.m]\nkind = "majority"\n'


def test_patients_come_sorted_whatever_the_order_of_the_table(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    head, *rows = (tmp_path / "cohort.csv").read_text().splitlines()
    (tmp_path / "cohort.csv").write_text("\n".join([head, *rows[::-1]]) + "\n")
    study = load_study(config)
    assert list(study.patients.patient_ids) == sorted(study.patients.patient_ids)
    assert [study.patients.first_bag(i).patient_id for i in range(60)] == list(study.patients.patient_ids)


def test_a_patient_without_a_bag_is_excluded_with_a_reason(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    (tmp_path / "out" / "bags" / "p003.h5").unlink()
    study = load_study(config)
    assert "p003" not in study.patients.patient_ids
    assert [(e.patient_id, e.reason) for e in study.exclusions] == [
        ("p003", "no bag: stage 1 wrote no bag for this patient")
    ]


def test_a_bag_nobody_names_is_reported(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    (tmp_path / "out" / "bags" / "p003.h5").rename(tmp_path / "out" / "bags" / "stranger.h5")
    assert ("stranger", "a bag without a row in the cohort table") in [
        (e.patient_id, e.reason) for e in load_study(config).exclusions
    ]


def test_a_label_mended_after_stage_1_is_no_exclusion_any_more(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    (tmp_path / "out" / "bags" / "excluded.csv").write_text(
        "patient_id,phase,stage,reason\np003,,label,unknown label 'HC'\np004,NC,extract,truncated\n"
    )
    study = load_study(config)
    assert "p003" in study.patients.patient_ids
    assert [(e.patient_id, e.phase) for e in study.exclusions] == [("p004", "NC")]


def test_bags_of_two_recipes_are_refused(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    bag = read_bag(tmp_path / "out" / "bags" / "p003.h5")
    other = replace(bag.header.recipe, weights_sha256="1" * 64)
    write_bag(tmp_path / "out" / "bags", replace(bag, header=replace(bag.header, recipe=other)))
    with pytest.raises(BagError, match="p000 and p003 differ in weights_sha256"):
        load_study(config)


def test_an_absent_class_is_named(experiment_folder):
    config = load_aggregate_config(
        experiment_folder('classes = ["HCC", "iCCA", "cHCC-CCA", "CRLM"]\n' + MODEL), ()
    )
    with pytest.raises(CohortError, match="class CRLM of the configuration has no patient"):
        load_study(config)


def test_no_bags_says_what_to_run(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    for path in (tmp_path / "out" / "bags").glob("*.h5"):
        path.unlink()
    with pytest.raises(BagError, match=r"no bag here; run `extract.py run`"):
        load_study(config)


def test_an_override_reaches_a_model(experiment_folder):
    config = load_aggregate_config(experiment_folder(MODEL), ["model.m.hidden=64", "seed=3"])
    assert config.aggregate.model["m"].parameters == {"hidden": 64}
    assert config.aggregate.seed == 3


def test_an_unknown_key_names_the_nearest(experiment_folder):
    with pytest.raises(ConfigError, match=r"unknown key 'aggregate.splits.fold'; nearest valid key: 'folds'"):
        load_aggregate_config(experiment_folder(MODEL), ["splits.fold=3"])


@pytest.fixture
def folder(bags_and_labels, tmp_path):
    """The first six bags on disk."""
    for bag in bags_and_labels[0][:6]:
        write_bag(tmp_path, bag)
    return tmp_path


PRESENT = [(f"p{i:03}", ("AP",)) for i in range(6)]
"""Identifier and phases; which phases makes no difference to what is read."""


def test_the_room_for_bags_changes_nothing_that_is_read(folder, bags_and_labels):
    for room in (0, 1000, 10**9):
        bags = BagFolder(folder, PRESENT, bytes_kept=room)
        for _ in range(2):
            for bag, written in zip(map(bags.__getitem__, range(6)), bags_and_labels[0], strict=False):
                assert (bag.features == written.features).all()


def test_bags_are_kept_while_there_is_room_and_the_others_read_again(folder, bags_and_labels):
    first, second = (bag.features.nbytes for bag in bags_and_labels[0][:2])
    bags = BagFolder(folder, PRESENT, bytes_kept=first + second)
    for i in range(6):
        assert len(bags[i])
    for path in folder.glob("*.h5"):
        path.unlink()
    assert [bags[i].patient_id for i in (0, 1)] == ["p000", "p001"]
    with pytest.raises(BagError, match="no such bag"):
        bags[2]


def test_the_size_of_a_bag_that_was_read_needs_no_second_reading(folder, bags_and_labels):
    bags = BagFolder(folder, PRESENT, bytes_kept=0)
    sizes = [len(bag) for bag in bags_and_labels[0][:6]]
    assert [bags.size(i) for i in range(6)] == sizes
    for path in folder.glob("*.h5"):
        path.unlink()
    assert [bags.size(i) for i in range(6)] == sizes


def test_two_bags_exchanged_stop_the_run(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    bags = tmp_path / "out" / "bags"
    (bags / "p003.h5").rename(bags / "x")
    (bags / "p004.h5").rename(bags / "p003.h5")
    (bags / "x").rename(bags / "p004.h5")
    with pytest.raises(BagError, match=r"p003\.h5: the file is named after patient 'p003', its header says"):
        load_study(config)


def test_a_bag_whose_name_differs_in_case_only_is_named_beside_its_patient(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    bags = tmp_path / "out" / "bags"
    (bags / "p003.h5").rename(bags / "P003.h5")
    (reason,) = [e.reason for e in load_study(config).exclusions if e.patient_id == "p003"]
    assert reason.endswith("there is a bag of P003, which differ in upper and lower case only")


def with_phases(experiment_folder, *phases: str):
    """An experiment whose cohort is read with some phases; the bags have NC, AP, PVP and DP."""
    named = ", ".join(f'"{name}"' for name in phases)
    return load_aggregate_config(experiment_folder(f"phases = [{named}]\n" + MODEL), ())


def test_the_bags_are_seen_through_the_phases_of_the_configuration(experiment_folder, bags_and_labels):
    study = load_study(with_phases(experiment_folder, "PVP", "AP"))
    for i, whole in enumerate(bags_and_labels[0]):
        seen = study.patients.first_bag(i)
        assert seen.header.phase_names == ("PVP", "AP")
        for new, old in enumerate((2, 1)):
            assert (seen.features[seen.phase == new] == whole.features[whole.phase == old]).all()
        assert len(seen) == np.isin(whole.phase, (1, 2)).sum()
        assert (np.diff(seen.phase) >= 0).all()
    assert [study.patients.first_bag(i).header for i in range(60)] == list(study.headers)
    assert study.view_of_first_set == "PVP+AP"  # another fit, under another key


def test_every_phase_left_out_by_the_configuration_is_named(experiment_folder, bags_and_labels):
    study = load_study(with_phases(experiment_folder, "AP", "PVP"))
    left_out = {(e.patient_id, e.phase) for e in study.exclusions}
    for bag in bags_and_labels[0]:
        assert {(bag.patient_id, p) for p in bag.header.phases_present if p in ("NC", "DP")} <= left_out


def test_a_patient_without_a_phase_of_the_configuration_is_left_out(experiment_folder, bags_and_labels):
    study = load_study(with_phases(experiment_folder, "NC"))
    without = [bag.patient_id for bag in bags_and_labels[0] if "NC" not in bag.header.phases_present]
    assert without
    assert not set(without) & set(study.patients.patient_ids)
    assert set(without) <= {e.patient_id for e in study.exclusions if not e.phase}


def test_phases_that_the_bags_do_not_know_are_refused_with_both_lists(experiment_folder):
    both = r"\[cohort\] phases are NC, ART, PVP, DP, the phases of the bags NC, AP, PVP, DP"
    with pytest.raises(BagError, match=f"phase ART of the configuration is in no bag: {both}"):
        load_study(with_phases(experiment_folder, "NC", "ART", "PVP", "DP"))


def test_a_phase_in_a_bag_without_a_row_in_the_table_is_told(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    table = tmp_path / "cohort.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("p003,AP")))
    (remark,) = load_study(config).matched.remarks
    assert remark.startswith("1 phases in the bags have no usable row in the cohort table, such as AP of")


def test_an_absent_class_names_who_was_left_out(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ())
    for i in range(2, 60, 3):
        (tmp_path / "out" / "bags" / f"p{i:03}.h5").unlink()
    with pytest.raises(CohortError, match=r"class cHCC-CCA .* left out: p002 \(no bag: .*\) and 19 more"):
        load_study(config)
