from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth.redis_address import RedisAddress, parse_redis_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "redis://127.0.0.1:6379/0",
            RedisAddress("standalone", nodes=(("127.0.0.1", 6379),)),
        ),
        ("redis://", RedisAddress("standalone", nodes=(("127.0.0.1", 6379),))),
        (
            "redis://bob:p%40ss%2Fword@[::1]:7000/3",
            RedisAddress(
                "standalone", nodes=(("::1", 7000),), db=3, username="bob", password="p@ss/word"
            ),
        ),
        (
            "redis://:pw@redis.example.org?db=4",
            RedisAddress("standalone", nodes=(("redis.example.org", 6379),), db=4, password="pw"),
        ),
        ("redis://[::1]", RedisAddress("standalone", nodes=(("::1", 6379),))),
        (
            "rediss://r:1?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            RedisAddress(
                "standalone",
                tls=True,
                nodes=(("r", 1),),
                options={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
        ),
        ("unix:///run/redis.sock", RedisAddress("unix", path="/run/redis.sock")),
        ("unix:///run/r%20x.sock?db=2", RedisAddress("unix", path="/run/r x.sock", db=2)),
        (
            "redis+sentinel://h1,h2:26380/mymaster/1?sentinel_password=x",
            RedisAddress(
                "sentinel",
                nodes=(("h1", 26379), ("h2", 26380)),
                master="mymaster",
                db=1,
                options={"sentinel_password": "x"},
            ),
        ),
        (
            "rediss+cluster://h1:1,[2001:db8::1]:2",
            RedisAddress("cluster", tls=True, nodes=(("h1", 1), ("2001:db8::1", 2))),
        ),
        (
            "ip=10.0.0.5 dbname=2 user=u password=p%w port=6380 connect_timeout=30",
            RedisAddress(
                "standalone", nodes=(("10.0.0.5", 6380),), db=2, username="u", password="p%w"
            ),
        ),
        ("dbname=0", RedisAddress("standalone", nodes=(("127.0.0.1", 6379),))),
        (
            "host=r tls=1 ca=/ca.pem cert=/c.pem clientkey=/k.pem verify=none",
            RedisAddress(
                "standalone",
                tls=True,
                nodes=(("r", 6379),),
                options={
                    "ssl_ca_certs": "/ca.pem",
                    "ssl_certfile": "/c.pem",
                    "ssl_keyfile": "/k.pem",
                    "ssl_cert_reqs": "none",
                    "ssl_check_hostname": False,
                },
            ),
        ),
    ],
)
def test_the_forms(text: str, address: RedisAddress) -> None:
    assert parse_redis_address(text) == address


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("http://s3cret@host", "Redis is addressed by"),
        ("s3cret", "is an URL"),
        ("ip=1 s3cret=x", "is an URL"),
        ("ip=1 port=s3cret", "port"),
        ("redis://host/s3cret", "is a number"),
        ("redis://host:99999", "1 to 65535"),
        ("redis://:s3cret@host:x1/0", "port"),
        ("redis://:s3cret@2001:db8::1/0", "in brackets"),
        ("redis://:s3cret@host?colour=red", "'colour' is no option"),
        ("rediss://:s3cret@host?ssl_cert_reqs=s3cret", "none, optional or required"),
        ("redis+sentinel://:s3cret@host", "names its master"),
        ("redis+cluster://:s3cret@host/1", "database 0 only"),
        ("unix:///x?db=s3cret", "is a number"),
        ("unix://", "path"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_redis_address(text)
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for address in (text, f"redis://{text}", f"redis+sentinel://{text}", f"ip={text}"):
        try:
            parse_redis_address(address)
        except ValueError:
            continue


def test_a_repr_shows_no_password() -> None:
    address = parse_redis_address("redis+sentinel://u:s3cret@h/m?sentinel_password=s3cret")
    assert "s3cret" not in repr(address)
