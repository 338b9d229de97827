//! Python's classes of what the engine tells: looked up once, then called.

use pyo3::prelude::*;
use relay_core::counters::Drop;
use relay_core::engine::RelayError;
use relay_core::handup::Event;
use relay_core::leg::CloseReason;

use crate::legs::LegForms;

/// Classes of events, and the members of enumerations.
#[derive(Debug)]
pub(crate) struct Classes {
    client_message: Py<PyAny>,
    leg_opened: Py<PyAny>,
    leg_closed: Py<PyAny>,
    media_waiting: Py<PyAny>,
    close_reasons: Vec<Py<PyAny>>,
    relay_error: Py<PyAny>,
    pub(crate) drops: Vec<Py<PyAny>>,
}

impl Classes {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let base = py.import("turnd.engine.base")?;
        let class = |name: &str| base.getattr(name).map(Bound::unbind);
        let reason = base.getattr("CloseReason")?;
        let drop = base.getattr("Drop")?;
        Ok(Self {
            client_message: class("ClientMessage")?,
            leg_opened: class("LegOpened")?,
            leg_closed: class("LegClosed")?,
            media_waiting: class("MediaWaiting")?,
            close_reasons: members(&reason, CloseReason::ALL.map(CloseReason::name))?,
            relay_error: class("RelayError")?,
            drops: members(&drop, Drop::ALL.map(Drop::name))?,
        })
    }

    /// An event of `turnd.engine.base`.
    pub(crate) fn event<'py>(
        &self,
        py: Python<'py>,
        event: &Event,
        legs: &mut LegForms,
    ) -> PyResult<Bound<'py, PyAny>> {
        match event {
            Event::Message { leg, data } => {
                let parts = (legs.leg(py, leg)?, data.as_ref()).into_pyobject(py)?;
                legs.addresses.named_tuple(py, &self.client_message, parts)
            }
            Event::Opened(leg, server_name) => {
                let told = (legs.leg(py, leg)?, server_name.as_deref());
                self.leg_opened.bind(py).call1(told)
            }
            Event::Closed(leg, reason) => {
                let reason = &self.close_reasons[*reason as usize];
                self.leg_closed.bind(py).call1((legs.leg(py, leg)?, reason))
            }
            Event::MediaWaiting(leg) => self.media_waiting.bind(py).call1((legs.leg(py, leg)?,)),
        }
    }

    /// The member of `RelayError`.
    pub(crate) fn relay_error<'py>(
        &self,
        py: Python<'py>,
        error: &RelayError,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.relay_error.bind(py).getattr(match error {
            RelayError::PortTaken => "PORT_TAKEN",
            RelayError::NoSuchAddress => "NO_SUCH_ADDRESS",
            RelayError::NoDescriptors => "NO_DESCRIPTORS",
            RelayError::Other => "OTHER",
        })
    }
}

/// Members of a `StrEnum` by their values, in that order.
fn members<const N: usize>(
    class: &Bound<'_, PyAny>,
    values: [&str; N],
) -> PyResult<Vec<Py<PyAny>>> {
    values.into_iter().map(|value| class.call1((value,)).map(Bound::unbind)).collect()
}
