"""Folders, an authority and, for the tests that are clients, one server a module."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.documented import snippet
from tests.e2e.front import BIG, PAGE, SITE, nginx
from tests.e2e.server import Server, free_port, serve, served_by
from tests.engine.installed import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def folders() -> Iterator[Path]:
    """Where servers live: everybody may enter, because a server started as root gives root up."""
    folder = Path(tempfile.mkdtemp(prefix="turnd-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(folders: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folders))


@pytest.fixture(scope="session")
def authority(folders: Path) -> Authority:
    (folders / "authority").mkdir()
    return Authority(folders / "authority")


@pytest.fixture(scope="module", params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """What relays: every test meets every engine."""
    with served_by(request.param):
        yield request.param


@pytest.fixture(scope="module")
def server(authority: Authority, folders: Path, engine: str) -> Iterator[Server]:
    pair = authority.issue("localhost")
    with serve(Path(tempfile.mkdtemp(dir=folders)), tls=pair.section()) as running:
        yield running


@pytest.fixture(scope="module")
def website(folders: Path, authority: Authority) -> Path:
    """Files for nginx: a page, a large one, and a certificate for the site."""
    folder = folders / "website"
    if not folder.exists():
        folder.mkdir()
        (folder / "html").mkdir()
        (folder / "html" / "index.html").write_text(PAGE)
        (folder / "html" / "big").write_bytes(os.urandom(BIG))
    authority.issue("www", 30, SITE)
    return folder


@pytest.fixture(scope="module")
def shared(authority: Authority, folders: Path, engine: str, website: Path) -> Iterator[Server]:
    """`auto://` on both families, with nginx behind it that is told who its clients are."""
    behind = free_port()
    pair, site = authority.issue("localhost"), authority.folder / "www"
    changes = {
        "127.0.0.1:8443": f"127.0.0.1:{behind}",
        "www.pem": f"{site}.pem",
        "www.key": f"{site}.key",
        "/var/www/html": f"{website}/html",
        "root ": 'add_header X-Client "$remote_addr:$proxy_protocol_port"; root ',
    }
    with (
        nginx(website, snippet("port-443.md", "nginx", changes), behind),
        serve(
            folders / f"shared-{engine}",
            listen=["auto://127.0.0.1:{port}", "auto://[::1]:{port}"],
            tls=pair.section(),
            passthrough={"to": f"127.0.0.1:{behind}", "proxy_protocol": True},
        ) as server,
    ):
        yield replace(server, tls_port=server.port)
