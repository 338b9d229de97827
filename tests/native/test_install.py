"""`native/install`, with a cargo that does as the test says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "native/install"
BUILDS = 'mkdir -p target/release && echo "$ENGINE" >target/release/lib_native.so'
FAILS = "echo '   Compiling x'; echo 'error: linker `cc` not found' >&2; exit 101"

TOOLS = (
    "cmp", "cp", "dirname", "find", "head", "mkdir", "mv", "rm", "sed", "sh", "touch",
)  # fmt: skip


class Tree:
    """A source tree of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("native", "turnd", "bin"):
            (folder / name).mkdir()
        shutil.copy(SCRIPT, folder / "native")
        shutil.copy(SCRIPT.with_name("features"), folder / "native")
        self.tool("pkg-config", "exit 0")
        self.engine = folder / "turnd/_native.abi3.so"
        self.missing = folder / "turnd/_native.missing"

    def cargo(self, does: str | None) -> None:
        self.tool("cargo", does)

    def tool(self, name: str, does: str | None) -> None:
        tool = self.folder / "bin" / name
        tool.unlink(missing_ok=True)
        if does is not None:
            tool.write_text(f"#!/bin/sh\n{does}\n")
            tool.chmod(0o755)

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "bin"
        for tool in TOOLS:
            if not (tools / tool).exists():
                found = shutil.which(tool)
                assert found
                (tools / tool).symlink_to(found)
        return subprocess.run(
            [self.folder / "native/install"],
            env={"PATH": str(tools), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_what_is_built_is_put_where_python_finds_it(tree: Tree) -> None:
    tree.cargo(BUILDS)
    first = tree.install(ENGINE="one")
    assert (first.returncode, first.stderr) == (0, "")
    assert tree.engine.read_text() == "one\n"
    node = tree.engine.stat().st_ino
    assert tree.install(ENGINE="one").stdout == ""
    assert tree.engine.stat().st_ino == node
    tree.install(ENGINE="two")
    assert tree.engine.read_text() == "two\n"
    assert tree.engine.stat().st_ino != node, "a running server still has the old one mapped"


def test_without_openssl_there_is_no_dtls_and_all_else(tree: Tree) -> None:
    tree.cargo(f'echo "$@" >arguments; {BUILDS}')
    arguments = tree.folder / "native/arguments"
    assert tree.install(ENGINE="one").stderr == ""
    assert "--no-default-features" not in arguments.read_text()
    for pkg_config in ("exit 1", None):
        tree.tool("pkg-config", pkg_config)
        done = tree.install(ENGINE="one", TURND_REQUIRE_NATIVE="1")
        assert done.returncode == 0
        assert "built without DTLS" in done.stderr
        assert "--no-default-features" in arguments.read_text()
        assert not tree.missing.exists()
    assert tree.install(ENGINE="one", OPENSSL_DIR="/opt/openssl").stderr == ""
    assert "--no-default-features" not in arguments.read_text()


@pytest.mark.parametrize(
    ("cargo", "why"),
    [
        (None, "cargo was not found"),
        (FAILS, "the build failed (linker `cc` not found), see native/target/install.log"),
        ("exit 1", "the build failed, see native/target/install.log"),
        ("exit 0", "it could not be copied to turnd/"),
    ],
)
def test_the_install_goes_on_without(tree: Tree, cargo: str | None, why: str) -> None:
    tree.engine.write_text("of another time")
    os.utime(tree.engine, (1, 1))
    tree.cargo(cargo)
    done = tree.install()
    assert done.returncode == 0
    assert f"No native engine was installed: {why}." in done.stderr.splitlines()[-1]
    assert tree.missing.read_text() == f"{why}\n"
    assert not tree.engine.exists()


@pytest.mark.parametrize("cargo", [None, FAILS])
def test_or_not_where_it_has_to_be(tree: Tree, cargo: str | None) -> None:
    tree.cargo(cargo)
    assert tree.install(TURND_REQUIRE_NATIVE="1").returncode == 1
    assert tree.install(TURND_REQUIRE_NATIVE="0").returncode == 0


def test_a_build_that_works_again_forgets_why_there_was_none(tree: Tree) -> None:
    tree.cargo(FAILS)
    tree.install()
    tree.cargo(BUILDS)
    assert tree.install(ENGINE="one").returncode == 0
    assert not tree.missing.exists()


@pytest.mark.parametrize(
    ("cargo", "why"), [(None, "cargo was not found"), (FAILS, "the build failed")]
)
def test_an_engine_that_is_current_stays_where_it_cannot_be_built_again(
    tree: Tree, cargo: str | None, why: str
) -> None:
    tree.cargo(BUILDS)
    tree.install(ENGINE="one")
    tree.cargo(cargo)
    assert tree.install().returncode == 0
    assert tree.engine.exists()
    source = tree.folder / "native/lib.rs"
    source.touch()
    os.utime(source, (4e9, 4e9))
    assert why in tree.install().stderr
    assert not tree.engine.exists()
