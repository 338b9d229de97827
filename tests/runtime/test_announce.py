"""What a server says when it has started."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.server import free_port
from tests.runtime.servers import BOB, Running, running
from tests.waiting import eventually
from turnd.client.client import TurnClient

if TYPE_CHECKING:
    from pathlib import Path

CONSOLE = {"format": "console"}


async def printed(run: Running) -> dict[str, Any]:
    """The RTCConfiguration of the block."""
    await eventually(lambda: "})\n" in run.text)
    block = run.text.split("new RTCPeerConnection(")[1].split("\n})")[0] + "\n}"
    found: dict[str, Any] = json.loads(block)
    return found["iceServers"][0]  # type: ignore[no-any-return] # JSON


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_the_block_s_credentials_work(tmp_path: Path, host: str) -> None:
    listen = [f"udp://{host}:0", f"tcp://{host}:0"]
    async with running(tmp_path, auth=None, log=CONSOLE, listen=listen) as run:
        server = await printed(run)
        assert len(server["urls"]) == 2
        for url in server["urls"]:
            async with TurnClient(url, server["username"], server["credential"]) as client:
                assert (await client.allocate()).relayed[0].host == "127.0.0.1"


async def test_only_endpoints_of_the_realm_are_in_the_block(tmp_path: Path) -> None:
    realms = {"b": {"listen": ["udp://127.0.0.2:0"], "auth": {"users": dict([BOB])}}}
    async with running(tmp_path, auth=None, log=CONSOLE, realms=realms) as run:
        server = await printed(run)
        assert [url for url in server["urls"] if "127.0.0.2" in url] == []


async def test_endpoints_for_nat_discovery_are_not_in_the_block(tmp_path: Path) -> None:
    primary, alternate = free_port(), free_port()
    stun = {"rfc5780": ["127.0.0.1", "127.0.0.2"], "alternate_port": alternate}
    listen = [f"udp://127.0.0.1:{primary}"]
    async with running(tmp_path, auth=None, log=CONSOLE, listen=listen, stun=stun) as run:
        server = await printed(run)
        assert server["urls"] == [f"turn:127.0.0.1:{primary}?transport=udp"]
        assert len(run.server.endpoints.bound()) == 4


async def test_json_logs_stay_json(tmp_path: Path) -> None:
    async with running(tmp_path, auth=None) as run:
        await eventually(lambda: run.logged("own_secret_in_use"))
        assert all(json.loads(line) for line in run.text.splitlines())
        secret = (tmp_path / "state/secret").read_text().strip()
        assert run.logged("own_secret_in_use")[0]["file"] == str(tmp_path / "state/secret")
        assert secret not in run.text


async def test_nothing_is_printed_where_there_are_users(tmp_path: Path) -> None:
    async with running(tmp_path, log=CONSOLE) as run:
        await eventually(lambda: "event=started" in run.text)
        assert "RTCPeerConnection" not in run.text
        assert "own_secret" not in run.text
        assert not (tmp_path / "state").exists()


async def test_the_first_line(tmp_path: Path) -> None:
    relay = {"addresses": ["127.0.0.1=203.0.113.7", "::1"], "ports": "20000-30000"}
    async with running(tmp_path, relay=relay) as run:
        line = (await eventually(lambda: run.logged("started")))[0]
        assert (line["engine"], line["user"]) == ("portable", "tester")
        assert line["reason"]
        assert line["listen"] == [
            f"udp://127.0.0.1:{run.port('udp')}",
            f"tcp://127.0.0.1:{run.port('tcp')}",
        ]
        assert line["relay"] == [
            "127.0.0.1=203.0.113.7 ports 20000-30000",
            "::1 ports 20000-30000",
        ]
        assert line["config"] == str(tmp_path / "config.yaml")


async def test_what_the_engine_could_do_better_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, sockets={"receive_buffer": 1 << 30}) as run:
        await eventually(lambda: run.logged("engine_note"))
        (told,) = run.logged("engine_note")
        assert told["note"].endswith("raise net.core.rmem_max")


async def test_a_relay_address_of_another_host(tmp_path: Path) -> None:
    async with running(tmp_path, relay={"addresses": ["127.0.0.1", "198.51.100.1"]}) as run:
        warned = await eventually(lambda: run.logged("relay_address_not_here"))
        assert [line["address"] for line in warned] == ["198.51.100.1"]
        assert "bound=announced" in warned[0]["reason"]


async def test_a_host_without_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnd.system._source_address", lambda *_: None)
    async with running(tmp_path, relay={"addresses": ["auto"]}) as run:
        await eventually(lambda: run.logged("relays_on_loopback_only"))
    async with running(tmp_path, relay={"addresses": ["127.0.0.1"]}) as run:
        await eventually(lambda: run.logged("started"))
        assert run.logged("relays_on_loopback_only") == []
