"""Variants: several bag sets from one configuration, made from slices that are prepared once."""

import numpy as np
import pytest

import extract.run
import extract.slice_supply
from extract.encoder_cards import SHIPPED_CARDS
from extract.variants import load_experiment
from pipeline.bags import read_bag
from pipeline.errors import ConfigError
from pipeline.store import SliceStore
from pipeline.tables import read_table
from tests.extract.conftest import draw_scan, save
from tests.extract.test_run import destroy_scans

BASE = """[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
device = "cpu"
[extract.input]
size_px = 32
scales_mm = { tight = 20.0 }
"""
TIGHT = """[extract.variant.tight]
regions = ["whole", "rim"]
rim_mm = 3.0
"""
WIDE = """[extract.variant.wide]
weights = "random:1"
[extract.variant.wide.input]
scales_mm = { wide = 30.0, all = "whole" }
"""
BLIND = """[extract.variant.blind.input]
windows = [[3000, 1]]
"""


@pytest.fixture
def decoded(monkeypatch) -> list[tuple[str, str]]:
    """Return (patient, phase) of every scan that is decoded, as often as it is."""
    found: list[tuple[str, str]] = []
    prepare = extract.slice_supply.prepare_scan

    def counted(plan, *rest):
        found.append((plan.scan.patient_id, plan.scan.phase))
        return prepare(plan, *rest)

    monkeypatch.setattr(extract.slice_supply, "prepare_scan", counted)
    return found


def two_patients(playground) -> None:
    """`b` has a second lesion just outside of a tight square, whose rim reaches into it."""
    playground.add("a", "AP")
    image, mask = draw_scan(3)
    mask[26:29, 15:19, 4:9] = 1
    save(playground.folder / "two.nii.gz", image)
    playground.add("b", image="two.nii.gz", mask=save(playground.folder / "two_mask.nii.gz", mask).name)


def excluded(playground) -> set[tuple[str, str, str]]:
    rows = read_table(playground.bags / "excluded.csv")
    return {(row["patient_id"], row["phase"], row["variant"]) for row in rows}


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def test_each_variant_gets_a_folder_and_a_line(playground, command):
    two_patients(playground)
    code, printed = command("run", playground.configure(BASE + TIGHT + WIDE))
    assert code == 0
    assert f"variant tight: 2 bags written (10 slices), 0 done before: {playground.bags / 'tight'}" in printed
    assert f"variant wide: 2 bags written (20 slices), 0 done before: {playground.bags / 'wide'}" in printed
    assert (
        set(files_of(playground.bags / "tight"))
        == set(files_of(playground.bags / "wide"))
        == {"a.h5", "b.h5"}
    )
    assert not files_of(playground.bags)
    assert read_bag(playground.bags / "wide" / "a.h5").header.recipe.weights_name == "random:1"


def test_no_scan_is_decoded_for_a_second_variant_not_even_one_that_cannot_be_used(
    playground, command, decoded
):
    two_patients(playground)
    empty = save(playground.folder / "empty.nii.gz", draw_scan()[1] * 0).name
    playground.add("bad", mask=empty)
    code, printed = command("run", playground.configure(BASE + TIGHT + WIDE))
    assert code == 2
    assert sorted(decoded) == [("a", "AP"), ("b", "PVP"), ("bad", "PVP")]
    assert printed.count("expected a mask with at least one voxel") == 1
    assert excluded(playground) == {("bad", "PVP", ""), ("bad", "", "")}


def test_a_bag_is_that_of_a_configuration_without_variants(playground, command):
    """Squares that another variant needs larger leave no trace, not even in a rim, and the content key is the same."""
    two_patients(playground)
    fine = BASE.replace(
        "size_px = 32", "size_px = 96"
    )  # so that the map has cells within and outside of the rim
    command("run", playground.configure(fine + TIGHT + WIDE))
    alone = fine.replace("[extract]", '[extract]\nrim_mm = 3.0\nregions = ["whole", "rim"]')
    command("run", playground.configure(alone), f"output={playground.folder / 'alone'}")
    for name in ("a.h5", "b.h5"):
        ours = read_bag(playground.bags / "tight" / name)
        expected = read_bag(playground.folder / "alone" / "bags" / name)
        np.testing.assert_array_equal(ours.features, expected.features)
        assert ours.header.content_key == expected.header.content_key
        assert ours.header.tile_size_um == expected.header.tile_size_um


