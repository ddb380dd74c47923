"""The public names of phasemil in one place: `from phasemil import Patients, build_model, read_bag`.

The packages `pipeline`, `extract` and `aggregate` keep their names, and hold what these names stand for. A name is imported
when it is asked for first, so that `import phasemil` loads neither PyTorch nor any of the packages.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aggregate.cohort.patient import Patient as Patient
    from aggregate.cohort.patients import Patients as Patients
    from aggregate.models.attention_mil import AttentionMIL as AttentionMIL
    from aggregate.models.mean_pooling import MeanPooling as MeanPooling
    from aggregate.models.network import Output as Output
    from aggregate.models.registry import build_model as build_model
    from aggregate.models.registry import load_model as load_model
    from aggregate.package.loaded_package import load_package as load_package
    from aggregate.planning.plan import read_plan as read_plan
    from aggregate.tables.predictions import read_predictions as read_predictions
    from aggregate.tables.results import ResultTables as ResultTables
    from extract.encoders import load_encoder as load_encoder
    from pipeline.bags import Bag as Bag
    from pipeline.bags import read_bag as read_bag
    from pipeline.bags import write_bag as write_bag
    from pipeline.errors import PhasemilError as PhasemilError

    __version__: str

_HOME = {
    "AttentionMIL": "aggregate.models.attention_mil",
    "Bag": "pipeline.bags",
    "MeanPooling": "aggregate.models.mean_pooling",
    "Output": "aggregate.models.network",
    "Patient": "aggregate.cohort.patient",
    "Patients": "aggregate.cohort.patients",
    "PhasemilError": "pipeline.errors",
    "ResultTables": "aggregate.tables.results",
    "build_model": "aggregate.models.registry",
    "load_encoder": "extract.encoders",
    "load_model": "aggregate.models.registry",
    "load_package": "aggregate.package.loaded_package",
    "read_bag": "pipeline.bags",
    "read_plan": "aggregate.planning.plan",
    "read_predictions": "aggregate.tables.predictions",
    "write_bag": "pipeline.bags",
}
"""Public name -> the module that holds it."""

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - names of the table


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a public name when it is asked for first."""
    if name == "__version__":
        return version("phasemil")
    if name not in _HOME:
        raise AttributeError(f"module 'phasemil' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
