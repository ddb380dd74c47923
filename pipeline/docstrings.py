"""The texts below the fields of a class, from its source: what a list of parameters or keys says of each."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise


def field_meanings(kind: type, base: type) -> Mapping[str, str]:
    """Read the text below each field of a class and of the classes it inherits from, up to and with `base`.

    Args:
        kind: a subclass of `base` whose source file can be read.
        base: classes above it are not looked at.

    Returns:
        field -> the first paragraph of its text, on one line; fields without a text are absent.
    """
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if issubclass(parent, base):
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
            found |= _below_fields(body)
    return found


def first_paragraph(text: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def _below_fields(body: ast.stmt) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(ast.iter_child_nodes(body)):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str() as meaning)
            ):
                yield name, first_paragraph(inspect.cleandoc(meaning))
