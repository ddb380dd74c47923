"""What a paper shows: the models that the configuration declared, and what has to stand above every number."""

from aggregate.report.folder import ResultsFolder
from aggregate.report.overview_sections import synthetic as is_synthetic
from aggregate.report.performance_figures import BASELINE, PLAIN
from pipeline.bags import RANDOM_BANNER

SYNTHETIC_BANNER = "SYNTHETIC PATIENTS"


def declared_models(folder: ResultsFolder) -> tuple[str, ...]:
    """Return the models that are shown class by class: those of the report's figures, never one that came out best.

    Without a declared model they are all those of the configuration, in its order.
    """
    if folder.shown and folder.shown.is_declared:
        return folder.compared
    return tuple(name for name in folder.settings("aggregate", "model") if name in folder.ranking)


def name_of(folder: ResultsFolder, model: str) -> str:
    """Return a model as the report names it, with what it sees if that is less than the images."""
    return f"{model}{PLAIN if model in folder.plain else BASELINE if model in folder.baselines else ''}"


def banners(folder: ResultsFolder) -> tuple[str, ...]:
    """Return why the numbers are none of real patients or of a trained encoder; nothing where they are."""
    synthetic = (SYNTHETIC_BANNER,) if is_synthetic(folder) else ()
    untrained = all(recipe.get("random_weights") for recipe in folder.recipes.values())
    return (*synthetic, RANDOM_BANNER) if untrained else synthetic
