"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from pocketflow_tracing._version import __version__

from . import browse, doctor, export, maintain, programs, tail, ui

__all__ = ["app"]

app = typer.Typer(
    name="pocketflow-tracing",
    help="See what your PocketFlow runs did: every node, attempt, input, output and decision.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: no boxes in a pipe, no types on flags
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(programs.demo)
app.command()(browse.runs)
app.command()(browse.show)
app.command()(tail.tail)
app.command()(ui.ui)
app.command()(export.export)
app.command()(maintain.prune)
app.command()(maintain.sync)
app.command()(doctor.doctor)
# Everything after the script's name is the script's, options included.
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
)(programs.run)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pocketflow-tracing {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """See what your PocketFlow runs did: every node, attempt, input, output and decision."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
