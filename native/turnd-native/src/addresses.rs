//! Between addresses as Python writes them and as sockets take them.
//!
//! Python's form is a host in canonical text and a port. A link-local IPv6 host has its interface as
//! a zone, `fe80::1%2`, which is the socket address's scope (RFC 4007 section 11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::error::{DoorError, Result};

/// The socket address of a `TransportAddress`.
pub(crate) fn socket_address(address: &Bound<'_, PyAny>) -> Result<SocketAddr> {
    let parts = address.cast::<PyTuple>().map_err(|_| DoorError::NotA("TransportAddress"))?;
    let host = parts.get_borrowed_item(0)?;
    with_port(text_of(&host)?, parts.get_borrowed_item(1)?.extract()?, address.py())
}

/// A host alone: a socket address whose port says nothing.
pub(crate) fn host(text: &Bound<'_, PyAny>) -> Result<SocketAddr> {
    with_port(text_of(text)?, 0, text.py())
}

fn text_of<'a>(host: &'a Bound<'_, PyAny>) -> Result<&'a str> {
    let text = host.cast::<PyString>().map_err(|_| DoorError::NotA("host in text"))?;
    Ok(text.to_str()?)
}

fn with_port(text: &str, port: u16, py: Python<'_>) -> Result<SocketAddr> {
    if let Ok(ipv4) = text.parse::<Ipv4Addr>() {
        return Ok(SocketAddr::V4(SocketAddrV4::new(ipv4, port)));
    }
    let (digits, zone) =
        text.split_once('%').map_or((text, None), |(host, zone)| (host, Some(zone)));
    let Ok(ipv6) = digits.parse::<Ipv6Addr>() else {
        return Err(DoorError::NotAnAddress(text.to_owned()));
    };
    let scope = zone.map_or(Ok(0), |zone| scope_of(zone, py))?;
    Ok(SocketAddr::V6(SocketAddrV6::new(ipv6, port, 0, scope)))
}

/// The number of an interface, which is given by its number or by its name.
fn scope_of(zone: &str, py: Python<'_>) -> Result<u32> {
    if let Ok(number) = zone.parse() {
        return Ok(number);
    }
    Ok(py.import("socket")?.getattr("if_nametoindex")?.call1((zone,))?.extract()?)
}

/// Makes Python's form of addresses.
#[derive(Debug)]
pub(crate) struct AddressForms {
    tuple_new: Py<PyAny>,
    transport_address: Py<PyAny>,
    unpack_host: Py<PyAny>,
}

impl AddressForms {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let addresses = py.import("turnd.stun.addresses")?;
        Ok(Self {
            tuple_new: py.get_type::<PyTuple>().getattr("__new__")?.unbind(),
            transport_address: addresses.getattr("TransportAddress")?.unbind(),
            unpack_host: addresses.getattr("unpack_host")?.unbind(),
        })
    }

    /// A `TransportAddress`.
    pub(crate) fn address<'py>(
        &self,
        py: Python<'py>,
        address: SocketAddr,
    ) -> PyResult<Bound<'py, PyAny>> {
        let parts = (self.host(py, address)?, address.port());
        self.named_tuple(py, &self.transport_address, parts.into_pyobject(py)?)
    }

    /// An object of a class that is a `NamedTuple`. Its own constructor is a function in Python,
    /// several times as slow as what it calls in the end.
    pub(crate) fn named_tuple<'py>(
        &self,
        py: Python<'py>,
        class: &Py<PyAny>,
        parts: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.tuple_new.bind(py).call1((class, parts))
    }

    fn host<'py>(&self, py: Python<'py>, address: SocketAddr) -> PyResult<Bound<'py, PyString>> {
        match address {
            SocketAddr::V4(ipv4) => Ok(PyString::new(py, &ipv4.ip().to_string())),
            SocketAddr::V6(ipv6) => {
                // Python's own word on what is canonical, which it remembers for the latest hosts.
                let packed = PyBytes::new(py, &ipv6.ip().octets());
                let text = self.unpack_host.bind(py).call1((packed,))?.cast_into::<PyString>()?;
                match ipv6.scope_id() {
                    0 => Ok(text),
                    scope => Ok(PyString::new(py, &format!("{}%{scope}", text.to_str()?))),
                }
            }
        }
    }
}

/// Announced and bound hosts of the relay addresses, a `Mapping[str, str]`.
pub(crate) fn host_pairs(own: &Bound<'_, PyAny>) -> Result<Vec<(IpAddr, IpAddr)>> {
    let mut pairs = Vec::new();
    for pair in own.call_method0("items")?.try_iter()? {
        let (announced, bound) = pair?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        pairs.push((host(&announced)?.ip(), host(&bound)?.ip()));
    }
    Ok(pairs)
}
