"""What a paper shows: the models that the configuration declared, and what has to stand above every number."""

from aggregate.report.folder import ResultsFolder
from aggregate.run_folder.run_record import CEILING
from pipeline.bags import RANDOM_BANNER

SYNTHETIC_BANNER = "SYNTHETIC PATIENTS"
METRIC_NAMES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
"""Metrics in which models are compared."""


def declared_models(folder: ResultsFolder) -> tuple[str, ...]:
    """Return the models that are shown class by class: never those that came out best.

    They are the two of the primary comparison; without one, the model to be explained; without that, every model of the
    configuration, in its order.
    """
    primary = folder.settings("aggregate", "statistics", "primary")
    explained = folder.settings("aggregate").get("explained_model")
    wanted = [primary.get("model_a"), primary.get("model_b")] if primary else [explained]
    found = tuple(name for name in wanted if name in folder.ranking)
    return found or tuple(name for name in folder.settings("aggregate", "model") if name in folder.ranking)


def banners(folder: ResultsFolder) -> tuple[str, ...]:
    """Return why the numbers are none of real patients or of a trained encoder; nothing where they are."""
    synthetic = (SYNTHETIC_BANNER,) if folder.run.get(CEILING) else ()
    untrained = any(recipe.get("random_weights") for recipe in folder.recipes.values())
    return (*synthetic, RANDOM_BANNER) if untrained else synthetic
