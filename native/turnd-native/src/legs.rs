//! Between Python's `Leg` and the engine's.

use std::hash::{BuildHasher, RandomState};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use relay_core::leg::{Leg, Transport};

use crate::addresses::{AddressForms, socket_address};
use crate::error::{DoorError, Result};

/// Legs whose Python object is kept: a client's requests come several at a time.
const KEPT: usize = 1024;

const TRANSPORTS: [(Transport, &str); 4] = [
    (Transport::Udp, "UDP"),
    (Transport::Dtls, "DTLS"),
    (Transport::Tcp, "TCP"),
    (Transport::Tls, "TLS"),
];

/// Makes and reads `Leg`; remembers the latest that it made.
#[derive(Debug)]
pub(crate) struct LegForms {
    pub(crate) addresses: AddressForms,
    leg_class: Py<PyAny>,
    transports: [Py<PyAny>; TRANSPORTS.len()],
    hasher: RandomState,
    kept: Box<[Option<Kept>]>,
}

#[derive(Debug)]
struct Kept {
    leg: Leg,
    object: Py<PyAny>,
}

impl LegForms {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let base = py.import("turnd.engine.base")?;
        let transport = base.getattr("Transport")?;
        let [udp, dtls, tcp, tls] = TRANSPORTS.map(|(_, name)| transport.getattr(name));
        Ok(Self {
            addresses: AddressForms::new(py)?,
            leg_class: base.getattr("Leg")?.unbind(),
            transports: [udp?.unbind(), dtls?.unbind(), tcp?.unbind(), tls?.unbind()],
            hasher: RandomState::new(),
            kept: (0..KEPT).map(|_| None).collect(),
        })
    }

    /// Python's `Leg`.
    pub(crate) fn leg<'py>(&mut self, py: Python<'py>, leg: &Leg) -> PyResult<Bound<'py, PyAny>> {
        // Every leg has one place, and the later of two that have the same one is kept.
        let place = self.hasher.hash_one(leg) as usize % KEPT;
        if let Some(kept) = &self.kept[place]
            && kept.leg == *leg
        {
            return Ok(kept.object.bind(py).clone());
        }
        let object = self.make(py, leg)?;
        self.kept[place] = Some(Kept { leg: *leg, object: object.clone().unbind() });
        Ok(object)
    }

    fn make<'py>(&self, py: Python<'py>, leg: &Leg) -> PyResult<Bound<'py, PyAny>> {
        let local = self.addresses.address(py, leg.local)?;
        let client = self.addresses.address(py, leg.client)?;
        let transport = self.transport(leg.transport);
        let via = leg.via.map(|via| self.addresses.address(py, via)).transpose()?;
        let parts = (leg.listener, transport, local, client, leg.stream, via).into_pyobject(py)?;
        self.addresses.named_tuple(py, &self.leg_class, parts)
    }

    /// The member of Python's `Transport`.
    pub(crate) fn transport(&self, transport: Transport) -> &Py<PyAny> {
        &self.transports[match transport {
            Transport::Udp => 0,
            Transport::Dtls => 1,
            Transport::Tcp => 2,
            Transport::Tls => 3,
        }]
    }

    /// The engine's leg of Python's `Leg`.
    pub(crate) fn read(&self, leg: &Bound<'_, PyAny>) -> Result<Leg> {
        let parts = leg.cast::<PyTuple>().map_err(|_| DoorError::NotA("Leg"))?;
        Ok(Leg {
            listener: parts.get_borrowed_item(0)?.extract()?,
            transport: self.read_transport(&*parts.get_borrowed_item(1)?)?,
            local: socket_address(&*parts.get_borrowed_item(2)?)?,
            client: socket_address(&*parts.get_borrowed_item(3)?)?,
            stream: parts.get_borrowed_item(4)?.extract()?,
            via: match &*parts.get_borrowed_item(5)? {
                via if via.is_none() => None,
                via => Some(socket_address(via)?),
            },
        })
    }

    /// The transport of a member of Python's `Transport`.
    pub(crate) fn read_transport(&self, member: &Bound<'_, PyAny>) -> Result<Transport> {
        TRANSPORTS
            .iter()
            .zip(&self.transports)
            .find_map(|((transport, _), known)| member.is(known).then_some(*transport))
            .ok_or(DoorError::NotA("Transport"))
    }
}
