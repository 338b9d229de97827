"""Credentials in Redis, so asked that Redis may hang, die and come back at any time.

- A request waits for Redis at most as long as the link's limit says, and never longer than
  `ANSWER_LIMIT`; requests for the same user wait together.
- So many are asked for at a time, the others wait for their turn. Who gets none in half of the
  limit is told that too many ask, which says nothing about Redis: else a crowd of names (an attack,
  or all clients after a restart) would take a Redis that is some milliseconds away from everybody.
- When Redis does not answer it counts as away: from then on nobody waits. Users that were found
  before are answered from the cache however old, all others get `Unavailable`. A watch (see
  `redis_watch`) tries again in the background, and only its success ends this.
- Once Redis is (back) there, secrets and options are read anew and every cached user counts as
  stale, since changes may have been missed.
- Secrets and options that were read once stay in use while Redis is away.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from turnd.auth.credentials import (
    Found,
    FoundKey,
    KeyQuery,
    Outcome,
    Query,
    Unavailable,
    Unknown,
    UsernameQuery,
)
from turnd.auth.redis_connection import ANSWER_LIMIT, ERRORS, RedisLink
from turnd.auth.redis_schema import MAX_USER_BYTES, BadRecordError, RealmOptions, Schema
from turnd.auth.redis_watch import Watch
from turnd.auth.store_cache import CacheLimits, StoreCache, StoreHooks

if TYPE_CHECKING:
    from turnd.auth.rest import RestSecrets
    from turnd.stun.keys import PasswordAlgorithm

MAX_WAITING = 1000
"""Users that may be asked for or wait for their turn; more get `Unavailable` without asking."""

_ASKED_AT_ONCE = 30  # of the link's 32 calls: the realm's secrets need no turn
_TOO_MANY = Unavailable("too many users are asked for at once", crowded=True)
_CANCEL_AGAIN = 0.1  # seconds
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts to reach Redis, doubling
_REFRESH_LIMIT = 2.0
_SHORTEST_REFRESH = 1.0
_REASON_LENGTH = 200


class RedisStore:
    """The users, secrets, keys of tokens and options of one realm in Redis.

    Args:
        link: how to reach Redis.
        schema: how its records lie.
        rest: told the secrets that Redis holds.
        hooks: told what happens.
        limits: of the cache; `ttl`, or a second, is also how often secrets and options are read.
    """

    def __init__(
        self,
        link: RedisLink,
        schema: Schema,
        rest: RestSecrets,
        hooks: StoreHooks,
        limits: CacheLimits | None = None,
    ) -> None:
        self._link = link
        self._schema = schema
        self._rest = rest
        self._hooks = hooks
        self._refresh_every = max((limits or CacheLimits()).ttl, _SHORTEST_REFRESH)
        self._cache = StoreCache(limits)
        self._asked: dict[Query, asyncio.Task[Outcome]] = {}
        self._turns = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._away: str | None = None
        self._realm_read = False
        self._realm_known = False
        self._told_not_notifying = False
        self._pause = _PAUSE
        self._realm_changed = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._servers: tuple[tuple[str, int], ...] = ()
        self.realm_options = RealmOptions()
        """Quotas that Redis holds for the realm."""

    def start(self) -> None:
        """Begins to watch Redis, in the background: a server starts without its Redis, too."""
        self._supervisor = asyncio.ensure_future(self._supervise())

    async def close(self) -> None:
        """Ends the watch, requests that wait, and all connections."""
        tasks = [task for task in (self._supervisor, *self._asked.values()) if task is not None]
        running = set(tasks)
        while running:
            for task in running:
                task.cancel()
            # The library waits by `asyncio.wait_for`, which up to Python 3.11 loses a cancellation
            # that comes together with what is waited for.
            _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    @property
    def algorithms(self) -> frozenset[PasswordAlgorithm]:
        """See `chain.CredentialStore`."""
        return self._schema.algorithms

    @property
    def username_anonymity(self) -> bool:
        """See `chain.CredentialStore`; no while it is not known whether Redis holds secrets."""
        return self._schema.username_anonymity and self._realm_known

    @property
    def away(self) -> str | None:
        """Why Redis counts as away; None: it does not."""
        return self._away

    @property
    def endpoints(self) -> frozenset[tuple[str, int]]:
        """Hosts and ports of Redis, as configured and as found: no peer may be there."""
        return frozenset(self._link.endpoints) | frozenset(self._servers)

    def cached(self, name: Query, now: float) -> Outcome | None:
        """What is known without asking; None: `fetch` has to. `now`: monotonic seconds."""
        if len(_text_of(name)) > MAX_USER_BYTES:
            return Unknown()
        fresh = self._cache.fresh(name, now)
        if fresh is not None or self._away is None:
            return fresh
        return self._stale(name, self._away)

    async def fetch(self, name: Query) -> Outcome:
        """Asks Redis, within the limit; raises nothing for what Redis does."""
        known = self.cached(name, time.monotonic())
        if known is not None:
            return self._with_secrets(name, known)
        task = self._asked.get(name)
        if task is None:
            if len(self._asked) >= MAX_WAITING:
                return self._cache.stale(name) or _TOO_MANY
            task = self._asked[name] = asyncio.ensure_future(self._ask(name))
            task.add_done_callback(lambda _: self._asked.pop(name, None))
        return self._with_secrets(name, await asyncio.shield(task))

    async def _ask(self, name: Query) -> Outcome:
        limit = min(self._link.limit, ANSWER_LIMIT)
        deadline = asyncio.get_running_loop().time() + limit
        try:
            async with asyncio.timeout(limit / 2):
                await self._turns.acquire()
        except TimeoutError:
            return self._cache.stale(name) or _TOO_MANY
        try:
            return await self._ask_until(deadline, name)
        finally:
            self._turns.release()

    async def _ask_until(self, deadline: float, name: Query) -> Outcome:
        generation = self._cache.generation
        outcome: Found | FoundKey | Unknown = Unknown()
        try:
            async with asyncio.timeout_at(deadline):
                if not self._realm_read:
                    await self._read_realm()
                outcome = await self._read(name)
        except BadRecordError as error:
            self._hooks.report("redis_bad_record", str(error))
        except ERRORS as error:
            self._lost(_reason(error))
            return self._stale(name, _reason(error))
        self._cache.put(name, outcome, time.monotonic(), generation)
        return outcome

    async def _read(self, name: Query) -> Found | FoundKey | Unknown:
        if isinstance(name, KeyQuery):
            key = await self._schema.read_key(self._execute, name.kid)
            return Unknown() if key is None else FoundKey(key)
        credential = await self._schema.read_user(self._execute, name)
        return Unknown() if credential is None else Found((credential,))

    async def _execute(self, *words: bytes | str | int) -> Any:
        try:
            return await self._link.execute(*words)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise BadRecordError("a record has the wrong type") from None
            raise

    def _stale(self, name: Query, reason: str) -> Outcome:
        return self._cache.stale(name) or Unavailable(reason)

    def _with_secrets(self, name: Query, outcome: Outcome) -> Outcome:
        """Secrets that were read only now make a REST user name known after all."""
        if not isinstance(name, UsernameQuery):
            return outcome
        candidates = self._rest.candidates(name.username)
        if not candidates:
            return outcome
        more = outcome.candidates if isinstance(outcome, Found) else ()
        return Found((*candidates, *more))

    async def _read_realm(self) -> None:
        """Reads secrets and options; where one is malformed, what was known before stays."""
        try:
            secrets = await self._schema.read_secrets(self._execute)
            options = await self._schema.read_options(self._execute)
        except BadRecordError as error:
            self._hooks.report("redis_bad_record", str(error))
            self._realm_read = True
            return
        self._rest.use_store_secrets(secrets)
        self._realm_read = self._realm_known = True
        if options != self.realm_options:
            self.realm_options = options
            self._hooks.changed()

    def _lost(self, reason: str) -> None:
        if self._away is None:
            self._away = reason
            self._hooks.report("redis_away", reason)
        if self._session is not None:
            self._session.cancel()  # the next session is what finds out that Redis is back

    async def _supervise(self) -> None:
        while True:
            watch = Watch(self._link, self._schema.prefixes, self._heard, self._not_notifying)
            session = asyncio.ensure_future(
                watch.run(partial(self._listening, watch), self._keep_realm)
            )
            self._session = session
            try:
                await asyncio.wait({session})
            finally:
                session.cancel()
                self._session = None
            error = None if session.cancelled() else session.exception()
            self._lost("no answer in time" if error is None else _reason(error))
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _listening(self, watch: Watch) -> None:
        self._cache.expire_all()
        async with asyncio.timeout(_REFRESH_LIMIT):
            await self._read_realm()
        self._pause = _PAUSE
        if watch.servers != self._servers:
            self._servers = watch.servers
            self._hooks.changed()
        if self._away is not None:
            self._away = None
            self._hooks.report("redis_back", "")

    async def _keep_realm(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_every):
                    await self._realm_changed.wait()
            self._realm_changed.clear()
            async with asyncio.timeout(_REFRESH_LIMIT):
                await self._read_realm()

    def _heard(self, key: bytes | None) -> None:
        if key is None:
            self._cache.expire_all()
            self._realm_changed.set()
            return
        change = self._schema.change(key)
        if change.names:
            self._cache.forget(*change.names)
        if change.realm:
            self._realm_changed.set()

    def _not_notifying(self, reason: str) -> None:
        if not self._told_not_notifying:
            self._told_not_notifying = True
            self._hooks.report("redis_not_notifying", reason)


def _text_of(name: Query) -> bytes:
    """What a client has sent of it; a hash is short."""
    if isinstance(name, UsernameQuery):
        return name.username.encode()
    return name.kid.encode() if isinstance(name, KeyQuery) else b""


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:_REASON_LENGTH]
