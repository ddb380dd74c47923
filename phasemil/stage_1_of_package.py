"""Stage 1 with the settings of a package: the encoder by its hash, regions, windows, slices."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Console

from aggregate.cohort.patient import ONLY_SET
from aggregate.package.loaded_package import Package
from aggregate.package.one_patient import check_recipe
from extract.config import TUMOUR
from extract.one_patient import EmbeddedPatient, embed_one_patient
from extract.opened_encoder import OpenedEncoder, open_encoder
from extract.regions import Ranges, plan_region
from extract.variants import Experiment, Variant, load_experiment
from pipeline.bags import CT
from pipeline.cohort import Cohort
from pipeline.errors import BagError, CohortError, ConfigError, Mistakes, PackageError, WeightsNotFoundError
from pipeline.files import with_home
from pipeline.names import Vocabulary, hint_of_nearest, phase_vocabulary


@dataclass(frozen=True)
class MachineChoices:
    """What a package cannot know: where weights lie on this machine, and what computes.

    Attributes:
        weights: FILE, or VARIANT=FILE.
        cards: FILE, or VARIANT=FILE: a copy of the card of the package that lies beside its weights.
        device: such as `cpu`; "" for that of stage 1.
        z_ranges: FROM:TO, or PHASE=FROM:TO, in mm; where the package takes slices by height.
    """

    weights: Sequence[str] = ()
    cards: Sequence[str] = ()
    device: str = ""
    z_ranges: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Stage1:
    """Stage 1 as it made the bags of the training patients, ready for a new patient.

    Attributes:
        package: whose settings these are.
        experiment: the settings.
        set_of: variant -> bag set of the package.
        z_ranges: phase, "" for all -> lowest and highest z in mm.
    """

    package: Package
    experiment: Experiment
    set_of: Mapping[str, str]
    z_ranges: Mapping[str, tuple[float, float]]

    def open_encoders(self, console: Console) -> Mapping[str, OpenedEncoder]:
        """Return variant -> encoder, compared with those of the training patients.

        Raises:
            WeightsNotFoundError: the weights are not on this machine.
            BagError: the encoder that is at hand has other weights or settings; both hashes are named.
        """
        variants = self.experiment.variants
        return {v.name: _opened(self.package, v, self.set_of[v.name], console) for v in variants}

    def embed(self, cohort: Cohort, opened: Mapping[str, OpenedEncoder]) -> EmbeddedPatient:
        """Embed the only patient of a cohort with the encoders that are open.

        Raises:
            CohortError: a scan has no mask, and the settings ask for one.
            ScanError: a scan cannot be used.
        """
        (patient,) = cohort.patients
        ranges = {(patient.patient_id, phase): found for phase, found in self.z_ranges.items()}
        self._check_regions(cohort, ranges)
        return embed_one_patient(self.experiment, cohort, ranges, opened)

    def _check_regions(self, cohort: Cohort, ranges: Ranges) -> None:
        (patient,) = cohort.patients
        section, mistakes = self.experiment.config.extract, Mistakes()
        which = section.slices.which
        option = {TUMOUR: "--mask", "organ": "--organ-mask"}.get(which, "--z-range")
        for phase in patient.scans:
            if plan_region(patient, phase, section.slices, section.masks, ranges).mask_source == "none":
                what = {"--mask": "a mask of the tumour", "--organ-mask": "a mask of the organ"}.get(
                    option, "a range of z"
                )
                mistakes.add(
                    CohortError(
                        f"phase {phase}: expected {what}, as the training patients had (slices.which = {which!r} in stage1.toml of the "
                        f"package), found none; name it with {option} {phase}=..., or leave the scan out"
                    )
                )
        mistakes.raise_all()


def stage_1_of(package: Package, choices: MachineChoices) -> Stage1:
    """Read the settings of a package.

    Raises:
        PackageError: the package does not say how its bags were made, or they were not made of scans.
        ConfigError: an option does not fit the package.
    """
    path = _settings_of(package)
    with path.open("rb") as stream:
        tables = tomllib.load(stream)
    extract: dict[str, Any] = tables.get("extract", {})
    variants = list(extract.get("variant", {}))
    by_height = extract.get("slices", {}).get("which") == "z_ranges"
    experiment = load_experiment(
        path, [*_overrides(choices, variants), *_heights(choices, by_height=by_height)]
    )
    sets = {variant.name: variant.name or ONLY_SET for variant in experiment.variants}
    if set(sets.values()) != set(package.contract.bag_sets):
        raise PackageError(
            f"{path}: expected settings of the bags {', '.join(package.contract.bag_sets)}, found those of {', '.join(sets.values())}"
        )
    ranges = dict(_ranges(choices.z_ranges, phase_vocabulary(experiment.config.cohort)))
    return Stage1(package, experiment, sets, ranges)


def _settings_of(package: Package) -> Path:
    sets = package.contract.bag_sets
    if not sets:
        raise PackageError(f"{package.folder}: the model reads no scans; ask it with `aggregate.py predict`")
    other = [name for name, one in sets.items() if one.modality != CT or one.format is not None]
    if other:
        raise PackageError(
            f"{package.folder}: the model reads {other[0]} ({sets[other[0]].modality}), which is not made of scans; ask it with "
            "`aggregate.py predict`"
        )
    if package.stage_1 is None:
        raise PackageError(
            f"{package.folder}: does not say how its bags were made (no stage1.toml; MODEL_CARD.md says why); make the bag as the "
            "training bags were made, and ask with `aggregate.py predict`"
        )
    return package.stage_1


def _opened(package: Package, variant: Variant, bag_set: str, console: Console) -> OpenedEncoder:
    """Open an encoder and compare it with that of the training patients."""
    contract, option = (
        package.contract.bag_sets[bag_set],
        "--card" if variant.config.extract.card else "--weights",
    )
    named = f"{variant.name}=" if variant.name else ""
    try:
        opened = open_encoder(variant.config.extract, console)
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(
            f"the package needs {contract.encoder} with the weights {contract.weights_name} (SHA-256 {contract.weights_sha256}); say "
            f"where they lie: {option} {named}FILE ({error})"
        ) from error
    if opened.recipe.weights_sha256 != contract.weights_sha256:
        raise BagError(
            f"the weights at hand, {opened.recipe.weights_name}, have the SHA-256 {opened.recipe.weights_sha256}; the package was trained "
            f"on {contract.weights_name} with {contract.weights_sha256}; name that file: {option} {named}FILE"
        )
    check_recipe(package, bag_set, opened.recipe)
    return opened


def _overrides(choices: MachineChoices, variants: Sequence[str]) -> list[str]:
    """Return what this machine adds to the settings; nothing in it decides a feature that the hashes do not guard."""
    found = ["extract.store=true"]
    if choices.device:
        found.append(f"extract.device={dumps(choices.device)}")
    for option, key, texts in (("--weights", "weights", choices.weights), ("--card", "card", choices.cards)):
        for text in texts:
            variant, equals, name = text.partition("=")
            if not equals or variant not in variants:
                variant, name = "", text
            if variants and not variant:
                raise ConfigError(
                    f"{option} {text}: expected VARIANT=FILE; {hint_of_nearest(text, variants)}"
                )
            path = Path(with_home(name)).resolve()
            if not path.is_file():
                raise ConfigError(f"{option} {text}: no such file")
            place = f"extract.variant.{variant}" if variant else "extract"
            found.append(f"{place}.{key}={dumps(str(path), ensure_ascii=False)}")
    return found


def _heights(choices: MachineChoices, *, by_height: bool) -> list[str]:
    """Return the override without which settings by height cannot be read: the table is that of the command."""
    if choices.z_ranges and not by_height:
        raise ConfigError("--z-range: the package takes its slices by mask and not by height; leave it out")
    if by_height and not choices.z_ranges:
        raise ConfigError(
            "the package takes slices by height (slices.which = 'z_ranges'); say which: --z-range FROM:TO in mm, or PHASE=FROM:TO"
        )
    return ["extract.slices.z_ranges='--z-range'"] if by_height else []


def _ranges(texts: Sequence[str], phases: Vocabulary) -> list[tuple[str, tuple[float, float]]]:
    found = []
    for text in texts:
        spelling, equals, span = text.rpartition("=")
        phase = phases.find(spelling) if equals else ""
        low, colon, high = span.partition(":")
        try:
            heights = (float(low), float(high))
        except ValueError:
            colon = ""
            heights = (0.0, 0.0)
        if phase is None or not colon:
            raise ConfigError(
                f"--z-range {text}: expected FROM:TO in mm, or PHASE=FROM:TO with a phase of {', '.join(phases.names)}"
            )
        found.append((phase, heights))
    return found
