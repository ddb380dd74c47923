"""The tune patients of a study, on whom each fold picks its configuration."""

from collections.abc import Sequence

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.study_section import StudySection
from pipeline.errors import FoldError


def check_tune_patients(study: StudySection, folds: Sequence[Fold], patients: Patients) -> None:
    """Refuse a fold whose tune patients give the configurations no score; a study within a budget scores others.

    Raises:
        FoldError: a fold has no tune patient, or none of a class where the AUC picks; repeat, fold and class are named.
    """
    if study.budget_minutes is not None:
        return
    for fold in folds:
        place = f"repeat {fold.repeat}, fold {fold.fold}"
        if not len(fold.tune):
            raise FoldError(
                f"{place} has no tune patients, on whom a study picks the configuration of the fold; give some patients of "
                "every class the role tune"
            )
        counts = np.bincount(patients.codes[fold.tune], minlength=len(patients.classes))
        if study.select_by == "auc" and counts.min() == 0:
            raise FoldError(
                f"{place} has no tune patient of class {patients.classes[int(counts.argmin())]}, so no configuration has an "
                'AUC there; give some of its patients the role tune, or set aggregate.study.select_by = "log_loss"'
            )
