"""`stillhouse webhook`: addresses that the server tells of events.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json

app = typer.Typer(no_args_is_help=True, help="Addresses that the server tells of events.")
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id, whk_...")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="https://... of the public internet.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="state, incumbent, ...; again for more; else all.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Events of this study alone.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Have an address told of events; its secret, which signs them, is printed once."""
    with Client(server) as client:
        made = client.webhooks.create(url, kind or (), study)
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{made['id']}, secret {made['secret']}")


@app.command("list")
def list_webhooks(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every webhook ever made, newest first."""
    with Client(server) as client:
        hooks = client.webhooks.list()
    if as_json:
        print_json(list(hooks))
        return
    table = Table("webhook", "url", "kinds", "study", "ended", box=None, padding=(0, 2))
    for hook in hooks:
        kinds = ", ".join(hook["kinds"]) or "all"
        row = hook["id"], hook["url"], kinds, hook["study"] or "all", hook["ended_at"] or ""
        table.add_row(*map(str, row))
    Console().print(table)


@app.command()
def deliveries(
    webhook_id: WebhookId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """List what a webhook was told and what became of that, newest first."""
    with Client(server) as client:
        told = client.webhooks.deliveries(webhook_id)
    if as_json:
        print_json(list(told))
        return
    table = Table("event", "state", "tries", "status", "error", box=None, padding=(0, 2))
    for one in told:
        row = one["event"], one["state"], one["n_tries"], one["status"] or "", one["error"] or ""
        table.add_row(*map(str, row))
    Console().print(table)


@app.command()
def end(webhook_id: WebhookId, server: Server = DEFAULT_SERVER) -> None:
    """Tell a webhook nothing more."""
    with Client(server) as client:
        client.webhooks.end(webhook_id)
    typer.echo(f"{webhook_id} is told nothing more")
