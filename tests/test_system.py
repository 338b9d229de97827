from __future__ import annotations

import errno
import json
import os
import pwd
import resource
import socket
import subprocess
import sys
from ast import literal_eval
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.namespaces import new_namespace
from tests.waiting import LIMIT
from turnd import system

if TYPE_CHECKING:
    from tests.e2e.namespaces import Namespace


@pytest.fixture(autouse=True)
def no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS",
        "LISTEN_FDNAMES", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME",
        "XDG_RUNTIME_DIR",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def in_child(code: str, **environment: str) -> Any:
    """Run code in a process of its own; returns what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import json, os\nfrom turnd import system\n" + code],
        check=True,
        capture_output=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


class TestNotify:
    def test_a_state_reaches_the_service_manager(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            assert system.sd_notify("READY=1\nSTATUS=läuft")
            assert manager.recv(100) == "READY=1\nSTATUS=läuft".encode()

    def test_also_by_an_abstract_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = f"turnd-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
            assert system.sd_notify("WATCHDOG=1")
            assert manager.recv(100) == b"WATCHDOG=1"

    @pytest.mark.parametrize("path", ["", "relative", "/nowhere/at/all"])
    def test_without_a_service_manager_nothing_happens(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert not system.sd_notify("READY=1")

    def test_a_service_manager_that_hangs_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            told = [system.sd_notify("WATCHDOG=1") for _ in range(5000)]
        assert told[0]
        assert not told[-1]


class TestWatchdog:
    @pytest.mark.parametrize(
        ("allowed", "seconds"), [("30000000", 15.0), ("", None), ("0", None), ("-5", None)]
    )
    def test_half_of_what_is_allowed(
        self, allowed: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", allowed)
        assert system.watchdog_interval() == seconds

    def test_only_for_the_process_that_is_meant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        assert system.watchdog_interval() == 15.0
        monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
        assert system.watchdog_interval() is None


class TestListenFds:
    def announce(self, monkeypatch: pytest.MonkeyPatch, count: str, names: str) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", count)
        monkeypatch.setenv("LISTEN_FDNAMES", names)

    def place(self, monkeypatch: pytest.MonkeyPatch, sockets: list[socket.socket]) -> int:
        """Pretend that inherited descriptors begin where these sockets are."""
        lowest = max(sock.fileno() for sock in sockets) + 100
        for index, sock in enumerate(sockets):
            os.dup2(sock.fileno(), lowest + index)
            sock.close()
        monkeypatch.setattr(system, "_FIRST_INHERITED", lowest)
        return lowest

    def test_sockets_are_described(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = socket.create_server(("::1", 0), family=socket.AF_INET6)
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        ports = stream.getsockname()[1], datagram.getsockname()[1]
        first = self.place(monkeypatch, [stream, datagram])
        self.announce(monkeypatch, "2", "tls:")
        try:
            assert system.listen_fds() == [
                system.InheritedSocket(first, "tls", socket.SOCK_STREAM, "::1", ports[0]),
                system.InheritedSocket(
                    first + 1, "unknown", socket.SOCK_DGRAM, "127.0.0.1", ports[1]
                ),
            ]
            assert not os.get_inheritable(first)
            assert "LISTEN_FDS" not in os.environ
            assert system.listen_fds() == []
        finally:
            os.close(first)
            os.close(first + 1)

    @pytest.mark.parametrize("v6only", [False, True])
    def test_whether_one_of_ipv6_takes_ipv4_too(
        self, v6only: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wildcard = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        wildcard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        wildcard.bind(("::", 0))
        first = self.place(monkeypatch, [wildcard])
        self.announce(monkeypatch, "1", "")
        try:
            assert [each.takes_ipv4 for each in system.listen_fds()] == [not v6only]
        finally:
            os.close(first)

    def test_what_is_no_ip_socket_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = self.place(monkeypatch, [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)])
        self.announce(monkeypatch, "1", "")
        try:
            assert system.listen_fds() == []
        finally:
            os.close(first)

    def test_meant_for_another_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.announce(monkeypatch, "1", "")
        monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
        assert system.listen_fds() == []

    @pytest.mark.parametrize("count", ["", "many", "-1"])
    def test_no_count(self, count: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.announce(monkeypatch, count, "")
        assert system.listen_fds() == []

    def test_a_descriptor_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.announce(monkeypatch, "1", "")
        monkeypatch.setattr(system, "_FIRST_INHERITED", 1023)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says which
            system.listen_fds()
        assert caught.value.errno == errno.EBADF


class TestDropPrivileges:
    def test_in_a_real_process_nothing_of_root_is_left(self) -> None:
        found = in_child(
            "who = system.drop_privileges('no-such-user')\n"
            "try:\n    os.setuid(0); back = True\n"
            "except PermissionError:\n    back = False\n"
            "lines = open('/proc/self/status').read().splitlines()\n"
            "status = dict(line.split(':\\t', 1) for line in lines)\n"
            "print(json.dumps([who.user, who.uid, os.getresuid(), os.getgroups(), back,\n"
            "    [status[c] for c in ('CapPrm', 'CapEff', 'CapAmb')], status['NoNewPrivs']]))"
        )
        user, uid, ids, groups, back, capabilities, _ = found
        assert uid != 0
        assert ids == [uid, uid, uid]
        assert user == pwd.getpwuid(uid).pw_name
        assert not back
        assert [int(mask, 16) for mask in capabilities] == [0, 0, 0]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            assert (user, groups, found[6]) == ("nobody", [nobody.pw_gid], "1")
        else:
            assert uid == os.geteuid()

    def calls(self, monkeypatch: pytest.MonkeyPatch, *users: str) -> list[tuple[str, Any]]:
        """Pretend to be root where only these users exist; returns what is asked of the system."""
        made: list[tuple[str, Any]] = []

        def find(name: str) -> pwd.struct_passwd:
            if name not in users:
                raise KeyError(name)
            uid = 0 if name == "root" else 1001
            return pwd.struct_passwd((name, "x", uid, 1002, "", "/", "/bin/false"))

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(pwd, "getpwnam", find)
        monkeypatch.setattr(os, "getgrouplist", lambda _, gid: [gid, 1003])
        for name in ("setgroups", "setresgid", "setresuid"):
            monkeypatch.setattr(os, name, lambda *args, name=name: made.append((name, args)))
        monkeypatch.setattr(system, "_gain_nothing_by_exec", lambda: made.append(("nnp", ())))
        monkeypatch.setattr(system, "_capabilities", lambda: 0)
        return made

    def test_groups_go_before_the_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.calls(monkeypatch, "turnd", "nobody")
        assert system.drop_privileges("turnd") == system.Identity("turnd", 1001, 1002)
        assert made == [
            ("setgroups", ([1002, 1003],)),
            ("setresgid", (1002, 1002, 1002)),
            ("setresuid", (1001, 1001, 1001)),
            ("nnp", ()),
        ]

    def test_the_fallback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls(monkeypatch, "nobody")
        assert system.drop_privileges("turnd").user == "nobody"

    def test_nobody_to_become(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.calls(monkeypatch)
        with pytest.raises(LookupError, match="neither the user 'turnd' nor 'nobody'"):
            system.drop_privileges("turnd")
        assert made == []

    def test_root_is_nobody_to_become(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.calls(monkeypatch, "root")
        with pytest.raises(PermissionError, match="is root"):
            system.drop_privileges("root")
        assert made == []

    def test_a_container_that_forbids_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls(monkeypatch, "turnd")

        def refuse(*_: int) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "setresuid", refuse)
        with pytest.raises(PermissionError, match="CAP_SETUID"):
            system.drop_privileges("turnd")

    def test_capabilities_that_stay_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls(monkeypatch, "turnd")
        monkeypatch.setattr(system, "_capabilities", lambda: 1 << 10)
        with pytest.raises(PermissionError, match="securebits"):
            system.drop_privileges("turnd")

    def test_who_is_not_root_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.calls(monkeypatch, "turnd")
        monkeypatch.setattr(os, "geteuid", lambda: 4242424)
        who = system.drop_privileges("turnd")
        assert who == system.Identity("4242424", 4242424, os.getegid())
        assert made == []


class TestDescriptors:
    def test_up_to_the_hard_limit(self) -> None:
        assert in_child(
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))\n"
            "told = system.raise_descriptor_limit()\n"
            "print(json.dumps([told, resource.getrlimit(resource.RLIMIT_NOFILE)]))"
        ) == [256, [256, 256]]

    def test_already_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (512, 512))
        monkeypatch.setattr(resource, "setrlimit", pytest.fail)
        assert system.raise_descriptor_limit() == 512

    def test_without_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unlimited = resource.RLIM_INFINITY
        monkeypatch.setattr(resource, "getrlimit", lambda _: (unlimited, unlimited))
        monkeypatch.setattr(resource, "setrlimit", pytest.fail)
        assert system.raise_descriptor_limit() == 1 << 20

    def test_an_unlimited_hard_limit_is_used_with_reason(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
        monkeypatch.setattr(resource, "setrlimit", lambda _, pair: asked.append(pair))
        assert system.raise_descriptor_limit() == 1 << 20
        assert asked == [(1 << 20, resource.RLIM_INFINITY)]

    def test_a_sandbox_that_forbids_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 256))
        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert system.raise_descriptor_limit() == 64


class TestDirectories:
    @pytest.mark.parametrize(
        ("uid", "environment", "state", "runtime"),
        [
            (0, {}, "/var/lib/turnd", "/run/turnd"),
            (1, {"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}, "/s", "/r"),
            (0, {"STATE_DIRECTORY": "/s:/t", "RUNTIME_DIRECTORY": "/r:/q"}, "/s", "/r"),
            (1, {"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/y"}, "/x/turnd", "/y/turnd"),
            (1, {}, "/home/u/.local/state/turnd", "/home/u/.local/state/turnd/run"),
            (
                1,
                {"XDG_STATE_HOME": "x", "XDG_RUNTIME_DIR": "y", "STATE_DIRECTORY": "z"},
                "/home/u/.local/state/turnd",
                "/home/u/.local/state/turnd/run",
            ),
        ],
    )
    def test_where(
        self,
        uid: int,
        environment: dict[str, str],
        state: str,
        runtime: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setenv("HOME", "/home/u")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert system.state_directory() == Path(state)
        assert system.runtime_directory() == Path(runtime)

    def test_made_for_the_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b"
        system.make_directory(path)
        system.make_directory(path)
        assert path.stat().st_mode & 0o777 == 0o700

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
        """What root has given away, by name, and to whom."""
        calls: list[tuple[str, int, int]] = []

        def give(descriptor: int, uid: int, gid: int) -> None:
            calls.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, uid, gid))

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "fchown", give)
        return calls

    def test_root_gives_it_away(self, tmp_path: Path, given: list[tuple[str, int, int]]) -> None:
        nobody = pwd.getpwnam("nobody")
        system.make_directory(tmp_path / "a", owner="nobody", fallback="no-such-user")
        system.make_directory(tmp_path / "b", owner="no-such-user", fallback="nobody")
        system.make_directory(tmp_path / "c", owner="no-such-user", fallback="nor-this")
        system.make_directory(tmp_path / "d")
        who = (nobody.pw_uid, nobody.pw_gid)
        assert given == [("a", *who), ("b", *who)]
        assert (tmp_path / "c").is_dir()

    def test_root_keeps_a_folder_of_its_own_that_is_in_use(
        self, tmp_path: Path, given: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "etc" / "ssh").mkdir(parents=True)
        (tmp_path / "disk" / "lost+found").mkdir(parents=True)
        for owner in (0, 1000):  # 1000: a user whom the server was before
            with monkeypatch.context() as patch:
                patch.setattr(os, "fstat", lambda _, uid=owner: SimpleNamespace(st_uid=uid))
                system.make_directory(tmp_path / "etc", owner="nobody")
                system.make_directory(tmp_path / "disk", owner="nobody")
        assert [name for name, *_ in given] == ["disk", "etc", "disk"]

    def test_root_is_not_led_by_another_users_link(
        self, tmp_path: Path, given: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        monkeypatch.setattr(Path, "lstat", lambda _: SimpleNamespace(st_uid=1000))
        with pytest.raises(OSError, match="Not a directory"):
            system.make_directory(tmp_path / "link", owner="nobody")
        assert given == []
        monkeypatch.setattr(Path, "lstat", lambda _: SimpleNamespace(st_uid=0))
        system.make_directory(tmp_path / "link", owner="nobody")
        assert [name for name, *_ in given] == ["elsewhere"]

    def test_root_gives_away_plain_files_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "fchown", lambda _, *who: given.append(who))
        nobody = pwd.getpwnam("nobody")
        (tmp_path / "secret").write_text("north")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        system.give_file(tmp_path / "secret", "nobody")
        assert given == []
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        system.give_file(tmp_path / "none", "nobody")
        system.give_file(tmp_path / "secret", "no-such-user", fallback="nor-this")
        (tmp_path / "link").symlink_to(tmp_path / "secret")
        with pytest.raises(OSError, match="symbolic links"):
            system.give_file(tmp_path / "link", "nobody")
        assert given == []
        system.give_file(tmp_path / "secret", "no-such-user", fallback="nobody")
        assert given == [(nobody.pw_uid, nobody.pw_gid)]
        os.link(tmp_path / "secret", tmp_path / "other")
        system.give_file(tmp_path / "secret", "nobody")
        assert len(given) == 1

    def test_what_is_no_directory_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FileExistsError):
            system.make_directory(tmp_path / "file")


class TestAddresses:
    def test_every_address_of_this_host(self) -> None:
        hosts = system.host_addresses()
        assert "127.0.0.1" in hosts
        assert all(str(ip_address(host)) == host for host in hosts)
        assert len(hosts) == len(set(hosts))

    def test_the_default_routes_addresses_are_of_this_host(self) -> None:
        found = system.default_route_addresses()
        for host, version in ((found.ipv4, 4), (found.ipv6, 6)):
            if host is not None:
                assert ip_address(host).version == version
                assert host in system.host_addresses()

    def test_the_kernel_is_asked_without_sending(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.53", 0))
            far.setblocking(False)
            monkeypatch.setattr(system, "_FAR_IPV4", "127.0.0.53")
            monkeypatch.setattr(system, "_FAR_IPV6", "::1")
            assert system.default_route_addresses() == system.RouteAddresses("127.0.0.1", "::1")
            with pytest.raises(BlockingIOError):
                far.recv(1)

    def test_without_a_route(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported")

        monkeypatch.setattr(socket, "socket", refuse)
        assert system.default_route_addresses() == system.RouteAddresses(None, None)

    def test_of_ipv6_one_that_stays(self) -> None:
        """Not the temporary one that the kernel prefers for clients (RFC 8981)."""
        with new_namespace() as host:
            add_interface(host)
            host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "one")
            assert routes_of(host) == (None, None)  # a link-local address is no client's to reach
            host.run("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/one/use_tempaddr")
            host.run("ip", "address", "add", "2001:db8::5/64", "dev", "one", "mngtmpaddr", "nodad")
            eventually_in(host, "ip -6 address show dev one temporary -tentative | grep inet6")
            assert "src 2001:db8::5 " not in host.run("ip", "-6", "route", "get", _FAR)
            assert routes_of(host) == (None, "2001:db8::5")

    def test_of_ipv4_no_link_local_one_either(self) -> None:
        with new_namespace() as host:
            add_interface(host)
            host.run("ip", "address", "add", "169.254.1.5/16", "dev", "one")
            host.run("ip", "route", "add", "default", "via", "169.254.1.1")
            assert routes_of(host) == (None, None)
            host.run("ip", "address", "add", "192.0.2.5/24", "dev", "one")
            host.run("ip", "route", "replace", "default", "via", "192.0.2.1")
            assert routes_of(host) == ("192.0.2.5", None)


_FAR = "2001:500:1::1"


def add_interface(host: Namespace) -> None:
    """One that is up, named one, with nobody at its other end."""
    host.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    for name in ("one", "two"):
        host.run("ip", "link", "set", "dev", name, "up")
    eventually_in(host, "ip -6 address show dev one scope link -tentative | grep inet6")


def eventually_in(host: Namespace, command: str) -> None:
    """Wait until a command of a shell succeeds."""
    limited = f"for i in $(seq 200); do {command} && exit; sleep 0.05; done; exit 1"
    host.run("sh", "-c", limited)


def routes_of(host: Namespace) -> tuple[str | None, str | None]:
    """What is preferred inside."""
    code = "from turnd.system import *; a = default_route_addresses(); print((a.ipv4, a.ipv6))"
    found: tuple[str | None, str | None] = literal_eval(host.run(sys.executable, "-c", code))
    return found


def test_whether_an_address_is_here_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    for look in (lambda: system.is_address_here("127.0.0.1"), system.default_route_addresses):
        with pytest.raises(OSError, match="Too many"):
            look()


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("198.51.100.1", False), ("2001:db8::77", False)]
)
def test_whether_an_address_is_here(host: str, here: bool) -> None:
    assert system.is_address_here(host) is here
