"""What nobody asked to be shown is in no file of the results: a cohort table may hold names and dates of birth."""

import zipfile
from pathlib import Path

from tests.aggregate.conftest import SMALL, command

SECRETS = ("Erika Mustermann", "1957-03-12")


def with_columns(table: Path) -> None:
    """Add a name, a date of birth and a stage to every row."""
    header, *rows = table.read_text().splitlines()
    secret = [f"{row},{SECRETS[0]},{SECRETS[1]},{'I' if row < 'p004' else 'II'}" for row in rows]
    table.write_text("\n".join([f"{header},name,born,stage", *secret]) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of the results but those of stage 1, and what is inside workbooks and documents."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file() and "bags" not in path.parts):
        found[path.name] = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def test_columns_that_nobody_configured_stay_out_of_every_file(experiment_folder):
    toml = experiment_folder(SMALL)
    with_columns(toml.parent / "cohort.csv")
    said = command("run", toml, "described=['stage']")
    assert (
        "columns of the cohort table that stay out of the results: age, name, born; [aggregate] described"
        in said
    )
    files = contents(toml.parent / "out")
    assert b"stage" in files["cohort.csv"].splitlines()[0]
    for name, content in files.items():
        assert not [secret for secret in SECRETS if secret.encode() in content], name
