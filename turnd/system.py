"""What the operating system and systemd say at start: descriptors, users, folders, addresses.

Nothing here is called once packets flow, except `sd_notify`, which never blocks.
"""

from __future__ import annotations

import contextlib
import ctypes
import encodings.idna  # noqa: F401 - see below
import errno
import os
import pwd
import resource
import socket
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import ifaddr

# Host names are encoded by `encodings.idna`, which else is imported on first use: too late once
# root is given up, where Python is in a folder of root's own.

_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START
_PR_SET_NO_NEW_PRIVS = 38
_UNLIMITED = 1 << 20
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says when descriptors or memory have run out."""
_PREFER_PUBLIC = (72, 2)
"""IPV6_ADDR_PREFERENCES, IPV6_PREFER_SRC_PUBLIC of <linux/in6.h> (RFC 5014); Python names none."""

# Root name servers: certainly not on any local network. Connecting UDP sends nothing.
_FAR_IPV4 = "198.41.0.4"
_FAR_IPV6 = "2001:503:ba3e::2:30"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A bound socket that the service manager opened for us (sd_listen_fds(3))."""

    fd: int
    name: str
    """FileDescriptorName= of the socket unit; `unknown` where it has none."""
    kind: socket.SocketKind
    host: str
    """Canonical text, without zone."""
    port: int
    takes_ipv4: bool = False
    """One of IPv6 that shows IPv4 clients as mapped addresses (systemd's BindIPv6Only=both)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the process runs as."""

    user: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class RouteAddresses:
    """The source addresses of packets towards the internet; None without one to relay from.

    Of IPv6 no temporary one (RFC 8981) where there is another; link-local ones are none.
    """

    ipv4: str | None
    ipv6: str | None


def sd_notify(state: str) -> bool:
    """Tell the service manager `READY=1`, `STATUS=…`, `WATCHDOG=1` (sd_notify(3)).

    Returns whether it was told: False without a service manager, or when its queue is full; the
    server never waits for it.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.setblocking(False)
        try:
            notify.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two `WATCHDOG=1`: half of what the unit allows; None when nobody waits.

    See sd_watchdog_enabled(3).
    """
    allowed, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not allowed.isascii() or not allowed.isdigit() or int(allowed) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(allowed) / 2e6


def listen_fds() -> list[InheritedSocket]:
    """IP sockets that the service manager bound for us; takes the environment variables away.

    Raises:
        OSError: a descriptor that was announced is no socket.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    inherited: list[InheritedSocket] = []
    for index in range(int(count)):
        fd = _FIRST_INHERITED + index
        os.set_inheritable(fd, False)
        name = names[index] if index < len(names) and names[index] else "unknown"
        found = _examine_socket(fd, name)
        if found is not None:
            inherited.append(found)
    return inherited


def _examine_socket(fd: int, name: str) -> InheritedSocket | None:
    inherited = socket.socket(fileno=fd)
    try:
        if inherited.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = inherited.getsockname()[:2]
        kind = socket.SocketKind(inherited.type)
        takes_ipv4 = host == "::" and not inherited.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )
    finally:
        inherited.detach()
    host = str(ip_address(host.partition("%")[0]))
    return InheritedSocket(fd, name, kind, host, port, takes_ipv4)


def drop_privileges(user: str, fallback: str = "nobody") -> Identity:
    """Root becomes `user` for good, or `fallback` where that user does not exist.

    Supplementary groups are those of the user database (so that a key readable by a group stays
    readable); no capability is kept, and none can be gained by executing something. Who is not
    root stays who he is.

    Raises:
        LookupError: root, and neither user exists.
        PermissionError: root was kept from becoming another (a container without CAP_SETUID).
    """
    if os.geteuid() != 0:
        return current_identity()
    found = _find_user(user) or _find_user(fallback)
    if found is None:
        raise LookupError(f"neither the user '{user}' nor '{fallback}' exists: create one")
    if found.pw_uid == 0:
        raise PermissionError(f"the user '{found.pw_name}' is root: name one without privileges")
    try:
        os.setgroups(os.getgrouplist(found.pw_name, found.pw_gid))
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
    except PermissionError as error:
        raise PermissionError(
            f"root may not become '{found.pw_name}' here ({error.strerror}): start turnd as that "
            "user, or give it CAP_SETUID and CAP_SETGID"
        ) from error
    _gain_nothing_by_exec()
    if _capabilities():
        raise PermissionError("capabilities outlived the change of user: check the securebits")
    return Identity(found.pw_name, found.pw_uid, found.pw_gid)


def current_identity() -> Identity:
    """Whom the process runs as; the number where the user has no name."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        return Identity(pwd.getpwuid(uid).pw_name, uid, gid)
    except KeyError:
        return Identity(str(uid), uid, gid)


