//! What the drivers cost without rules: a fixed map instead of tables, for `turnload --raw`.
//!
//! Client i (port 20000 + i) sends ChannelData of channel 0x4000 + i to port 3478; relay i is at
//! port 40000 + i, its peer at 30000 + i. `forward epoll|uring|auto CLIENTS`

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use relay_core::address::RawAddress;
use relay_core::fields::Fields;
use relay_core::io::arena::Arena;
use relay_core::io::epoll::EpollDriver;
use relay_core::io::outbox::{Envelope, Outbox, Piece, RunMark};
use relay_core::io::probe::{Io, IoChoice, choose};
use relay_core::io::uring::UringDriver;
use relay_core::io::{Arrivals, Datagram, Driver, Kind, Token};
use relay_core::sys::options::{Buffers, prepare_listener, prepare_relay};
use relay_core::sys::socket::{SocketOptions, bind_udp};

const LISTENER: u16 = 3_478;
const CLIENTS: u16 = 20_000;
const PEERS: u16 = 30_000;
const RELAYS: u16 = 40_000;

/// One client and its peer.
struct Path {
    up: (Envelope, RunMark),
    down: (Envelope, RunMark),
    header: [u8; 2],
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn bind(port: u16) -> std::io::Result<OwnedFd> {
    let buffers = Buffers { receive: 4 << 20, send: 4 << 20 };
    bind_udp(local(port), &SocketOptions { buffers, shared: false })
}

fn envelope(socket: &OwnedFd, port: u16, place: u16, upward: bool) -> Envelope {
    Envelope {
        socket: socket.as_raw_fd(),
        to: RawAddress::from(local(port)),
        from: None,
        fields: Fields::default(),
        relay: Token::relay(place.into(), 1),
        ledger: 0,
        upward,
        dont_fragment: false,
        runs: true,
    }
}

fn forward<D: Driver>(clients: u16) -> Result<(), Box<dyn Error>> {
    let mut arena = Arena::new(D::SLOTS);
    let mut driver = D::new(&arena)?;
    let listener = bind(LISTENER)?;
    prepare_listener(listener.as_fd(), false, false)?;
    driver.watch(listener.as_fd(), Token::listener(0))?;
    let (mut relays, mut paths) = (Vec::new(), Vec::new());
    for place in 0..clients {
        let relay = bind(RELAYS + place)?;
        prepare_relay(relay.as_fd(), false, false)?;
        driver.watch(relay.as_fd(), Token::relay(place.into(), 1))?;
        paths.push(Path {
            up: (envelope(&relay, PEERS + place, place, true), RunMark::default()),
            down: (envelope(&listener, CLIENTS + place, place, false), RunMark::default()),
            header: (0x4000 + place).to_be_bytes(),
        });
        relays.push(relay);
    }
    let (mut arrivals, mut outbox) = (Arrivals::default(), Outbox::default());
    loop {
        driver.receive(&mut arena, &mut arrivals, None)?;
        for datagram in &arrivals.datagrams {
            let mut start = 0;
            while start < datagram.len {
                let len = datagram.segment.min(datagram.len - start);
                let at = (datagram.start + start, len);
                handle(datagram, at, &mut paths, &mut arena, &mut outbox);
                start += len;
                if outbox.is_full() {
                    driver.send(&mut outbox, &arena);
                    outbox.clear();
                }
            }
        }
        driver.send(&mut outbox, &arena);
        outbox.clear();
    }
}

fn handle(
    datagram: &Datagram,
    (start, len): (u32, u32),
    paths: &mut [Path],
    arena: &mut Arena,
    outbox: &mut Outbox,
) {
    let slot = datagram.slot;
    if datagram.socket.kind() == Kind::Listener {
        let data = arena.slice(slot, start as i32, len as usize);
        let place = usize::from(datagram.from.port().wrapping_sub(CLIENTS));
        if let (Some(path), Some(header)) = (paths.get_mut(place), data.first_chunk::<4>()) {
            let payload = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if payload + 4 <= data.len() {
                let piece = Piece::of_slot(slot, start as i32 + 4, payload);
                outbox.push(&mut path.up.1, &path.up.0, &[piece], payload, 0);
            }
        }
    } else if let Some(path) = paths.get_mut(datagram.socket.place()) {
        let [high, low] = (len as u16).to_be_bytes();
        let header = [path.header[0], path.header[1], high, low];
        let payload = len as usize;
        if datagram.segment < datagram.len {
            let pieces = [outbox.header(header), Piece::of_slot(slot, start as i32, payload)];
            outbox.push(&mut path.down.1, &path.down.0, &pieces, payload, 0);
        } else {
            let at = arena.prepend(slot, start as usize, &header);
            let piece = Piece::of_slot(slot, at, payload + 4);
            outbox.push(&mut path.down.1, &path.down.0, &[piece], payload, 0);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let choice = match arguments.next().as_deref() {
        Some("auto") => IoChoice::Auto,
        Some("epoll") => IoChoice::Epoll,
        Some("uring") => IoChoice::Uring,
        _ => return Err("forward epoll|uring|auto CLIENTS".into()),
    };
    let clients = arguments.next().unwrap_or_default().parse()?;
    let chosen = choose(choice)?;
    eprintln!("{}", chosen.why);
    match chosen.io {
        Io::Epoll => forward::<EpollDriver>(clients),
        Io::Uring => forward::<UringDriver>(clients),
    }
}
