"""Redis servers, as the tests of the store have them."""

from tests.auth.conftest import redis_server, start_redis

__all__ = ["redis_server", "start_redis"]
