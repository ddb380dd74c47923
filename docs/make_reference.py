"""Write docs/reference/ from the command lines and the specification of the bag: `python docs/make_reference.py`."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import pipeline.bag_format
from aggregate.commands import application as stage_2
from extract.commands import application as stage_1
from phasemil.commands import application as one_patient

FOLDER = Path(__file__).parent / "reference"
STAGES = {"extract.py": stage_1, "aggregate.py": stage_2}

COMMANDS_HEAD = """\
# Commands

This page is generated from the commands: `python docs/make_reference.py`. `--help` after any of them prints the same. After
`pip install .` they are `phasemil-extract`, `phasemil-aggregate` and, for one patient, `phasemil`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a check of `doctor` failed, or `verify` found something that differs |
| 2 | a mistake in the configuration, the cohort or the call; one line names what was expected, what was found and what to do |
| 130 | stopped by Ctrl-C; the same command again goes on |

A traceback is a bug of phasemil.
"""
BAG_HEAD = """\
# The bag format

This page is generated from the docstring of `pipeline/bag_format.py`: `python docs/make_reference.py`. The
[conformance cases](../../tests/data/bags/conformance/README.md) test another reader; `python extract.py inspect` prints what a bag holds.
"""
HEADER = "| | default | meaning |\n|---|---|---|"


def commands_page() -> str:
    """Return the page of the commands as Markdown."""
    return "\n".join(
        [
            COMMANDS_HEAD,
            *(part for name, stage in STAGES.items() for part in commands(name, stage)),
            *one_command("phasemil", one_patient),
        ]
    )


def bag_page() -> str:
    """Return the page of the bag format: the docstring is Markdown."""
    return f"{BAG_HEAD}\n{inspect.getdoc(pipeline.bag_format)}\n"


def commands(script: str, stage: typer.Typer) -> Iterator[str]:
    """Yield the options of a stage and each of its commands, with headings."""
    group = typer.main.get_command(stage)
    yield f"## {script}\n\n{first_paragraph(group)}\n"
    if told := options(group):
        yield told
    for name, command in group.commands.items():
        yield f"### {script} {name}\n\n{first_paragraph(command)}\n\n```text\n{usage(script, name, command)}\n```\n"
        if told := options(command):
            yield told


def one_command(module: str, application: typer.Typer) -> Iterator[str]:
    """Yield the options of a program of one command, with its heading."""
    command = typer.main.get_command(application)
    # With these a shell learns the words, as at the head of the other programs.
    command.params = [one for one in command.params if not one.name.endswith("_completion")]
    yield f"## {module}\n\n{first_paragraph(command)}\n\n```text\n{usage(f'-m {module}', '', command)}\n```\n"
    yield options(command)


def usage(script: str, name: str, command: Any) -> str:  # noqa: ANN401 - typer's classes are its own or click's, by version
    """Return the line that shows how a command is called."""
    words = ["python", script, *filter(None, [name])]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = written(parameter) + ("..." if parameter.nargs == -1 else "")
        else:
            word = written(parameter)
        words.append(word if parameter.required else f"[{word}]")
    return " ".join(words)


def options(command: Any) -> str:  # noqa: ANN401
    """Return the table of the arguments and options of a command; nothing where there is none."""
    found = [row(parameter) for parameter in command.params if not parameter.hidden]
    return "\n".join([HEADER, *found]) + "\n" if found else ""


def row(parameter: Any) -> str:  # noqa: ANN401
    """Return one row: how it is written, its default, what it means."""
    has_none = is_flag(parameter) or parameter.default is None
    default = "required" if parameter.required else "" if has_none else f"`{parameter.default}`"
    return f"| `{written(parameter)}` | {default} | {parameter.help or ''} |".replace("|  |", "| |")


def written(parameter: Any) -> str:  # noqa: ANN401
    """Return a parameter as it is written in a call."""
    value = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        return str(value)
    return ", ".join(parameter.opts) + ("" if is_flag(parameter) else f" {value}")


def is_flag(parameter: Any) -> bool:  # noqa: ANN401
    """Return whether an option takes no value."""
    return bool(getattr(parameter, "is_flag", False))


def first_paragraph(command: Any) -> str:  # noqa: ANN401
    """Return the first paragraph of the help on one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


PAGES: Mapping[str, Callable[[], str]] = {"commands.md": commands_page, "bag_format.md": bag_page}
"""File -> the function that writes it."""

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
