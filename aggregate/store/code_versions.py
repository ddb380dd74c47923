"""The part of a key that is code: sources as they compute, and the versions of the libraries that they import.

Two sources that differ in comments, docstrings or layout are the same. Imports are followed as the sources say them,
also those inside a function, and never as this process has them loaded.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aggregate
from pipeline.provenance import sha256_of_json, version_of

_OURS = ("aggregate", "pipeline")
_TABLES_OF_KINDS = frozenset(
    {"aggregate.models.plain", "aggregate.models.registry", "aggregate.outcomes.models.kinds"}
)
"""They import every model; what a wrapper has inside is told by its parameters."""
_WITHOUT_NUMBERS = frozenset(
    {
        "aggregate.store.code_versions",
        "pipeline.bag_writing",
        "pipeline.config",
        "pipeline.errors",
        "pipeline.files",
        "pipeline.provenance",
    }
)
"""Messages, writing, hashing and the keys of a configuration, whose values are in the keys that rest on them."""
_CARRIERS = frozenset({"h5py", "pydantic", "pydantic_core", "rich", "safetensors", "zarr"})
"""Libraries that read, check or write numbers and compute none."""
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "skimage": "scikit-image", "sksurv": "scikit-survival"}
"""Name in an import -> name of the installed package, where they differ."""
_COMPUTES_WITH = {"sklearn": ("scipy",), "skimage": ("scipy",)}
"""Name in an import -> packages that do its arithmetic; scikit-learn's logistic regression is solved by SciPy."""


@dataclass(frozen=True)
class Sources:
    """A folder that holds the packages of this project, and what tells the version of an installed package."""

    root: Path
    version_of: Callable[[str], str] = version_of

    def sha256(self, *modules: str) -> str:
        """Return the SHA-256 of modules, all of this project that they import, and the libraries' versions."""
        names = self.closure(*modules)
        code = {name: _parsed(self._path(name)).text for name in names}
        # How Python writes a syntax tree hangs on its version, and so may what it computes.
        versions = {"python": sys.version_info[:2], **self.libraries(*modules)}
        return sha256_of_json([code, versions])

    def closure(self, *modules: str) -> list[str]:
        """Return the names of the modules and of those of this project that they import, through all depths."""
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name not in found and self._is_followed(name):
                found.add(name)
                waiting += _parsed(self._path(name)).imports
        return sorted(found)

    def libraries(self, *modules: str) -> dict[str, str]:
        """Return the version of every library that the closure of the modules imports to compute."""
        found: set[str] = set()
        for name in self.closure(*modules):
            tops = {imported.partition(".")[0] for imported in _parsed(self._path(name)).imports}
            found |= tops - {*_OURS, *_CARRIERS} - sys.stdlib_module_names
        packages = {_DISTRIBUTIONS.get(name, name) for name in found}
        packages |= {package for name in found for package in _COMPUTES_WITH.get(name, ())}
        return {package: self.version_of(package) for package in sorted(packages)}

    def _is_followed(self, name: str) -> bool:
        is_ours = name.partition(".")[0] in _OURS
        return is_ours and name not in _TABLES_OF_KINDS | _WITHOUT_NUMBERS and self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.root.joinpath(*name.split(".")).with_suffix(".py")


@cache
def code_sha256(*modules: str) -> str:
    """Return the SHA-256 of modules of this installation, all of it that they import, and the libraries' versions."""
    return Sources(Path(aggregate.__file__).resolve().parents[1]).sha256(*modules)


@dataclass(frozen=True)
class _Module:
    text: str
    """The syntax tree without strings that stand for themselves: docstrings of modules, functions and fields."""
    imports: tuple[str, ...]
    """What may be modules: of `from a import b`, both `a` and `a.b`."""


@cache
def _parsed(path: Path) -> _Module:
    tree = ast.parse(path.read_bytes())
    imports = tuple(_imported(tree))
    return _Module(ast.dump(_WithoutDocstrings().visit(tree)), imports)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Drop a string that stands for itself."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node
