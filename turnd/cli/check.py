"""`turnd check`."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from turnd.auth.rest import rest_password
from turnd.cli.credentials import rest_username
from turnd.cli.errors import usage
from turnd.cli.local_check import check_machine
from turnd.cli.output import json_option, print_json, printable
from turnd.cli.realms import find_realm
from turnd.cli.secrets_at_hand import first_secret, read_password, read_secret_file
from turnd.cli.settings import FILE, load_config
from turnd.client.check import check
from turnd.client.check_settings import CheckSettings
from turnd.client.echo import Probes
from turnd.client.report import Report, Status, Step
from turnd.client.uri import Server, Target, Transport, parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

LIFE = 3600
"""Seconds that credentials made for a check are good for."""
USUAL = (Transport.UDP, Transport.TCP, Transport.TLS)
"""What is checked where nobody asks for less or more: few servers have DTLS."""
MARKS = {
    Status.OK: ("ok", "green"),
    Status.WARNING: ("warn", "yellow"),
    Status.FAILED: ("FAIL", "red"),
    Status.SKIPPED: ("skip", "blue"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    host: str | None
    local: bool
    transports: tuple[str, ...]
    port: int | None
    tls_port: int | None
    user: str | None
    password_stdin: bool
    secret_file: str | None
    config: str | None
    ca: str | None
    server_name: str | None
    count: int
    size: int
    as_json: bool


@click.command("check")
@click.argument("host", required=False)
@click.option("--local", is_flag=True, help="Check this machine and its config instead.")
@click.option(
    "--transport",
    "transports",
    type=click.Choice([str(each) for each in Transport]),
    multiple=True,
    help="Only by this one; may be repeated. [default: all but dtls]",
)
@click.option("--port", type=click.IntRange(1, 65535), help="For UDP and TCP. [default: 3478]")
@click.option("--tls-port", type=click.IntRange(1, 65535), help="For TLS and DTLS. [default: 5349]")
@click.option("--user", help="The user; with --secret-file or --config, a label only.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--secret-file", metavar="FILE", type=FILE, help="Make credentials from this secret.")
@click.option(
    "--config",
    metavar="FILE",
    type=FILE,
    help="Make credentials from this config file; with --local, the file to check.",
)
@click.option("--ca", metavar="FILE", type=FILE, help="PEM file of the authority to trust.")
@click.option("--server-name", help="The name that TLS and DTLS ask for. [default: HOST]")
@click.option("--count", type=click.IntRange(2, 10000), default=20, help="Echoes. [default: 20]")
@click.option(
    "--size", type=click.IntRange(12, 1200), default=160, help="Bytes of each. [default: 160]"
)
@json_option
def command(**options: object) -> int:
    """Check a server end to end, as its clients see it.

    HOST is a name, an address, host:port, or a URI such as turns:turn.example.org:443. By each
    transport: Binding, an Allocate without credentials (must be 401), Allocate, a permission, and
    echoes through the relay with loss and round-trip time; with TLS and DTLS the certificate and
    its days. DTLS only where it is asked for: turns:turn.example.org?transport=udp. Where the
    server sends clients to another one (300), that one is checked as well.

    Credentials come from --user with its password, from a secret (--secret-file), or from the
    first secret of a config file (--config). Without any, only what needs none is checked.

    Exit status: 0 when nothing failed, 1 when something did.
    """
    given = Options(**options)  # type: ignore[arg-type] # click has converted every value
    if given.local:
        if given.host is not None:
            raise usage("turnd check: either HOST or --local")
        return show_steps(check_machine(given.config), given.as_json)
    if given.host is None:
        raise usage("turnd check: HOST is missing (or --local)")
    servers = servers_of(given)
    reports = asyncio.run(check(servers, settings_of(given)))
    return show_reports(reports, given.as_json)


def servers_of(given: Options) -> list[Server]:
    """Which transports at which ports.

    Raises:
        CommandError: no such host, or a transport that contradicts it.
    """
    try:
        target = parse_target(given.host or "")
    except ValueError as error:
        raise usage(f"turnd check: {error}") from None
    wanted = [Transport(each) for each in given.transports]
    if target.transport is not None:
        if wanted and wanted != [target.transport]:
            raise usage(f"turnd check: {given.host} is {target.transport}, --transport is not")
        wanted = [target.transport]
    return [_server(target, each, given) for each in wanted or USUAL]


def _server(target: Target, transport: Transport, given: Options) -> Server:
    if transport.is_secured:
        named = target.port if target.transport is transport else None
        port = given.tls_port or named or transport.default_port
        return target.by(transport, port)
    return target.by(transport, given.port)


def settings_of(given: Options) -> CheckSettings:
    """Credentials and the rest.

    Raises:
        CommandError: credentials that contradict each other or cannot be read.
    """
    if given.secret_file and given.password_stdin:
        raise usage("turnd check: either --password-stdin or --secret-file")
    settings = CheckSettings(
        authorities=given.ca,
        server_name=given.server_name,
        probes=Probes(count=given.count, size=given.size),
    )
    if given.secret_file is not None:
        secret = read_secret_file(given.secret_file)
        return _with_secret(settings, secret, given.user or "check", ":")
    if given.user is not None and (given.password_stdin or given.config is None):
        password = read_password(
            "Password",
            from_stdin=given.password_stdin,
            confirm=False,
            option="--password-stdin",
        )
        return replace(settings, username=given.user, password=password)
    if given.config is not None:
        config = load_config(given.config)
        realm = find_realm(config, None)
        name = given.user or "check"
        if name in realm.auth.users:
            return _with_user(settings, name, realm.auth.users[name].get_secret_value())
        secret = first_secret(config, realm)
        return _with_secret(settings, secret, name, realm.auth.separator)
    return settings


def _with_user(settings: CheckSettings, name: str, password: str) -> CheckSettings:
    if password.startswith(("md5:", "sha256:")):
        raise usage(
            f"turnd check: the config has only a key of '{name}': give the password on "
            "--password-stdin"
        )
    return replace(settings, username=name, password=password)


def _with_secret(settings: CheckSettings, secret: str, user: str, separator: str) -> CheckSettings:
    username = rest_username(user, int(time.time()) + LIFE, separator)
    return replace(settings, username=username, password=rest_password(secret, username))


def show_reports(reports: Sequence[Report], as_json: bool) -> int:
    """Print what was found by each transport; the exit status."""
    ok = all(report.ok for report in reports)
    if as_json:
        print_json({"ok": ok, "transports": [report.as_json() for report in reports]})
        return 0 if ok else 1
    for report in reports:
        click.echo(f"{report.server}")
        _print_steps(report.steps)
    return 0 if ok else 1


def show_steps(steps: Sequence[Step], as_json: bool) -> int:
    """Print what was found on this machine; the exit status."""
    ok = all(step.status is not Status.FAILED for step in steps)
    if as_json:
        print_json({"ok": ok, "steps": [step.as_json() for step in steps]})
    else:
        _print_steps(steps)
    return 0 if ok else 1


def _print_steps(steps: Sequence[Step]) -> None:
    told = ""
    for step in steps:
        mark, colour = MARKS[step.status]
        shown = click.style(f"{mark:<4}", fg=colour) if sys.stdout.isatty() else f"{mark:<4}"
        click.echo(f"  {shown}  {step.name:<14} {printable(step.text)}")
        if step.fix and step.fix != told:
            click.echo(f"        {'':<14} {step.fix}")
        told = step.fix