@pytest.mark.parametrize("neighbours", ["", "\n[extract.slices]\nneighbour_mm = 3\n"])
@pytest.mark.parametrize("scales", ["{ wide = 30 }", "{ all = 'whole' }"])
def test_a_square_cut_out_of_a_larger_one_is_the_one_cut_out_of_the_scan(
    playground, command, scales, neighbours
):
    two_patients(playground)
    found = []
    for side in (scales, "{ tight = 13 }"):
        command("run", playground.configure(BASE + neighbours), f"input.scales_mm={side}")
        found.append(SliceStore(playground.folder / "out" / "slices.zarr").read_phases("b")[0])
    ours, expected = extract.slice_supply.narrowed(found[0], 13.0), found[1]
    for name in ("crops_hu", "masks", "corner", "neighbours"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(expected, name), err_msg=name)


def test_one_variant_is_made_alone_from_the_store_of_another(playground, command):
    two_patients(playground)
    config = playground.configure(BASE + TIGHT + WIDE)
    assert command("run", config, "--variant", "wide")[0] == 0
    assert not (playground.bags / "tight").exists()
    destroy_scans(playground)
    code, printed = command("run", config, "--variant", "tight")
    assert code == 0
    assert "variant tight: 2 bags written" in printed
    assert "variant wide" not in printed


def test_a_second_run_embeds_nothing_and_a_wider_variant_makes_no_other_anew(playground, command, decoded):
    two_patients(playground)
    command("run", playground.configure(BASE + TIGHT))
    before = files_of(playground.bags / "tight")
    _, printed = command("run", playground.configure(BASE + TIGHT + WIDE))
    assert "variant tight: 0 bags written (0 slices), 2 done before" in printed
    assert len(decoded) == 4  # once for the square of tight, once for the whole slice
    _, printed = command("run", playground.configure(BASE + TIGHT + WIDE))
    assert "variant wide: 0 bags written (0 slices), 2 done before" in printed
    assert files_of(playground.bags / "tight") == before


def test_a_patient_left_out_in_one_variant_has_a_row_that_names_it(playground, command):
    playground.add("a")
    code, printed = command("run", playground.configure(BASE + TIGHT + BLIND))
    assert code == 2
    assert "variant blind: 0 bags written" in printed
    assert excluded(playground) == {("a", "PVP", "blind"), ("a", "", "blind")}
    findings = read_table(playground.bags / "findings.csv")
    assert [(row["finding"], row["variant"]) for row in findings] == [("constant features", "blind")]
    assert set(files_of(playground.bags / "tight")) == {"a.h5"}


def test_variants_may_differ_in_whom_they_keep(playground, command):
    playground.add("one", "AP")
    text = BASE + TIGHT + "[extract.variant.strict]\nmissing_phases = { require = ['portal'] }\n"
    code, _ = command("run", playground.configure(text))
    assert code == 0  # a choice of the configuration is no fault
    assert excluded(playground) == {("one", "", "strict")}


def test_what_is_written_of_a_variant_stays_true_until_it_is_made_again(playground, command):
    playground.add("a")
    config = playground.configure(BASE + TIGHT + BLIND)
    command("run", config)
    assert command("run", config, "--variant", "tight")[0] == 0
    assert excluded(playground) == {("a", "PVP", "blind"), ("a", "", "blind")}
    config = playground.configure(BASE + TIGHT + BLIND.replace("3000, 1", "60, 150"))
    assert command("run", config, "--variant", "blind")[0] == 0
    assert excluded(playground) == set()


def test_a_fault_of_a_scan_is_told_again_of_patients_who_are_done(playground, command):
    playground.add("a", "AP")
    playground.add("a", "PVP", mask=save(playground.folder / "e.nii.gz", draw_scan()[1] * 0).name)
    config = playground.configure(BASE + TIGHT + WIDE)
    for _ in range(2):
        assert command("run", config)[0] == 2
        assert excluded(playground) == {("a", "PVP", "")}
        findings = read_table(playground.bags / "findings.csv")
        assert [(row["phase"], row["finding"], row["variant"]) for row in findings] == [("PVP", "mask", "")]


def test_an_interrupted_run_goes_on_in_the_variant_where_it_was(playground, command, monkeypatch):
    two_patients(playground)
    config = playground.configure(BASE + TIGHT + WIDE)
    write = extract.run.write_bag

    def interrupted(folder, bag):
        if (folder.name, bag.patient_id) == ("wide", "b"):
            raise KeyboardInterrupt
        return write(folder, bag)

    with monkeypatch.context() as patch:
        patch.setattr(extract.run, "write_bag", interrupted)
        code, printed = command("run", config)
    assert code == 130
    assert "run the same command again to go on" in printed
    destroy_scans(playground)
    _, printed = command("run", config)
    assert "variant tight: 0 bags written (0 slices), 2 done before" in printed
    assert "variant wide: 1 bags written (10 slices), 1 done before" in printed


