"""`python -m extract.pretrain CONFIG`: pretrain an encoder on images drawn by formula."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from extract.pretrain.card import write_encoder
from extract.pretrain.settings import PretrainConfig
from extract.pretrain.train import train
from pipeline.commands import run_application
from pipeline.config import load_config

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@application.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="TOML configuration, such as configs/pretrain.toml")],
    override: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as steps=500")] = None,
) -> None:
    """Train (or go on training) the encoder of CONFIG and write it with its model card."""
    settings = load_config(config, PretrainConfig, overrides=override or [])
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        run = train(settings, progress)
    typer.echo(f"wrote {write_encoder(settings, run)}")


if __name__ == "__main__":
    run_application(application)
