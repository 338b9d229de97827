"""One authority and one server a module, for the tests that are clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pair = authority.issue("localhost")
    with serve(tmp_path_factory.mktemp("server"), tls=pair.section()) as running:
        yield running
