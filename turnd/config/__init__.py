"""The configuration: the model, its loader with positions, and what a reload can change."""

from turnd.config.alternates import Alternate
from turnd.config.auth_section import AuthSection
from turnd.config.changes import Changes, compare, until_restart
from turnd.config.loader import find_config_file, load, load_text
from turnd.config.model import Config, Realm
from turnd.config.problems import ConfigError, Origin, Problem, format_path
from turnd.config.relay_addresses import RelayAddress
from turnd.config.sections import (
    CertificatePair,
    LimitsSection,
    PeersSection,
    RealmLimits,
    RealmSection,
    RedirectSection,
)
from turnd.config.values import Endpoint, HostPort, PortRange

__all__ = [
    "Alternate",
    "AuthSection",
    "CertificatePair",
    "Changes",
    "Config",
    "ConfigError",
    "Endpoint",
    "HostPort",
    "LimitsSection",
    "Origin",
    "PeersSection",
    "PortRange",
    "Problem",
    "Realm",
    "RealmLimits",
    "RealmSection",
    "RedirectSection",
    "RelayAddress",
    "compare",
    "find_config_file",
    "format_path",
    "load",
    "load_text",
    "until_restart",
]
