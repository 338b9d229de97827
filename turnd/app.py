"""A process's life: read the configuration, bind everything, give up root, serve, end.

Nothing that can fail for an admin's reasons is left for after the first packet.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import TYPE_CHECKING

from turnd import logs, system
from turnd.config import Config, ConfigError, find_config_file, load
from turnd.engine.installed import EngineUnavailableError
from turnd.runtime.ending import Signals
from turnd.runtime.endpoints import BindError
from turnd.runtime.examine import examine
from turnd.runtime.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EX_OK, EX_UNAVAILABLE, EX_SOFTWARE, EX_NOPERM, EX_CONFIG = 0, 69, 70, 77, 78


def run(config_path: Path | None, environ: Mapping[str, str] | None = None) -> int:
    """Serve until a signal says otherwise; returns the process's exit status (sysexits.h)."""
    environ = os.environ if environ is None else environ
    path = find_config_file(config_path)
    try:
        config = load(path, environ)
        examine(config, path, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for who has started it
        return EX_CONFIG
    system.raise_descriptor_limit()
    pipe = logs.configure(
        config.log.format, config.log.level, "full" if config.log.addresses else "masked"
    )
    try:
        return asyncio.run(_serve(config, path, environ, pipe))
    finally:
        pipe.stop()


async def _serve(
    config: Config, path: Path | None, environ: Mapping[str, str], pipe: logs.LogPipe
) -> int:
    try:
        server = Server(config, path, environ, pipe)
    except (EngineUnavailableError, ValueError) as error:
        return _give_up(error, EX_CONFIG)
    try:
        await server.bind()
        user = system.drop_privileges(config.user).user
        await server.begin(user)
        _spare_the_collector()
        with Signals(server):
            system.sd_notify("READY=1\nSTATUS=serving")
            await server.ending.ended.wait()
    except (BindError, PermissionError) as error:
        return _give_up(error, EX_NOPERM)
    except (ValueError, LookupError) as error:
        return _give_up(error, EX_CONFIG)
    except OSError as error:
        return _give_up(error, EX_UNAVAILABLE)
    finally:
        await server.stop()
    return EX_SOFTWARE if server.ending.failed else EX_OK


def _give_up(why: Exception, status: int) -> int:
    text = str(why)
    if isinstance(why, OSError) and why.filename is not None:
        text = f"{why.filename}: {why.strerror}"
    print(f"turnd: {text}", file=sys.stderr)  # noqa: T201 - for who has started it
    return status


def _spare_the_collector() -> None:
    """What lives as long as the server is never looked at again, and the rest less often.

    The server's own objects hold no cycles that allocations would leave behind; a full collection
    over thousands of allocations would be a pause in every call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
