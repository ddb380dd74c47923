"""The losses of every network in a fitted model, through all that may stand around it."""

from collections.abc import Iterator, Mapping
from typing import Any

from aggregate.models.base import PatientEstimator
from aggregate.models.mil import MILEstimator
from aggregate.models.several import SeveralModels
from aggregate.models.wrappers import Wrapper


def courses_of(model: PatientEstimator, member: str = "") -> Iterator[Mapping[str, Any]]:
    """Yield, for each network in a model that was just fitted, its place and the course of its training.

    Args:
        model: with its members and models inside; trees and other models without epochs yield nothing.
        member: where it stands in the model around it, such as "member_2"; empty for the whole.

    Yields:
        `member`, `kept` (the epoch whose weights are kept, from 0), and `train` and `tune`, a loss per epoch.
    """
    if isinstance(model, MILEstimator):
        yield {"member": member, **vars(model.course_)}
    elif isinstance(model, Wrapper):
        for name, inside in zip(model.names_inside(), model.fitted_inside(), strict=True):
            yield from courses_of(inside, f"{member}/{name}".removeprefix("/"))
    elif isinstance(model, SeveralModels):
        for name, inside in zip(model.names_of_fitted(), model.inside_, strict=True):
            yield from courses_of(inside, f"{member}/{name}".removeprefix("/"))
