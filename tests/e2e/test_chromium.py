"""Headless Chromium calls itself through the server: one browser for every case."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page, async_playwright

from tests.e2e.calls import allocated
from tests.e2e.front import PAGE as SITE_PAGE
from tests.e2e.server import (
    LIMIT,
    PASSWORD,
    USER,
    Server,
    rest_credentials,
    serve,
    wait_until,
)
from tests.e2e.test_redirect import FIRST_PORTS, SECOND_PORTS, place, redirect, relay
from turnd.system import host_addresses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).with_name("page.html")
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--disable-quic",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def make_home(folder: Path, authority: Authority) -> Path:
    """A HOME whose NSS database trusts the authority: where Chromium looks for additional ones."""
    database = folder / ".pki" / "nssdb"
    database.mkdir(parents=True)
    options = ["-d", f"sql:{database}", "-n", "turnd test authority"]
    subprocess.run(["certutil", "-N", *options[:2], "--empty-password"], check=True, timeout=LIMIT)
    add = ["certutil", "-A", *options, "-t", "C,,", "-i", str(authority.file)]
    subprocess.run(add, check=True, timeout=LIMIT)
    return folder


def chromium() -> str:
    """Where it is installed."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    assert executable, "no Chromium is installed"
    return executable


@asynccontextmanager
async def opened(executable: str, home: Path, url: str) -> AsyncIterator[Page]:
    """A tab of a browser of its own that shows `url`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable,
            headless=True,
            chromium_sandbox=False,
            args=ARGUMENTS,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            timeout=LIMIT * 1000,
        )
        tab = await browser.new_page()
        tab.set_default_timeout(LIMIT * 1000)
        await tab.goto(url)
        yield tab
        await browser.close()


async def show_page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Page]:
    """`page.html`, served on loopback (a secure context: getUserMedia needs one)."""
    home = make_home(tmp_path_factory.mktemp("home"), authority)
    application = web.Application()
    application.router.add_get("/", show_page)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ((_, port),) = runner.addresses
    async with opened(chromium(), home, f"http://127.0.0.1:{port}/") as tab:
        yield tab
    await runner.cleanup()


@dataclass(frozen=True)
class Case:
    url: str
    relay_protocol: str
    credentials: tuple[str, str] = (USER, PASSWORD)

    def ice_server(self, server: Server) -> dict[str, str]:
        url = self.url.format(port=server.port, tls=server.tls_port)
        username, credential = self.credentials
        return {"urls": url, "username": username, "credential": credential}


CASES = {
    "udp": Case("turn:127.0.0.1:{port}?transport=udp", "udp"),
    "udp over ipv6": Case("turn:[::1]:{port}?transport=udp", "udp"),
    "tcp over ipv6": Case("turn:[::1]:{port}?transport=tcp", "tcp"),
    "tcp": Case("turn:127.0.0.1:{port}?transport=tcp", "tcp"),
    "tls": Case("turns:localhost:{tls}?transport=tcp", "tls"),
    "rest": Case("turn:localhost:{port}?transport=udp", "udp", rest_credentials("bob")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_data_channel_and_camera(page: Page, server: Server, case: Case) -> None:
    result: dict[str, Any] = await page.evaluate("server => call(server)", case.ice_server(server))
    assert result["echo"] == "echo of hello"
    assert result["candidateTypes"] == ["relay"]
    for end in (result["caller"], result["callee"]):
        assert (end["localType"], end["remoteType"]) == ("relay", "relay")
        assert end["relayProtocol"] == case.relay_protocol
        assert end["url"] == case.ice_server(server)["urls"]
        assert end["bytesSent"] > 0
        assert end["bytesReceived"] > 0


async def test_a_wrong_password_shows_as_error_401(page: Page, server: Server) -> None:
    wrong = Case(CASES["udp"].url, "udp", (USER, "wrong")).ice_server(server)
    error: dict[str, Any] = await page.evaluate("server => gatherError(server)", wrong)
    assert error["errorCode"] == 401
    assert error["url"] == wrong["urls"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_chromium_goes_to_another_server(page: Page, folder: Path, transport: str) -> None:
    """300 (Try Alternate): both ends of the call are relayed by the server it was sent to.

    Chromium goes to no alternate on loopback, so this is by another address of the host.
    """
    host = next(each for each in host_addresses() if is_for_alternates(each))
    listen = [f"{t}://{each}:{{port}}" for t in ("udp", "tcp") for each in ("127.0.0.1", host)]
    with (
        serve(place(folder, "second"), listen=listen, relay=relay(SECOND_PORTS)) as second,
        serve(
            place(folder, "first"),
            listen=listen,
            relay=relay(FIRST_PORTS),
            redirect=redirect(f"{host}:{second.port}", allocations=1),
        ) as first,
    ):
        wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
        case = Case(f"turn:{host}:{{port}}?transport={transport}", transport)
        async with allocated(first), asyncio.timeout(LIMIT):
            result: dict[str, Any] = await page.evaluate(
                "server => call(server)", case.ice_server(first)
            )
        for end in (result["caller"], result["callee"]):
            assert (end["localType"], end["remoteType"]) == ("relay", "relay")
            assert end["port"] in SECOND_PORTS
            assert end["bytesReceived"] > 0
        assert first.metric('turnd_allocations_total{result="created"}') == 1


async def test_by_tls_chromium_would_not_and_is_served(
    page: Page, folder: Path, authority: Authority
) -> None:
    """It would check the other server's certificate for an address, and has no way to tell us."""
    host = next(each for each in host_addresses() if is_for_alternates(each))
    listen = [f"tls://{each}:{{tls_port}}" for each in ("127.0.0.1", host)]
    tls = authority.issue("two", 30, host).section()
    with (
        serve(place(folder, "second"), listen=listen, relay=relay(SECOND_PORTS), tls=tls) as second,
        serve(
            place(folder, "first"),
            relay=relay(FIRST_PORTS),
            tls=tls,
            redirect=redirect(f"{host}:{second.tls_port}", allocations=1),
        ) as first,
    ):
        wait_until(lambda: bool(first.logged("alternate_up")), "the second lives")
        async with allocated(first), asyncio.timeout(LIMIT):
            result: dict[str, Any] = await page.evaluate(
                "server => call(server)", CASES["tls"].ice_server(first)
            )
        for end in (result["caller"], result["callee"]):
            assert (end["localType"], end["relayProtocol"]) == ("relay", "tls")
            assert end["port"] in FIRST_PORTS


def is_for_alternates(host: str) -> bool:
    return ":" not in host and not ip_address(host).is_loopback


async def test_a_page_and_a_call_by_the_same_port(page: Page, shared: Server) -> None:
    """`auto://` with nginx behind it, under one name: ALPN tells what Chromium is about."""
    case = Case("turns:localhost:{tls}?transport=tcp", "tls")
    result: dict[str, Any] = await page.evaluate("server => call(server)", case.ice_server(shared))
    assert result["echo"] == "echo of hello"
    assert result["caller"]["relayProtocol"] == "tls"
    browser = page.context.browser
    assert browser is not None
    tab = await browser.new_page()
    answer = await tab.goto(f"https://localhost:{shared.port}/")
    assert answer is not None
    assert (answer.status, await answer.text()) == (200, SITE_PAGE)
    await tab.close()
