"""The table [extract] of a configuration: encoder, slices, masks and how a slice becomes an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from extract.architectures import ARCHITECTURES, PENULTIMATE
from extract.card_input import to_our_axes
from extract.checkpoints import EMBEDDED, FILE_SUFFIXES
from extract.encoder_cards import read_encoder_card
from extract.radiomics_settings import RadiomicsSection
from extract.region_pooling import REGIONS, drawn_regions
from extract.scale_checks import check_scales, scales_of_card
from extract.scales import Box, Millimetres, Scale, box_of
from pipeline.config import ConfigPath, ExperimentConfig, FileSafeName, Section, load_config, with_table
from pipeline.errors import ConfigError
from pipeline.files import with_home
from pipeline.names import phase_vocabulary
from pipeline.phase_roles import with_roles_resolved

Window = tuple[float, Annotated[float, Field(gt=0)]]
TUMOUR = "tumour"
ABSOLUTE, ORGAN = "absolute", "organ"
Reference = Annotated[Literal["absolute", "organ"], BeforeValidator(lambda v: ORGAN if v == "liver" else v)]
"""`liver` is another spelling of `organ`: which organ it is, the column [cohort] organ_mask says."""
ABOUT_REFERENCE: tuple[Window, ...] = ((0.0, 400.0), (0.0, 200.0), (0.0, 100.0))
OF_A_CARD = ("encoder", "weights", "layer", "layers")
INPUT_OF_A_CARD = ("windows", "size_px", "planes", "slab_planes", "reference")
EMBEDDED_SIZE_PX = 112
"""Side of the images that the embedded encoder was trained on; its card says so too."""


class SlicesSection(Section):
    """[extract.slices]: which slices of a scan are instances."""

    which: Literal["tumour", "organ", "z_ranges"] = "tumour"
    """Slices with tumour mask, slices with organ mask (column `liver_mask`), or ranges of z from the table `z_ranges`. The
    last two need no tumour mask."""
    minimum_area_mm2: float = Field(0.0, ge=0)
    """Slices with a smaller mask area are left out."""
    every_mm: Millimetres | None = None
    """Keep one slice per this distance along z, so that thin slices do not give more instances than thick ones."""
    at_most: int | None = Field(None, ge=1)
    """Largest number of slices per phase; a larger number is thinned out evenly along z."""
    neighbour_mm: Millimetres | None = None
    """Also keep the slices at this distance below and above each slice, for `input.planes = 3`."""
    z_ranges: ConfigPath | None = None
    """CSV with the columns patient_id, phase (empty: all phases), z_from_mm, z_to_mm; for `which = "z_ranges"`."""

    @model_validator(mode="after")
    def _ranges_have_a_table(self) -> Self:
        if (self.which == "z_ranges") != (self.z_ranges is not None):
            raise ValueError("which = 'z_ranges' and a table z_ranges go together")
        return self


Label = Annotated[int, Field(ge=1)]


class MaskLabels(Section):
    """[extract.masks] labels: which values of a label map are the tumour or the organ.

    Without this table a mask has two values, of which the larger is the structure. With it, the values hold for every
    mask of the structure; the column `mask_label` of the cohort table overrides them.
    """

    tumour: tuple[Label, ...] = ()
    """Values of the tumour in the column `mask`, such as [2]."""
    organ: tuple[Label, ...] = ()
    """Values of the organ in the column `liver_mask`."""


class MasksSection(Section):
    """[extract.masks]: what the values of masks mean, and which mask a phase without one uses."""

    labels: MaskLabels = MaskLabels()
    """A label map with more than two values is refused unless its values are given here or in the cohort table."""
    threshold: float | None = None
    """Voxels at or above this value are the structure, for masks with fractional values (probabilities, linear resampling);
    such masks are refused when it is not set."""

    propagate_from: tuple[str, ...] = ()
    """Phases whose mask is used, in patient coordinates, for a phase without a mask; the first of them that has one."""
    margin_mm: float = Field(0.0, ge=0)
    """A propagated mask is dilated by this distance, because breathing moves organs between phases."""


class InputSection(Section):
    """[extract.input]: how a slice becomes the image that the encoder sees."""

    scales_mm: Mapping[str, Scale] = Field({"tight": 120.0}, min_length=1)
    """Side of the square around the tumour, or `whole` slice, by name; each scale gives instances of its own. With a depth,
    as in `slab = { side = 70.0, depth = 24.0 }`, it is a slab: a 2D encoder sees its mean, a 3D encoder its planes."""
    slab_planes: int = Field(16, ge=1, le=256)
    """Planes that a 3D encoder sees of a slab, evenly spaced through its depth, interpolated between the slices of the scan."""
    reference: Reference = "absolute"
    """`liver`: levels of the windows count from the HU of the lesion-free organ in that phase, not from 0 HU."""
    windows: tuple[Window, ...] = ((40.0, 400.0),)
    """Level and width in HU; one for all channels (-160 to 240 HU by default), or three, one per channel. With a
    reference the default is three about it, 400, 200 and 100 HU wide; with three planes the first of these."""
    planes: Literal[1, 3] = 1
    """3: the channels are the slices below, at and above, as far apart as slices.neighbour_mm."""
    outside_mask_hu: float | None = None
    """Set everything outside of the mask to this value; by default the surroundings are shown."""
    size_px: int = Field(224, ge=32, le=1024)
    """Side of the image after resizing; the embedded encoder's default is 112, what it was trained on."""

    @model_validator(mode="before")
    @classmethod
    def _windows_about_the_reference(cls, values: object) -> object:
        if (
            not isinstance(values, dict)
            or "windows" in values
            or values.get("reference", ABSOLUTE) == ABSOLUTE
        ):
            return values
        n_windows = 1 if values.get("planes", 1) == 3 else 3
        return {**values, "windows": ABOUT_REFERENCE[:n_windows]}

    @model_validator(mode="after")
    def _three_channels(self) -> Self:
        if len(self.windows) not in (1, 3):
            raise ValueError(f"expected 1 or 3 windows, found {len(self.windows)}")
        if self.planes == 3 and len(self.windows) == 3:
            raise ValueError("three windows and three planes would need nine channels; choose one of them")
        slab = next((name for name, box in self.boxes.items() if box.depth_mm is not None), None)
        if self.planes == 3 and slab:
            raise ValueError(
                f"planes = 3 shows neighbouring slices in the channels, and scales_mm.{slab} has a depth; leave one of them out"
            )
        return self

    @property
    def boxes(self) -> Mapping[str, Box]:
        """The box that each scale shows, by its name."""
        return {name: box_of(scale) for name, scale in self.scales_mm.items()}


