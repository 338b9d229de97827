"""Folders, an authority and, for the tests that are clients, one server a module."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.server import Server, serve, served_by
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
