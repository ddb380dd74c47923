"""One patient whose bags are in memory, held against the contract of a package as `predict` holds those in folders."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aggregate.cohort.bag_sets import BagList, bag_in_phases
from aggregate.cohort.patients import Patients
from aggregate.package.loaded_package import Package
from aggregate.package.new_patients import UNLABELLED, covariates_of
from pipeline.bags import Bag, Recipe
from pipeline.cohort import Patient as Row
from pipeline.errors import BagError, ConfigError, PackageError
from pipeline.names import hint_of_nearest

_OPTION = "--covariate"


def check_recipe(package: Package, bag_set: str, recipe: Recipe) -> None:
    """Refuse an encoder that is not that of the training patients, before it is used.

    Raises:
        BagError: both values are named.
    """
    contract = package.contract.bag_sets[bag_set]
    trained = contract.header
    contract.shown(replace(trained, recipe=recipe), f"the encoder that is at hand for {bag_set}")


def check_covariates(package: Package, given: Mapping[str, str]) -> None:
    """Refuse columns that the model does not read, and ask for those that it does.

    Raises:
        ConfigError: a column is unknown, or nothing was said of one.
    """
    wanted = package.contract.covariates
    for name in given:
        if name not in wanted:
            reads = hint_of_nearest(name, wanted) if wanted else "the model reads no covariates"
            raise ConfigError(f"{_OPTION} {name}: {reads}; leave it out")
    lacking = [name for name in wanted if name not in given]
    if lacking:
        told = " ".join(f"{_OPTION} {name}={wanted[name].kind.upper()}" for name in lacking)
        raise ConfigError(
            f"the model reads {', '.join(lacking)} of the patient: say {told}; where it is not known, say so with nothing behind the "
            f"sign: {_OPTION} {lacking[0]}="
        )


def patient_in_memory(
    package: Package, patient_id: str, bags: Mapping[str, Bag], covariates: Mapping[str, str]
) -> Patients:
    """Return a table of the one patient.

    Args:
        package: that is asked.
        patient_id: of the patient.
        bags: bag set -> bag.
        covariates: column -> cell, as a cohort table has it; empty where it is not known.

    Raises:
        BagError: a bag is of another encoder, weights or preprocessing.
        ConfigError: a covariate is unknown or nothing was said of one.
        CohortError: a covariate is of another type.
        PackageError: the model sees nothing of the patient.
    """
    check_covariates(package, covariates)
    contract = package.contract
    found = {name: _shown(package, name, bag) for name, bag in bags.items()}
    typed, _ = covariates_of(
        contract, {patient_id: Row(patient_id, {}, None, covariates=covariates)}, _OPTION
    )
    patients = Patients(
        patient_ids=(patient_id,),
        codes=np.array([UNLABELLED], dtype=np.intp),
        classes=contract.classes,
        bag_sets={name: BagList([bag]) for name, bag in found.items()},
        covariates=typed,
    )
    if not package.sees(patients)[0]:
        raise PackageError(f"patient {patient_id}: {package.why_unseen(patients[0])}")
    return patients


def _shown(package: Package, name: str, bag: Bag) -> Bag:
    contract = package.contract.bag_sets.get(name)
    if contract is None:
        raise BagError(f"bags {name}: {hint_of_nearest(name, package.contract.bag_sets)}")
    contract.shown(bag.header, f"the bag {name}")
    return bag_in_phases(bag, contract.phase_names) if contract.is_in_phases else bag
