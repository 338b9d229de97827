"""What building shows to be wrong, with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.listeners.pems import make_pair
from turnd.config import ConfigError, PeersSection, load
from turnd.engine.installed import EngineUnavailableError
from turnd.runtime.examine import bad_certificates, examine

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sha256:" + "0" * 64
REALMS = "realms:\n  b:\n    listen: [udp://127.0.0.1:1]\n    auth:\n      "


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    path = folder / "c.yaml"
    path.write_text(text)
    config = load(path, environ)
    try:
        examine(config, path, environ)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{folder}/") for problem in error.problems]
    return []


def test_a_good_one(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    text = f"tls: {{certificate: {certificate}, key: {key}}}\nauth: {{redis: redis://h}}\n"
    assert problems(tmp_path, text) == []
    assert problems(tmp_path, "") == []
    assert problems(tmp_path, f"auth: {{redis: rediss://h, redis_tls_ca: {certificate}}}\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auth:\n  redis: redis://h:1x\n", "c.yaml:2:10: auth.redis: the port"),
        (REALMS + "redis: redis://h:1x\n", "c.yaml:5:14: realms.b.auth.redis: the port"),
        (f"auth:\n  redis: redis://h\n  users: {{a: '{KEY}'}}\n  redis_schema: coturn\n",
         "c.yaml:3:10: auth.users: no password algorithm"),
        ("auth: {redis: rediss://h, redis_tls_ca: none.pem}\n", "c.yaml:1:41: auth.redis_tls_ca: "),
    ],
)  # fmt: skip
def test_places(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_variable(tmp_path: Path) -> None:
    found = problems(tmp_path, "", TURND_AUTH__REDIS="redis://h:1x")
    assert found[0].startswith("TURND_AUTH__REDIS: auth.redis: the port")


def test_every_pair_is_tried(tmp_path: Path) -> None:
    good, ended = make_pair(tmp_path, stem="good"), make_pair(tmp_path, stem="e", days=(-9, -1))
    pairs = [good, ended, (good[0], ended[1]), ("/none", "/none")]
    lines = [f"- {{certificate: {certificate}, key: {key}}}\n" for certificate, key in pairs]
    found = problems(tmp_path, "tls:\n" + "".join(lines))
    assert [text.split(" ")[0] for text in found] == [
        f"c.yaml:{number + 2}:17:" for number in (1, 2, 3)
    ]
    config = load(tmp_path / "c.yaml", {})
    assert [path[1] for path, _ in bad_certificates(config, [ended[0]])] == [2, 3]


def test_cpus_and_an_engine_that_this_host_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require() -> None:
        raise EngineUnavailableError("none here")

    monkeypatch.setattr("turnd.runtime.examine.require_native", require)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    (found,) = problems(tmp_path, "cpu_affinity: [1, 7]\n")
    assert found.startswith("c.yaml:1:15: cpu_affinity: the process may not run on CPU 7, only on")
    (found,) = problems(tmp_path, "engine: native\n")
    assert found.startswith("c.yaml:1:9: engine: none here; make install")
    (found,) = problems(tmp_path, "", TURND_REQUIRE_NATIVE="1")
    assert "TURND_REQUIRE_NATIVE: none here" in found
    assert problems(tmp_path, "engine: portable\n", TURND_REQUIRE_NATIVE="1") == []
    path = tmp_path / "c.yaml"
    path.write_text("cpu_affinity: [7]\n")
    examine(load(path, {}), path, {}, runs=True)  # as at a reload: the engine has its CPUs


def test_peers_that_only_the_policy_understands_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("peers:\n  allow: [10.0.0.0/8]\n")
    peers = PeersSection.model_construct(deny=(), allow=("nonsense",))
    config = load(path, {}).model_copy(update={"peers": peers})
    with pytest.raises(ConfigError, match=r"c.yaml:2:10: peers.allow\[0\]: "):
        examine(config, path, {})


def test_a_web_server_behind_is_not_this_server(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    text = f"tls: {{certificate: {certificate}, key: {key}}}\nlisten: [auto://0.0.0.0]\n"
    for to in ("198.51.100.1:443", "127.0.0.1:444", "'[::1]:443'"):
        assert problems(tmp_path, f"{text}passthrough: {to}\n") == []
    (found,) = problems(tmp_path, f"{text}passthrough: 127.0.0.1:443\n")
    assert found.startswith("c.yaml:3:14: passthrough: 127.0.0.1:443 is this server itself")
