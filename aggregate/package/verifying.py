"""`aggregate.py verify`: does the chain behind a results folder or a package still hold?"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from aggregate.package.chain_links import Link, State
from aggregate.package.chain_of_package import chain_of_package
from aggregate.package.chain_of_results import chain_of_results
from aggregate.package.package_files import RECORD, is_package
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from aggregate.run_folder.run_record import results_in
from pipeline.errors import ResultsError


@dataclass(frozen=True)
class VerifyChoices:
    """What the user says of a verification.

    Attributes:
        weights: files that may be those of the encoder.
        images: of results, whether the files of the scans are read.
        sha256: of a package, what `freeze` printed; empty where it is not known.
        results: of a package, the folder of its run; None where it is not here.
        run_code: of a package, whether its Python files may run.
    """

    weights: Sequence[Path] = ()
    images: bool = True
    sha256: str = ""
    results: Path | None = None
    run_code: bool = False


def verify(folder: Path, choices: VerifyChoices, *, as_json: bool, console: Console) -> bool:
    """Print every link of the chain behind a folder, as it is found; return whether none differs.

    Raises:
        ResultsError: the folder is neither a results folder nor a package.
    """
    links = []
    for link in _links(folder, choices):
        links.append(link)
        if not as_json:
            console.print(str(link), soft_wrap=True, highlight=False)
    counts = Counter(link.state for link in links)
    if as_json:
        content = {
            "folder": str(folder),
            "is_whole": not counts[State.DIFFERS],
            "links": [asdict(link) for link in links],
        }
        console.print(json.dumps(content, indent=1), soft_wrap=True, highlight=False)
    else:
        told = ", ".join(f"{counts[state]} {'match' if state is State.MATCHES else state}" for state in State)
        console.print(f"{len(links)} links: {told}", soft_wrap=True, highlight=False)
    return not counts[State.DIFFERS]


def _links(folder: Path, choices: VerifyChoices) -> Iterator[Link]:
    if is_package(folder) or (folder / RECORD).is_file():
        yield from chain_of_package(
            folder,
            sha256=choices.sha256,
            results=choices.results,
            weights=choices.weights,
            run_code=choices.run_code,
        )
        return
    results = results_in(folder)
    if not (results / RUN_RECORD).is_file():
        raise ResultsError(
            f"{folder}: expected the folder of a finished `aggregate.py run` ({RUN_RECORD}) or a package ({RECORD}), found neither"
        )
    yield from chain_of_results(results, choices.weights, images=choices.images)