def test_a_store_that_was_damaged_is_made_anew_once(playground, command, decoded):
    playground.add("a")
    config = playground.configure(BASE + TIGHT + WIDE)
    command("run", config)
    for path in [
        *playground.bags.glob("*/*.h5"),
        *(playground.folder / "out" / "slices.zarr").rglob("c/**/*"),
    ]:
        if path.is_file():
            path.write_bytes(b"rubbish")
    decoded.clear()
    assert command("run", config)[0] == 0
    assert decoded == [("a", "PVP")]


def test_the_same_pixels_are_found_in_every_variant(playground, command):
    playground.add("p", image="p.nii")
    save(playground.folder / "p.nii", draw_scan(5)[0])
    playground.add("q", seed=5)
    playground.add("r")
    assert command("run", playground.configure(BASE + TIGHT + WIDE))[0] == 2
    assert excluded(playground) == {(who, phase, "") for who in "pq" for phase in ("PVP", "")}


def test_weights_of_the_last_variant_that_do_not_fit_stop_the_run_at_once(playground, command):
    playground.add("a")
    text = BASE + TIGHT + "[extract.variant.other]\nencoder = 'convnext_small'\nweights = 'embedded'\n"
    code, printed = command("run", playground.configure(text))
    assert code == 2
    assert "extract.variant.other: no embedded weights for convnext_small" in printed
    assert not playground.bags.exists()


MISTAKES = {
    "an unknown key": (
        "encodr = 'x'",
        "unknown key 'extract.variant.v.encodr'; nearest valid key: 'encoder'",
    ),
    "an unknown key of a table": (
        "input.size = 3",
        "unknown key 'extract.variant.v.input.size'; nearest valid key: 'size_px'",
    ),
    "a wrong value": ("batch_size = 0", r"extract.variant.v.batch_size: .*; found 0"),
    "a wrong combination": (
        "layer = 'a'\nlayers = ['b']",
        "extract.variant.v: layer and layers: expected one",
    ),
    "a region": ("regions = ['liver']", "extract.variant.v: regions: expected some of"),
    "a phase": (
        "missing_phases = { require = ['lunch'] }",
        "extract.variant.v.missing_phases.require: unknown phase 'lunch'",
    ),
    "other slices": (
        "slices = { every_mm = 5 }",
        r"extract.variant.v.slices.every_mm: expected the value of \[extract\], because the slice store holds one choice",
    ),
    "other masks": ("masks.threshold = 0.5", "extract.variant.v.masks.threshold: expected the value of"),
    "shared images": ("shared_images = 'allow'", "v.shared_images: expected the value of .* which scans are"),
    "no store": ("store = false", "v.store: expected the value of .* made from the slice store"),
    "variants of a variant": ("variant.w.encoder = 'x'", "v.variant: a variant has no variants of its own"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_variant_is_told_with_its_place(playground, name):
    text, message = MISTAKES[name]
    with pytest.raises(ConfigError, match=rf"test.toml: .*{message}"):
        load_experiment(playground.configure(f"{BASE}[extract.variant.v]\n{text}\n"), ())


def test_mistakes_in_several_variants_are_told_at_once(playground):
    text = BASE + "[extract.variant.v]\nencodr = 1\n[extract.variant.w]\nlayr = 2\n"
    with pytest.raises(ConfigError, match=r"(?s)2 mistakes.*v.encodr.*w.layr"):
        load_experiment(playground.configure(text), ())


def test_a_mistake_in_the_table_of_all_is_told_once(playground):
    with pytest.raises(ConfigError) as told:
        load_experiment(playground.configure(BASE + "sise_px = 1\n" + TIGHT + WIDE), ())
    assert str(told.value).count("sise_px") == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["'a b'"], "extract.variant.a b"),
        (["'../up'"], "extract.variant.../up"),
        (["Rim", "rim"], "extract.variant.Rim: expected names that differ not only in case, found rim, too"),
    ],
)
def test_names_that_are_no_names_of_folders_are_refused(playground, names, message):
    text = "".join(f"[extract.variant.{name}]\n" for name in names)
    with pytest.raises(ConfigError, match=message):
        load_experiment(playground.configure(BASE + text), ())


def test_variants_without_a_store_are_refused(playground):
    with pytest.raises(ConfigError, match=r"extract\.store: expected true with variants"):
        load_experiment(playground.configure(BASE + TIGHT), ["store=false"])


