"""The table [extract.radiomics] of a configuration, and what of it stands in a bag."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.config import Section
from pipeline.errors import ConfigError

LESION, RIM = "lesion", "rim"
LARGEST = "largest"
NATIVE = "native"
SOFTWARE = "mirp"
MORPHOLOGY = "morphology"
_VERSION = 1
"""Raised when the same settings come to give other numbers for a reason of ours; radiomics are then computed anew."""

Millimetres = Annotated[float, Field(gt=0)]
Region = Literal["lesion", "rim"]
Family = Literal[
    "morphology",
    "local_intensity",
    "statistics",
    "intensity_histogram",
    "intensity_volume_histogram",
    "glcm",
    "glrlm",
    "glszm",
    "gldzm",
    "ngtdm",
    "ngldm",
]
_USUAL_FAMILIES: tuple[Family, ...] = tuple(
    family for family in get_args(Family) if family != "local_intensity"
)


class RadiomicsSection(Section):
    """[extract.radiomics]: radiomics features of each phase, by MIRP as the IBSI defines them; none without this table.

    They need the extra `radiomics` and a mask of the tumour, and stand in the bag beside the measures. A model reads them with
    `features = ["radiomics"]`.
    """

    spacing_mm: Millimetres | Literal["native"] = 2.0
    """Spacing to which image and mask are resampled, the same along all axes; `native` for the spacing of the scan."""
    by_slice: bool = False
    """Resample within slices only, and compute textures slice by slice and average them, for scans with thick slices."""
    interpolation: Literal["linear", "cubic"] = "linear"
    """How the image is resampled; the mask always linearly, from a half on."""
    anti_aliasing: bool = True
    """Smooth the image before it is resampled, so that finer noise does not fold into the texture."""
    range_hu: tuple[float, float] = (-100.0, 300.0)
    """Voxels of a region outside of this range count for its shape only; the first bin begins at its lower end."""
    bin_width_hu: Annotated[float, Field(gt=0)] | None = None
    """Width of the bins for histogram and textures; 25 where neither this nor `bins` is given."""
    bins: Annotated[int, Field(ge=2)] | None = None
    """Number of bins from the lowest to the highest voxel of a region, instead of a width."""
    families: tuple[Family, ...] = Field(_USUAL_FAMILIES, min_length=1)
    """Families of features; `local_intensity` is the one that is left out by default. The rim has no morphology."""
    regions: tuple[Region, ...] = Field(("lesion", "rim"), min_length=1)
    """Regions whose features are computed: the lesion, and the ring around it without other lesions."""
    rim_mm: Millimetres = 10.0
    """Width of the ring."""
    lesions: Literal["largest", "all"] = "largest"
    """The lesion of the largest volume of the phase, or all of them as one region."""
    minimum_voxels: int = Field(64, ge=1)
    """A region with fewer voxels in `range_hu` after resampling has no features, which a finding says; 64 are 10 mm across at
    2 mm."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.bins is not None and self.bin_width_hu is not None:
            raise ValueError("expected bins or bin_width_hu, found both")
        if not self.range_hu[0] < self.range_hu[1]:
            raise ValueError(f"range_hu: expected the lower end first, found {list(self.range_hu)}")
        for what, names in (("families", self.families), ("regions", self.regions)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: expected each once, found {', '.join(names)}")
        if self.regions == (RIM,) and self.families == (MORPHOLOGY,):
            raise ValueError("families: expected one that a rim has, found morphology alone")
        return self

    @property
    def width_hu(self) -> float | None:
        """Width of the bins; None where their number is set."""
        return None if self.bins is not None else self.bin_width_hu or 25.0


def described_radiomics(section: RadiomicsSection) -> Mapping[str, Any]:
    """Return software, version and settings as plain JSON values, for keys and for the bag.

    Raises:
        ConfigError: the extra is not installed.
    """
    settings = section.model_dump(mode="json") | {"bin_width_hu": section.width_hu}
    return {"software": SOFTWARE, "version": _installed_version(), "procedure": _VERSION, **settings}


def _installed_version() -> str:
    try:
        return version(SOFTWARE)
    except PackageNotFoundError:
        raise ConfigError(
            "[extract.radiomics] needs the extra `radiomics`: pip install 'phasemil[radiomics]'; or leave the table out"
        ) from None
