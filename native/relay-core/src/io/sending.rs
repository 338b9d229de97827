//! What is common to all ways of sending: what a message asks of the kernel, and what is done
//! about one that was not taken.

use std::io::{self, IoSlice};

use super::arena::Arena;
use super::outbox::{Envelope, Outbox, Transmit};
use crate::fields::Fields;
use crate::sys::batch::send_one;
use crate::sys::control::Asked;
use crate::sys::socket::without_fragments;

/// A message that was not simply sent.
pub(super) struct Outcome {
    index: usize,
    lost: u32,
    errno: i32,
    refused_run: bool,
}

impl Outcome {
    /// Notes it in the message.
    pub(super) fn note(&self, outbox: &mut Outbox) {
        let transmit = outbox.transmit_mut(self.index);
        transmit.lost = self.lost;
        transmit.errno = self.errno;
        transmit.refused_run = self.refused_run;
    }
}

/// What a message asks of the kernel beside its bytes and its destination, if anything.
pub(super) fn asked_by(transmit: &Transmit) -> Option<Asked> {
    if transmit.packets > 1 {
        // A run's datagrams are shorter than a UDP length field tells.
        let cut = Asked::nothing().cut(transmit.segment as u16);
        return Some(with_header(cut, transmit));
    }
    let Envelope { from, fields, .. } = transmit.envelope;
    (from.is_some() || fields != Fields::default()).then(|| with_header(Asked::nothing(), transmit))
}

/// What each of its datagrams asks.
fn with_header(asked: Asked, transmit: &Transmit) -> Asked {
    let Envelope { from, fields, to, .. } = &transmit.envelope;
    let asked = asked.mark(*fields, to.is_ipv6());
    match *from {
        Some(host) => asked.leave_from(host, to),
        None => asked,
    }
}

/// Whether an error may be that of an earlier packet, to anybody: told by ICMP, and by the next
/// send.
pub(super) fn is_told_by_icmp(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES
            | libc::EMSGSIZE
    )
}

/// Whether an error may be that of a run as such: no checksum offload at the device, none at the
/// socket, a path that is narrower than a segment, a tunnel that cannot.
fn refuses_runs(errno: i32) -> bool {
    matches!(
        errno,
        libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP | libc::ENOPROTOOPT
    )
}

/// Sends a message with the Don't Fragment bit, by itself. `failed` hears why it was not taken at
/// first, if it was not.
pub(super) fn send_unfragmented(
    outbox: &Outbox,
    index: usize,
    arena: &Arena,
    failed: impl FnOnce(i32),
) -> Option<Outcome> {
    let envelope = &outbox.transmits()[index].envelope;
    let ipv6 = envelope.to.is_ipv6();
    without_fragments(envelope.socket, ipv6, || {
        let result = send_whole(outbox, index, arena);
        Ok(result.err().and_then(|error| {
            let errno = errno_of(&error);
            failed(errno);
            // While the bit is set: what is lost without it is lost.
            send_after(outbox, index, arena, errno)
        }))
    })
    .unwrap_or_else(|error| Some(lost(outbox, index, errno_of(&error))))
}

/// What to do about a message that was not taken: `None` if it was sent after all.
pub(super) fn send_after(
    outbox: &Outbox,
    index: usize,
    arena: &Arena,
    errno: i32,
) -> Option<Outcome> {
    let mut errno = errno;
    if is_told_by_icmp(errno) {
        match send_whole(outbox, index, arena) {
            Ok(()) => return None,
            Err(again) => errno = errno_of(&again),
        }
    }
    if outbox.transmits()[index].packets > 1 && refuses_runs(errno) {
        return send_apart(outbox, index, arena, errno);
    }
    Some(lost(outbox, index, errno))
}

/// A message of which nothing was sent.
pub(super) fn lost(outbox: &Outbox, index: usize, errno: i32) -> Outcome {
    Outcome { index, lost: outbox.transmits()[index].packets, errno, refused_run: false }
}

fn send_whole(outbox: &Outbox, index: usize, arena: &Arena) -> io::Result<()> {
    let transmit = &outbox.transmits()[index];
    let pieces: Vec<IoSlice<'_>> = outbox.gather(index, arena).map(IoSlice::new).collect();
    let asked = asked_by(transmit).unwrap_or_else(Asked::nothing);
    send_one(transmit.envelope.socket, &transmit.envelope.to, &pieces, &asked)
}

/// Sends a run's datagrams one by one. It is the path that refuses runs if any of them gets out.
fn send_apart(outbox: &Outbox, index: usize, arena: &Arena, errno: i32) -> Option<Outcome> {
    let transmit = &outbox.transmits()[index];
    let envelope = &transmit.envelope;
    let asked = with_header(Asked::nothing(), transmit);
    let mut outcome = Outcome { index, lost: 0, errno, refused_run: false };
    let mut datagram = Vec::new();
    let (mut bytes, mut rest) = (0, transmit.bytes);
    for piece in outbox.gather(index, arena) {
        datagram.push(IoSlice::new(piece));
        bytes += piece.len() as u32;
        if bytes < transmit.segment.min(rest) {
            continue;
        }
        let send = || send_one(envelope.socket, &envelope.to, &datagram, &asked);
        let result = send()
            .or_else(|error| if is_told_by_icmp(errno_of(&error)) { send() } else { Err(error) });
        if let Err(error) = result {
            outcome.lost += 1;
            outcome.errno = errno_of(&error);
        }
        rest -= bytes;
        bytes = 0;
        datagram.clear();
    }
    outcome.refused_run = outcome.lost < transmit.packets;
    if outcome.lost == 0 {
        outcome.errno = 0;
    }
    Some(outcome)
}

/// The number of an error that the kernel told.
pub(super) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