def test_slices_that_are_said_again_as_they_are_do_no_harm(playground):
    text = BASE + "[extract.slices]\nevery_mm = 5\n[extract.variant.v.slices]\nevery_mm = 5.0\n"
    assert load_experiment(playground.configure(text), ()).names == ("v",)


def sections(playground, text: str, *overrides: str):
    experiment = load_experiment(playground.configure(text), overrides)
    return {variant.name: variant.config.extract for variant in experiment.variants}


def test_keys_of_a_variant_replace_those_of_all_and_tables_are_joined(playground):
    found = sections(playground, BASE + TIGHT + WIDE)
    assert found["wide"].input.size_px == 32
    assert found["wide"].input.scales_mm == {"wide": 30.0, "all": "whole"}  # a value, not a table of keys
    assert found["tight"].weights == "random:0"
    assert found["tight"].regions == ("whole", "rim")


def test_defaults_are_those_of_the_variant(playground):
    text = """[extract.variant.embedded]
[extract.variant.random]
weights = "random:0"
[extract.variant.liver.input]
reference = "liver"
"""
    found = sections(playground, f"[extract]\n{text}")
    assert (found["embedded"].input.size_px, found["random"].input.size_px) == (112, 224)
    assert [len(section.input.windows) for section in found.values()] == [1, 1, 3]


def test_a_layer_of_a_variant_takes_the_place_of_the_layers_of_all(playground):
    base = BASE.replace("[extract]", "[extract]\nlayers = ['features.4', 'features.12']")
    found = sections(playground, base + "[extract.variant.last]\nlayer = 'penultimate'\n")
    assert found["last"].layers_read == ("penultimate",)


def test_a_card_of_a_variant_takes_the_place_of_the_encoder_of_all(playground):
    card = next(SHIPPED_CARDS.glob("dinov2*.toml"))
    own = f"[extract.variant.dino]\ncard = '{card}'\ninput.scales_mm = {{ whole = 'whole' }}\n"
    found = sections(playground, BASE + TIGHT + own)
    assert (found["tight"].card, found["tight"].input.size_px) == (None, 32)
    assert (found["dino"].card, found["dino"].input.size_px) == (card, 224)
    with pytest.raises(ConfigError, match=r"extract\.variant\.dino\.weights: expected in the card"):
        sections(playground, BASE + own, "variant.dino.weights=random:0")


def test_a_value_of_the_command_line_is_one_of_the_table_it_names(playground):
    found = sections(playground, BASE + TIGHT + WIDE, "weights=random:7", "variant.tight.rim_mm=5")
    assert [(s.weights, s.rim_mm) for s in found.values()] == [("random:7", 5.0), ("random:1", 10.0)]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [(TIGHT + WIDE, "tigt", "nearest valid name: 'tight'"), ("", "tight", "found none; leave --variant out")],
)
def test_a_variant_that_is_not_there_is_refused(playground, command, text, name, message):
    playground.add("a")
    code, printed = command("run", playground.configure(BASE + text), "--variant", name)
    assert code == 2
    assert message in printed


def test_check_reads_once_and_counts_whom_each_variant_keeps(playground, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    playground.add("one", "AP")
    text = BASE + TIGHT + "[extract.variant.strict]\nmissing_phases = 'drop'\n"
    code, printed = command("check", playground.configure(text))
    assert code == 0
    assert "kept (tight: keep)" in printed
    assert "kept (strict: drop)" in printed
    assert "1 ok" in printed
    assert command("check", playground.configure(f"{text}encodr = 1\n"))[0] == 2


def test_inspect_prints_the_bags_of_each_variant(playground, command):
    playground.add("a")
    command("run", playground.configure(BASE + TIGHT + WIDE))
    code, printed = command("inspect", playground.bags)
    assert code == 0
    assert f"{playground.bags / 'tight'}:\na: instances 5: PVP 5" in printed
    assert f"{playground.bags / 'wide'}:\na: instances 10: PVP 10" in printed
    assert command("inspect", playground.bags / "tight")[0] == 0


def test_saliency_asks_for_the_variant_where_there_are_several(playground, command):
    config = playground.configure(BASE + TIGHT + WIDE)
    code, printed = command("saliency", config)
    assert code == 2
    assert "found tight, wide in the configuration; name one with --variant" in printed
    code, printed = command("saliency", config, "--variant", "wide")
    assert "attention.csv: no such table" in printed


def test_overlay_needs_no_variant(playground, command):
    code, printed = command("overlay", playground.configure(BASE + TIGHT + WIDE))
    assert code == 2
    assert "attention.csv: no such table" in printed
