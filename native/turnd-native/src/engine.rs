//! The verbs of `RelayEngine`, each one call into the engine.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyInt, PyList};
use relay_core::engine::{self as core, Options};
use relay_core::handup::Event;
use relay_core::leg::{CloseReason, Leg};

use crate::addresses::{self, host_pairs, socket_address};
use crate::classes::Classes;
use crate::error::{DoorError, Result};
use crate::legs::LegForms;
use crate::{reports, settings};

/// Events of one `poll` at most: what Python decides before its event loop has its turn.
const BATCH: usize = 64;

/// The engine as Python holds it.
#[pyclass(subclass, module = "turnd._native")]
pub(crate) struct Engine {
    core: core::Engine,
    legs: LegForms,
    classes: Classes,
    batch: Vec<Event>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, workers, cpus, io, manual_clock))]
    fn new(
        py: Python<'_>,
        workers: usize,
        cpus: Vec<usize>,
        io: PyBackedStr,
        manual_clock: Option<f64>,
    ) -> Result<Self> {
        let io = settings::io_choice(&io)?;
        let options = Options { workers, cpus, io, manual_clock };
        Ok(Self {
            core: core::Engine::new(options)?,
            legs: LegForms::new(py)?,
            classes: Classes::new(py)?,
            batch: Vec::with_capacity(BATCH),
        })
    }

    fn begin(&mut self) -> Result<()> {
        Ok(self.core.start()?)
    }

    fn end(&mut self, py: Python<'_>) {
        // Waits for the workers' ends.
        py.detach(|| self.core.stop());
    }

    fn hold(&mut self) {
        self.core.hold();
    }

    fn release(&mut self) {
        self.core.release();
    }

    fn event_fd(&self) -> RawFd {
        self.core.event_fd().as_raw_fd()
    }

    fn describe(&self) -> (&'static str, usize, Vec<String>) {
        let core::Description { io, workers, notes } = self.core.describe();
        (io, *workers, notes.clone())
    }

    fn set_time(&mut self, now: f64) {
        self.core.set_time(now);
    }

    #[pyo3(signature = (endpoint, settings, fd=None))]
    fn listen(
        &mut self,
        endpoint: &Bound<'_, PyAny>,
        settings: &Bound<'_, PyAny>,
        fd: Option<RawFd>,
    ) -> Result<u64> {
        let (endpoint, settings) = (socket_address(endpoint)?, settings::listener(settings)?);
        Ok(self.core.listen(endpoint, &settings, fd.map(owned).transpose()?)?)
    }

    fn stream_listener(&mut self, settings: &Bound<'_, PyAny>) -> Result<u64> {
        Ok(self.core.stream_listener(&settings::listener(settings)?)?)
    }

    fn configure(&mut self, listener: u64, settings: &Bound<'_, PyAny>) -> Result<()> {
        Ok(self.core.configure(listener, &settings::listener(settings)?)?)
    }

    fn close_listener(&mut self, listener: u64) {
        self.core.close_listener(listener);
    }

    fn endpoint<'py>(&self, py: Python<'py>, listener: u64) -> Result<Bound<'py, PyAny>> {
        let endpoint = self.core.endpoint(listener).ok_or(DoorError::NoSuchListener)?;
        Ok(self.legs.addresses.address(py, endpoint)?)
    }

    #[pyo3(
        signature = (fd, listener, transport, client, local, first_bytes=None),
        text_signature = "($self, fd, listener, transport, client, local, first_bytes=b'')"
    )]
    #[expect(clippy::too_many_arguments, reason = "the interface's")]
    fn adopt<'py>(
        &mut self,
        py: Python<'py>,
        fd: RawFd,
        listener: u64,
        transport: &Bound<'py, PyAny>,
        client: &Bound<'py, PyAny>,
        local: &Bound<'py, PyAny>,
        first_bytes: Option<PyBackedBytes>,
    ) -> Result<Bound<'py, PyAny>> {
        let fd = owned(fd)?;
        let transport = self.legs.read_transport(transport)?;
        let (client, local) = (socket_address(client)?, socket_address(local)?);
        let first_bytes = first_bytes.map_or_else(Vec::new, |bytes| bytes.to_vec());
        let leg = Leg { listener, transport, local, client, stream: 0, via: None };
        let leg = self.core.adopt(fd, leg, first_bytes);
        Ok(self.legs.leg(py, &leg)?)
    }

    fn close_leg(&mut self, leg: &Bound<'_, PyAny>, reason: &str) -> Result<()> {
        let reason = CloseReason::from_name(reason).ok_or(DoorError::NotA("CloseReason"))?;
        self.core.close_leg(&self.legs.read(leg)?, reason);
        Ok(())
    }

    #[pyo3(
        signature = (leg, bound, deadline, buckets=Vec::new()),
        text_signature = "($self, leg, bound, deadline, buckets=())"
    )]
    fn open_relay<'py>(
        &mut self,
        py: Python<'py>,
        leg: Option<&Bound<'py, PyAny>>,
        bound: &Bound<'py, PyAny>,
        deadline: f64,
        buckets: Vec<u64>,
    ) -> Result<Bound<'py, PyAny>> {
        let leg = leg.map(|leg| self.legs.read(leg)).transpose()?;
        match self.core.open_relay(leg.as_ref(), socket_address(bound)?, deadline, &buckets) {
            Ok(relay) => Ok(PyInt::new(py, relay).into_any()),
            Err(error) => Ok(self.classes.relay_error(py, &error)?),
        }
    }

    #[pyo3(
        name = "move",
        signature = (relay, leg, deadline, buckets=Vec::new()),
        text_signature = "($self, relay, leg, deadline, buckets=())"
    )]
    fn move_relay(
        &mut self,
        relay: u64,
        leg: &Bound<'_, PyAny>,
        deadline: f64,
        buckets: Vec<u64>,
    ) -> Result<()> {
        self.core.move_relay(relay, &self.legs.read(leg)?, deadline, &buckets);
        Ok(())
    }

    fn hold_back(&mut self, leg: &Bound<'_, PyAny>) -> Result<()> {
        self.core.hold_back(&self.legs.read(leg)?);
        Ok(())
    }

    fn hand_over(&mut self, relays: Vec<u64>, leg: &Bound<'_, PyAny>) -> Result<()> {
        self.core.hand_over(&relays, &self.legs.read(leg)?);
        Ok(())
    }

    fn limit(&mut self, bucket: u64, bits_per_second: Option<u64>) {
        self.core.limit(bucket, bits_per_second);
    }

    fn permit(&mut self, relay: u64, peer_host: &Bound<'_, PyAny>, deadline: f64) -> Result<()> {
        self.core.permit(relay, addresses::host(peer_host)?, deadline);
        Ok(())
    }

    fn bind_channel(
        &mut self,
        relay: u64,
        number: u16,
        peer: &Bound<'_, PyAny>,
        deadline: f64,
    ) -> Result<()> {
        self.core.bind_channel(relay, number, socket_address(peer)?, deadline);
        Ok(())
    }

    fn extend(&mut self, relay: u64, deadline: f64) {
        self.core.extend(relay, deadline);
    }

    fn close_relay(&mut self, relay: u64) {
        self.core.close_relay(relay);
    }

    fn protect(
        &mut self,
        endpoints: &Bound<'_, PyAny>,
        own_addresses: &Bound<'_, PyAny>,
    ) -> Result<()> {
        let mut guarded = Vec::new();
        for endpoint in endpoints.try_iter()? {
            guarded.push(socket_address(&endpoint?)?);
        }
        self.core.protect(&guarded, &host_pairs(own_addresses)?);
        Ok(())
    }

    fn budget(&mut self, answers_per_second: u64) {
        self.core.budget(answers_per_second);
    }

    fn draw(&mut self, host: &Bound<'_, PyAny>) -> Result<bool> {
        Ok(self.core.draw(addresses::host(host)?.ip()))
    }

    fn know_nonces(&mut self, keys: &Bound<'_, PyAny>) -> Result<()> {
        self.core.know_nonces(settings::nonce_keys(keys)?);
        Ok(())
    }

    fn challenge(&mut self, listener: u64, challenge: Option<&Bound<'_, PyAny>>) -> Result<()> {
        self.core.challenge(listener, challenge.map(settings::challenge).transpose()?);
        Ok(())
    }

    #[pyo3(signature = (leg, data, from_=None))]
    fn send_to_client(
        &mut self,
        leg: &Bound<'_, PyAny>,
        data: &[u8],
        from_: Option<&Bound<'_, PyAny>>,
    ) -> Result<()> {
        let from = from_.map(socket_address).transpose()?;
        self.core.send_to_client(&self.legs.read(leg)?, data, from);
        Ok(())
    }

    #[pyo3(
        signature = (leg, fd, answer, buckets=Vec::new()),
        text_signature = "($self, leg, fd, answer, buckets=())"
    )]
    fn splice(
        &mut self,
        leg: &Bound<'_, PyAny>,
        fd: RawFd,
        answer: &[u8],
        buckets: Vec<u64>,
    ) -> Result<bool> {
        let peer = owned(fd)?;
        Ok(self.core.splice(&self.legs.read(leg)?, peer, answer, &buckets))
    }

    fn poll<'py>(&mut self, py: Python<'py>) -> Result<Bound<'py, PyList>> {
        self.batch.clear();
        self.core.poll(BATCH, &mut self.batch)?;
        let events = PyList::empty(py);
        for event in &self.batch {
            events.append(self.classes.event(py, event, &mut self.legs)?)?;
        }
        Ok(events)
    }

    fn tick(&mut self) {
        self.core.tick();
    }

    fn counters<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        Ok(reports::engine(py, &self.core.counters(), &self.classes, &self.legs)?)
    }

    fn relay_counters<'py>(
        &self,
        py: Python<'py>,
        relay: u64,
    ) -> Result<Option<Bound<'py, PyAny>>> {
        let report = self.core.relay_counters(relay);
        Ok(report.map(|report| reports::relay(py, &report, &self.classes)).transpose()?)
    }
}

/// A descriptor that Python gives away.
fn owned(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(DoorError::Value("a descriptor is not negative"));
    }
    // SAFETY: the verb's caller hands the descriptor over and uses it no more.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
