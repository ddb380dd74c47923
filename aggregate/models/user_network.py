"""A user's network, or a torchmil model, as a model of a configuration: `kind = "module"`.

    [aggregate.model.mine]
    kind = "module"
    module = "my_models.py:MyNet"        # relative to the configuration; or "torchmil.models:ABMIL"
    hidden = 32                          # an argument of MyNet
    epochs = 40                          # a training setting, as for every network

`MyNet(n_features, n_phases, n_classes, hidden=32)` is a `torch.nn.Module` whose `forward(instances)` gets the
`Instances` of a few bags and returns logits (bags, classes), or an `Output` that also holds attention and evidence. If it has
an argument `n_scales`, it is given the number of scales too.
"""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from aggregate.models import torchmil_network
from aggregate.models.base import Labels, Tune
from aggregate.models.contract import check_network, said
from aggregate.models.mil import DTYPES, AttendingEstimator, EvidentEstimator
from aggregate.models.network import Shape
from aggregate.models.views import SeenBags
from pipeline.errors import ConfigError
from pipeline.provenance import sha256_of_file, sha256_of_json, version_of

_SIZES = ("n_features", "n_phases", "n_classes")
_SCALES = "n_scales"
"""Given to a network that asks for it."""


@dataclass(kw_only=True, eq=False, repr=False)
class ModuleMIL(AttendingEstimator, EvidentEstimator):
    """A network from a user's Python file or from torchmil."""

    kind: ClassVar[str] = "module"

    module: str = ""
    """The network class: FILE.py:CLASS, or torchmil.models:CLASS."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the class beside the three sizes; in a configuration each is a separate key."""

    def new_network(self, shape: Shape) -> nn.Module:
        """Build the network and test it on random instances.

        Raises:
            ConfigError: there is no such network, or it breaks the contract.
        """
        network = self._built(shape)
        check_network(network, shape, self.module, DTYPES[self.precision])
        return network

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        super()._fit(bags, labels, tune)
        # Some networks break the contract only after training, such as one with a position weight that starts at zero.
        check_network(self.network_, self.fitted_shape(), f"{self.module}, trained")

    @classmethod
    def settings_names(cls, parameters: Mapping[str, Any]) -> list[str]:
        """Return the arguments of the class that a configuration may set.

        Raises:
            ConfigError: there is no such class.
        """
        path = parameters.get("module")
        if not isinstance(path, str) or ":" not in path:
            raise ConfigError(f'kind = "module": expected module = "FILE.py:CLASS", found {path!r}')
        given = {*_SIZES, _SCALES, "in_shape", "args", "kwargs"}
        names = [name for name in inspect.signature(_class_at(path)).parameters if name not in given]
        own = {field.name for field in fields(cls)}
        clash = [name for name in names if name in own]
        if clash:
            raise ConfigError(
                f"{path}: its argument {clash[0]!r} has the name of a training parameter; rename the argument"
            )
        return names

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of the user's file, or of torchmil's version, so that a change leads to a new fit."""
        file, _, _ = str(parameters.get("module", "")).rpartition(":")
        if file == torchmil_network.PREFIX:
            return sha256_of_json(["torchmil", version_of("torchmil")])
        return sha256_of_file(Path(file)) if file.endswith(".py") and Path(file).exists() else ""

    @property
    def weighs_slices(self) -> bool:
        """Whether the fitted network has attention and evidence; True before `fit`, when this is unknown."""
        if not hasattr(self, "network_"):
            return True
        output = check_network(self.network_, self.fitted_shape(), self.module)
        return output.attention is not None and output.evidence is not None

    def _built(self, shape: Shape) -> nn.Module:
        found = _class_at(self.module)
        try:
            if self.module.startswith(torchmil_network.PREFIX):
                return torchmil_network.OneForEachClass(found, shape, self.settings)
            asks = _SCALES in inspect.signature(found).parameters
            scales = {_SCALES: shape.n_scales} if asks else {}
            return found(shape.n_features, shape.n_phases, shape.n_classes, **scales, **self.settings)
        except Exception as error:  # what somebody else's code raises cannot be listed
            raise ConfigError(
                f"{self.module}: cannot be built from n_features = {shape.n_features}, n_phases = {shape.n_phases}, "
                f"n_classes = {shape.n_classes}, {dict(self.settings)}: {said(error)}"
            ) from error


def _class_at(path: str) -> type[nn.Module]:
    place, _, name = path.rpartition(":")
    if place == torchmil_network.PREFIX:
        return torchmil_network.torchmil_class(name)
    return _class_in_file(Path(place), name)


class _WithoutBytecode(SourceFileLoader):
    """Imports a Python file without writing __pycache__ into the user's folder."""

    def set_data(self, path: str, data: object, *, _mode: int = 0) -> None:
        """Write nothing."""


def _class_in_file(file: Path, name: str) -> type[nn.Module]:
    if not file.is_file():
        raise ConfigError(
            f'{file}: no such file; expected module = "FILE.py:CLASS", FILE beside the configuration'
        )
    name_of_module = f"phasemil_user_{file.stem}_{sha256_of_file(file)[:16]}"
    loader = _WithoutBytecode(name_of_module, str(file))
    spec = importlib.util.spec_from_file_location(name_of_module, file, loader=loader)
    if spec is None or file.suffix != ".py":
        raise ConfigError(f"{file}: expected a Python file, named *.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name_of_module] = module  # dataclasses look for the module of their annotations there
    try:
        loader.exec_module(module)
    except Exception as error:  # what somebody else's code raises cannot be listed
        raise ConfigError(f"{file}: cannot be imported: {said(error)}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        there = [k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, nn.Module)]
        raise ConfigError(
            f"{file}: expected a torch.nn.Module named {name!r}, found {', '.join(there) or 'none'}"
        )
    return found