def _find_user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _gain_nothing_by_exec() -> None:
    """prctl(2) PR_SET_NO_NEW_PRIVS; a kernel or C library without it is no reason to stop."""
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _capabilities() -> int:
    """Permitted, effective and ambient capabilities as one mask (proc(5))."""
    mask = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"CapPrm", "CapEff", "CapAmb"}:
            mask |= int(value, 16)
    return mask


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns how many may be open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft in (wanted, resource.RLIM_INFINITY) or soft > wanted:
        return soft if soft != resource.RLIM_INFINITY else _UNLIMITED
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft  # a sandbox that forbids it: fewer descriptors, which are counted as ever
    return wanted


def state_directory() -> Path:
    """Where turnd keeps what outlives it; asked before privileges are dropped, not made here."""
    told = _told_directory("STATE_DIRECTORY")
    if told is not None:
        return told
    if os.geteuid() == 0:
        return Path("/var/lib/turnd")
    return _home_directory("XDG_STATE_HOME", ".local/state") / "turnd"


def runtime_directory() -> Path:
    """Where the admin socket is; asked before privileges are dropped, not made here."""
    told = _told_directory("RUNTIME_DIRECTORY")
    if told is not None:
        return told
    if os.geteuid() == 0:
        return Path("/run/turnd")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "turnd" if runtime.startswith("/") else state_directory() / "run"


def make_directory(path: Path, owner: str | None = None, fallback: str = "nobody") -> None:
    """Make a directory for its owner alone (mode 700), with its parents, where there is none.

    As root it is given to whom `drop_privileges` will become with the same words; but not one of
    root's in which there is something already: it has another use, such as /etc. Only root's own
    symbolic links are followed: another user must not lead root to what is not his.

    Raises:
        OSError: it cannot be made, or given.
    """
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True)
    found = None if owner is None else _find_user(owner) or _find_user(fallback)
    if os.geteuid() != 0 or found is None:
        return
    follow = 0 if path.lstat().st_uid == 0 else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow | os.O_CLOEXEC)
    try:
        within = {*os.listdir(descriptor)} - {"lost+found"}  # noqa: PTH208 - of the descriptor
        if os.fstat(descriptor).st_uid != 0 or not within:
            os.fchown(descriptor, found.pw_uid, found.pw_gid)
    finally:
        os.close(descriptor)


def give_file(path: Path, owner: str, fallback: str = "nobody") -> None:
    """As root, give a file to whom `drop_privileges` will become with the same words.

    So a secret that was made as another user stays readable. What is no plain file of one name is
    left alone: the folder is not root's, and root must not be led to give away anything else.

    Raises:
        OSError: it is there and cannot be given.
    """
    found = _find_user(owner) or _find_user(fallback)
    if os.geteuid() != 0 or found is None:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.fchown(descriptor, found.pw_uid, found.pw_gid)
    finally:
        os.close(descriptor)


def _told_directory(variable: str) -> Path | None:
    """systemd.exec(5): an absolute path, or several with colons between."""
    first = os.environ.get(variable, "").partition(":")[0]
    return Path(first) if first.startswith("/") else None


def _home_directory(variable: str, beneath: str) -> Path:
    """XDG Base Directory Specification: what is not absolute counts as not set."""
    told = os.environ.get(variable, "")
    return Path(told) if told.startswith("/") else Path.home() / beneath


def host_addresses() -> list[str]:
    """Every address of this host's interfaces, loopback included, canonical and without zone."""
    found: dict[str, None] = {}
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            host = address.ip if isinstance(address.ip, str) else address.ip[0]
            found[str(ip_address(host.partition("%")[0]))] = None
    return list(found)


def is_address_here(host: str) -> bool:
    """Whether a socket can be bound to an address: an interface of this host has it.

    Raises:
        OSError: that is not to be found out now: descriptors or memory have run out.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return False
    return True


def default_route_addresses() -> RouteAddresses:
    """Which address of this host the kernel puts on packets towards the internet. Sends nothing.

    Raises:
        OSError: that is not to be found out now: descriptors or memory have run out.
    """
    return RouteAddresses(
        _source_address(socket.AF_INET, _FAR_IPV4), _source_address(socket.AF_INET6, _FAR_IPV6)
    )


def _source_address(family: socket.AddressFamily, destination: str) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):  # a system that knows no such option
                    probe.setsockopt(socket.IPPROTO_IPV6, *_PREFER_PUBLIC)
            probe.connect((destination, 53))
            host: str = probe.getsockname()[0]
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None  # no route, or no such family on this host
    address = ip_address(host.partition("%")[0])
    return None if address.is_link_local else str(address)
