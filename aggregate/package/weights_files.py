"""The file of an encoder's weights, looked for where it usually lies, and compared with the SHA-256 in the bags."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import hub

from aggregate.config import AggregateConfig
from aggregate.package.chain_links import Link, State
from pipeline.bags import RANDOM_PREFIX
from pipeline.provenance import sha256_of_file

_WEIGHTS = "bags -> weights"


def weights_links(
    recipes: Mapping[str, Mapping[str, Any]], config: AggregateConfig | None, given: Sequence[Path]
) -> Iterator[Link]:
    """Yield a link for the weights of each bag set.

    Args:
        recipes: bag set -> `weights_name` and `weights_sha256`, among others.
        config: of the run, which may name files; None of a package.
        given: files that the user names.
    """
    for name, recipe in recipes.items():
        weights, sha256 = str(recipe.get("weights_name", "")), str(recipe.get("weights_sha256", ""))
        subject = f"{weights} of {name}"
        if weights.startswith(RANDOM_PREFIX) or not sha256:
            why = "drawn at random, there is no file" if sha256 else "the bags do not tell its SHA-256"
            yield Link(_WEIGHTS, subject, State.UNKNOWN, why=why)
            continue
        places = dict.fromkeys([*given, *_usual_places(weights, config)])
        found = {path: sha256_of_file(path) for path in places if path.is_file()}
        # A file that the user names for this must be it; one that lies about must at least bear the name.
        named = {path: digest for path, digest in found.items() if path.name == weights or path in given}
        if sha256 in found.values():
            yield Link(_WEIGHTS, subject, State.MATCHES)
        elif named:
            path, digest = next(iter(named.items()))
            yield Link(_WEIGHTS, subject, State.DIFFERS, f"SHA-256 {sha256}", f"SHA-256 {digest} ({path})")
        else:
            yield Link(_WEIGHTS, subject, State.UNKNOWN, why="the file is not here; name it with --weights")


def _usual_places(weights: str, config: AggregateConfig | None) -> Iterator[Path]:
    """Yield where a file of this name may lie: as configured, shipped with stage 1, or where torchvision keeps it."""
    extract = config.extract if config is not None and isinstance(config.extract, Mapping) else {}
    for table in (extract, *_tables(extract.get("variant"))):
        if isinstance(table.get("weights"), str):
            yield Path(table["weights"])
    stage_1 = find_spec("extract")
    for place in (stage_1.submodule_search_locations or ()) if stage_1 else ():
        yield Path(place) / "weights" / weights
    yield Path(hub.get_dir()) / "checkpoints" / weights


def _tables(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value.values() if isinstance(one, Mapping)] if isinstance(value, Mapping) else []