class Required(Section):
    """The table form of missing_phases: which phases a patient must have."""

    require: tuple[str, ...] = Field(min_length=1)
    """Patients without a scan of each of these phases are left out."""


class VariantSection(Section, extra="allow"):
    """[extract.variant.NAME]: a bag set of its own, made from the same slices; its bags lie in `bags/NAME` in `output`.

    It holds any keys of [extract], also in tables such as [extract.variant.NAME.input], which replace those of [extract]
    for this variant: encoder, layers, regions, windows and so on. `slices`, `masks`, `shared_images` and `store` decide
    what is prepared from the scans, which is done once, so they are the same for all; so are `radiomics`.
    """


class ExtractSection(Section):
    """[extract]: which encoder embeds which slices, and on what."""

    encoder: str = "squeezenet1_1"
    """Name of the encoder; `extract.py encoders` lists them."""
    card: ConfigPath | None = None
    """Card of another encoder (docs/encoders.md), instead of encoder, weights, layers, windows and size_px."""
    weights: str = EMBEDDED
    """`embedded`, `installed` (ImageNet, of efficientnet_lite0), a torchvision name, a .pth, .pt or .safetensors file, or `random:<seed>` for tests."""
    layer: str = PENULTIMATE
    """Layer to read: `penultimate`, or the name of a module of the network. `extract.py encoders` lists the usual ones."""
    layers: tuple[str, ...] = ()
    """Several layers side by side, instead of `layer`; the blocks are then named as in `lesion@features.4`."""
    regions: tuple[str, ...] = ()
    """Regions over which the feature map is averaged, each a block of the features: `whole` (the crop), `lesion`, `rim` (the
    ring around it), `cls` (the class token of a transformer). By default `cls` where there is one, else `whole`."""
    rim_mm: Millimetres = 10.0
    """Width of the ring around the lesion."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the forward pass; `auto`: the fastest that the device computes natively."""
    device: str = "auto"
    """Device of the encoder, such as `cpu` or `cuda:1`; `auto`: a CUDA GPU if there is one, else the CPU."""
    compile: bool = False
    """Compile the network with torch.compile; worth it on long runs."""
    workers: int = Field(2, ge=1)
    """Threads that read and prepare scans ahead of the encoder; the bags do not depend on their number."""
    batch_size: int = Field(32, ge=1)
    """Images collected before the encoder runs; the bags do not depend on their number."""
    missing_phases: Literal["keep", "drop"] | Required = "keep"
    """Patients that lack a phase: kept, dropped, or dropped only when a required phase is missing, as in
    { require = ["AP"] }."""
    shared_images: Literal["refuse", "allow"] = "refuse"
    """What to do when two patients have the same image, which is a mix-up and a leak between the folds of stage 2."""
    unreachable: Literal["stop", "leave-out"] = "stop"
    """What to do when a file from which an earlier bag was made is not there any more: a drive that is not mounted is no
    patient without a scan. `leave-out` makes these bags anew, without the scans."""
    store: bool = True
    """Keep the prepared slices in the slice store, so that another encoder or window needs no scan."""
    slices: SlicesSection = SlicesSection()
    masks: MasksSection = MasksSection()
    input: InputSection = InputSection()
    radiomics: RadiomicsSection | None = None
    """Radiomics features of each phase, beside the measures; computed where this table is there, even empty."""
    variant: Mapping[FileSafeName, VariantSection] = {}
    """Several bag sets in one run, by name; without any there is one, in `bags` itself."""

    @model_validator(mode="before")
    @classmethod
    def _embedded_weights_know_small_images(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("weights", EMBEDDED) != EMBEDDED or "card" in values:
            return values
        given = values.get("input", {})
        return (
            {**values, "input": {"size_px": EMBEDDED_SIZE_PX, **given}} if isinstance(given, dict) else values
        )

    @model_validator(mode="after")
    def _planes_are_prepared(self) -> Self:
        if self.input.planes == 3 and self.slices.neighbour_mm is None:
            raise ValueError("input.planes = 3 needs slices.neighbour_mm, the distance between the planes")
        return self

    @model_validator(mode="after")
    def _radiomics_have_a_lesion(self) -> Self:
        if self.radiomics is not None and not self.has_lesions:
            raise ValueError(
                "radiomics need a mask of the tumour: slices.which = 'tumour', or leave [extract.radiomics] out"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_name_layers(self) -> Self:
        if self.layers and self.layer != PENULTIMATE:
            raise ValueError("layer and layers: expected one of them")
        for what, names in (("layers", self.layers), ("regions", self.regions)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: expected each once, found {', '.join(names)}")
        unknown = [name for name in self.regions if name not in REGIONS]
        if unknown:
            raise ValueError(f"regions: expected some of {', '.join(REGIONS)}, found {unknown[0]!r}")
        return self

    @property
    def layers_read(self) -> tuple[str, ...]:
        """The layers whose maps are read, one or several."""
        return self.layers or (self.layer,)

    @property
    def has_lesions(self) -> bool:
        """Whether slices come with a mask of the tumour."""
        return self.slices.which == TUMOUR

    @property
    def regions_read(self) -> tuple[str, ...]:
        """The regions that can be had: without a mask of the tumour, none of those that it draws."""
        left_out = () if self.has_lesions else drawn_regions(self.regions)
        return tuple(region for region in self.regions if region not in left_out)

    @field_validator("weights")
    @classmethod
    def _relative_to_config(cls, weights: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        is_file = Path(weights).suffix in FILE_SUFFIXES
        return str((folder / with_home(weights)).resolve()) if is_file and folder else weights


class ExtractConfig(ExperimentConfig):
    """What stage 1 reads of a configuration."""

    extract: ExtractSection = ExtractSection()

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Names of the variants, in the order of the configuration."""
        return tuple(self.extract.variant)


def load_extract_config(path: Path, overrides: Sequence[str]) -> ExtractConfig:
    """Read a configuration, its variants unread; overrides without a top-level table mean [extract].

    Raises:
        ConfigError: the file or an override does not fit.
    """
    config = load_config(path, ExtractConfig, overrides=full_overrides(overrides))
    return resolved_config(config, f"{path}: extract", str(path))


def full_overrides(overrides: Sequence[str]) -> list[str]:
    """Return overrides with their top-level table, [extract] where there is none, as in encoder=resnet50."""
    return with_table(overrides, ExtractConfig, "extract")


def resolved_config(config: ExtractConfig, place: str, where: str) -> ExtractConfig:
    """Return the configuration with phases by their names, and with what the card of an encoder decides.

    Args:
        config: as read.
        place: of [extract], or of the variant that takes its place, for messages.
        where: the file, for messages.

    Raises:
        ConfigError: a spelling of a phase or the card cannot be used.
    """
    resolved = _with_card(_with_names_resolved(config, place, where), place)
    if not config.variant_names:  # else each variant is resolved, too, and what all share may fit none
        section = resolved.extract
        check_scales(section.input, section.encoder, find_dims(section), place)
    return resolved


def find_dims(section: ExtractSection) -> int:
    """Return 3 where the encoder sees slabs, 2 where it sees slices, or is not known.

    Raises:
        ConfigError: its card cannot be read.
    """
    if section.card is not None:
        return read_encoder_card(section.card).input.dims
    return ARCHITECTURES[section.encoder].dims if section.encoder in ARCHITECTURES else 2


def _with_card(config: ExtractConfig, place: str) -> ExtractConfig:
    """Return the configuration with what the card of an encoder decides.

    Raises:
        ConfigError: there is no such card, its images are not square, or the configuration decides the same.
    """
    section = config.extract
    if section.card is None:
        return config
    card = read_encoder_card(section.card)
    twice: list[str] = [key for key in OF_A_CARD if key in section.model_fields_set]
    twice += [f"input.{key}" for key in INPUT_OF_A_CARD if key in section.input.model_fields_set]
    if twice:
        raise ConfigError(
            f"{place}.{twice[0]}: expected in the card {section.card} only, found here, too; leave it out"
        )
    *planes, rows, columns = to_our_axes(card.input.size, card.input.orientation)
    if rows != columns:
        raise ConfigError(
            f"{place}.card: {section.card}: expected an encoder of as many rows as columns, found size {card.input.size}; "
            "cards of others can be verified, but not run yet"
        )
    given = section.input.scales_mm if "scales_mm" in section.input.model_fields_set else None
    changed = {
        "size_px": rows,
        "reference": ABSOLUTE,
        "scales_mm": scales_of_card(given, section.input.scales_mm, card, place),
    }
    if planes:
        changed["slab_planes"] = planes[0]
    regions = section.regions if "regions" in section.model_fields_set else card.output.regions
    update = {
        "input": section.input.model_copy(update=changed),
        "layers": card.output.layers,
        "regions": regions,
    }
    return config.model_copy(update={"extract": section.model_copy(update=update)})


def _with_names_resolved(config: ExtractConfig, place: str, where: str) -> ExtractConfig:
    """Return the configuration with every spelling of a phase replaced by the name that it stands for.

    Raises:
        ConfigError: a spelling is unknown (the nearest one is named) or ambiguous.
    """
    phases, section = phase_vocabulary(config.cohort), config.extract

    def resolved(names: Sequence[str], key: str) -> tuple[str, ...]:
        return tuple(phases.resolve(name, where=f"{place}.{key}") for name in names)

    propagate_from = resolved(section.masks.propagate_from, "masks.propagate_from")
    missing = section.missing_phases
    if isinstance(missing, Required):
        missing = Required(require=resolved(missing.require, "missing_phases.require"))
    masks = section.masks.model_copy(update={"propagate_from": propagate_from})
    section = section.model_copy(update={"masks": masks, "missing_phases": missing})
    cohort = with_roles_resolved(config.cohort, where=where)
    return config.model_copy(update={"extract": section, "cohort": cohort})
