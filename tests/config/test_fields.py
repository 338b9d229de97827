from pathlib import Path

import pytest
from pydantic import ValidationError

from turnd.config import fields
from turnd.config.fields import RELOAD_KEY, Reload, Section, live, restart, section
from turnd.config.relay_addresses import RelayAddress
from turnd.config.values import Endpoint, HostPort, PortRange


class Inner(Section):
    wait: fields.Seconds = live(1.5, "Seconds.", le=10)
    whole: fields.WholeSeconds = restart(1, "Whole seconds.", ge=1)


class Example(Section):
    endpoint: fields.EndpointField = live(Endpoint("udp", "::", 1), "An endpoint.")
    admin: fields.HostPortField | None = live(None, "An address.")
    relay: fields.RelayAddressField = live(RelayAddress(auto=True), "A relay address.")
    ports: fields.PortRangeField = live(PortRange(1, 2), "Ports.")
    peer: fields.PeerRange = live("special-purpose", "Peers.")
    path: fields.FilePath | None = live(None, "A file.")
    secret: fields.Secret | None = live(None, "A secret.")
    rate: fields.BitRate = live(0, "A bit rate.")
    cpus: fields.CpuAffinity = live(False, "CPUs.")
    inner: Inner = section(Inner, "A section.")


def test_texts_become_values() -> None:
    example = Example.model_validate(
        {
            "endpoint": "tls://[::1]",
            "admin": "127.0.0.1:1",
            "relay": "10.0.0.5",
            "ports": 5,
            "peer": "10.0.0.0/8",
            "path": "x.pem",
            "rate": "5Mbit",
            "cpus": [0, 2],
            "inner": {"wait": "10s", "whole": "1m"},
        }
    )
    assert example.endpoint == Endpoint("tls", "::1", 5349)
    assert example.admin == HostPort("127.0.0.1", 1)
    assert example.relay == RelayAddress(bound="10.0.0.5", announced="10.0.0.5")
    assert example.ports == PortRange(5, 5)
    assert example.peer == "10.0.0.0/8"
    assert example.path == Path("x.pem")
    assert example.rate == 5_000_000
    assert example.cpus == (0, 2)
    assert example.inner == Inner(wait=10.0, whole=60)
    assert isinstance(example.inner.whole, int)


def test_values_stay_values() -> None:
    example = Example(endpoint=Endpoint("tcp", "::", 9), ports=PortRange(3, 4), path=Path("x"))
    assert example.endpoint == Endpoint("tcp", "::", 9)
    assert example.ports == PortRange(3, 4)
    assert example.path == Path("x")


def test_cpus_may_be_left_to_the_server() -> None:
    assert Example.model_validate({"cpus": True}).cpus is True
    assert Example.model_validate({"cpus": (3,)}).cpus == (3,)


def test_relative_files_begin_at_the_base() -> None:
    context = {fields.BASE_KEY: Path("/etc/turnd")}
    relative = Example.model_validate({"path": "x.pem"}, context=context)
    absolute = Example.model_validate({"path": "/x.pem"}, context=context)
    assert relative.path == Path("/etc/turnd/x.pem")
    assert absolute.path == Path("/x.pem")


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": 5},
        {"endpoint": None},
        {"admin": 9641},
        {"relay": True},
        {"ports": True},
        {"ports": 1.5},
        {"peer": 10},
        {"path": 5},
        {"path": ""},
        {"secret": 5},
        {"secret": ""},
        {"rate": True},
        {"rate": 1.5},
        {"rate": None},
        {"rate": "5MB"},
        {"cpus": 2},
        {"cpus": "0,2"},
        {"cpus": [True]},
        {"cpus": [-1]},
        {"cpus": [8192]},
        {"cpus": [1, 1]},
        {"inner": {"wait": True}},
        {"inner": {"wait": None}},
        {"inner": {"wait": 11}},
        {"inner": {"wait": -1}},
        {"inner": {"wait": float("nan")}},
        {"inner": {"whole": 1.5}},
        {"inner": {"whole": "500ms"}},
        {"inner": {"whole": 0}},
        {"inner": []},
        {"unknown": 1},
    ],
)
def test_other_values_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(wrong)
    assert caught.value.error_count() == 1


def test_an_empty_section_has_its_defaults() -> None:
    assert Example.model_validate({"inner": None}) == Example()
    assert Example.model_validate(None) == Example()


def test_sections_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().wait = 3


def test_errors_do_not_show_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"secret": {"s3cret": "s3cret"}})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Example.model_validate({"secret": "s3cret"}))


def test_fields_know_what_a_change_needs() -> None:
    assert Inner.model_fields["wait"].json_schema_extra == {RELOAD_KEY: Reload.LIVE}
    assert Inner.model_fields["whole"].json_schema_extra == {RELOAD_KEY: Reload.RESTART}
