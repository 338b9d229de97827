//! What arrives, how fairly, and what is told of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::sys::clock;
use crate::sys::wake::Wake;

pub(super) fn one_datagram_arrives_with_its_sender<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, sender) = (relay(host), stranger(host));
        let token = Token::relay(5, 9);
        bench.watch(&socket, token);
        for data in [&b"a datagram"[..], b"", &[7; 9_000]] {
            bench.got.clear();
            sender.send_to(data, address(&socket)).unwrap();
            bench.until(|bench| !bench.got.is_empty());
            let got = &bench.got[0];
            assert_eq!((got.socket, got.from), (token, address(&sender)));
            assert_eq!(got.data, data);
            assert_eq!(got.segment as usize, data.len());
            assert_eq!((got.to, got.received), (None, 0));
        }
        assert!(bench.ready.is_empty());
    }
}

pub(super) fn a_burst_arrives_in_its_order<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, sender) = (listener("127.0.0.1:0", false, false), stranger("127.0.0.1:0"));
    bench.watch(&socket, Token::listener(1));
    for round in 0..20u32 {
        for number in 0..100u32 {
            let text = format!("{round} {number}");
            sender.send_to(text.as_bytes(), address(&socket)).unwrap();
        }
        let count = 100 * (round as usize + 1);
        bench.until(|bench| bench.got.len() == count);
    }
    for (place, got) in bench.got.iter().enumerate() {
        assert_eq!(got.data, format!("{} {}", place / 100, place % 100).into_bytes());
    }
}

pub(super) fn a_run_arrives_merged<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, sender) = (relay(host), stranger(host));
        bench.watch(&socket, Token::relay(1, 1));
        let data: Vec<u8> = (0..64_000u32).map(|number| number as u8).collect();
        for (len, segment) in [(10 * 160 + 50, 160), (64_000, 1_000), (300, 160)] {
            bench.got.clear();
            send_run(&sender, &data[..len], segment, address(&socket));
            bench.until(|bench| !bench.got.is_empty());
            assert_eq!(bench.got[0].data, &data[..len]);
            assert_eq!(bench.got[0].segment, u32::from(segment));
            assert_eq!(bench.got.len(), 1);
        }
    }
}

pub(super) fn a_wildcard_socket_tells_where_to<D: Driver>() {
    for (any, host) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
        let mut bench = Bench::<D>::new();
        let host: IpAddr = host.parse().unwrap();
        let (socket, sender) = (listener(any, true, false), stranger(any));
        bench.watch(&socket, Token::listener(0));
        let to = SocketAddr::new(host, address(&socket).port());
        send_run(&sender, &[1; 400], 100, to);
        bench.until(|bench| !bench.got.is_empty());
        assert_eq!(bench.got[0].to, Some(host));
        assert_eq!(bench.got[0].segment, 100);
    }
}

pub(super) fn header_fields_are_told<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, sender) = (relay(host), stranger(host));
        bench.watch(&socket, Token::relay(1, 1));
        for fields in FIELDS {
            let to = Envelope { fields, ..envelope(&sender, address(&socket)) };
            for data in [&b"one"[..], b"two"] {
                bench.push(&mut RunMark::default(), &to, data);
            }
            assert_eq!(bench.send(), [SENT, SENT]);
        }
        bench.until(|bench| bench.got.len() == 2 * FIELDS.len());
        let got: Vec<Fields> = bench.got.iter().map(|got| got.fields).collect();
        assert_eq!(got, FIELDS.map(|fields| [fields; 2]).concat());
    }
}

pub(super) fn arrival_is_stamped_if_asked_for<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, sender) = (listener("[::]:0", true, true), stranger("[::1]:0"));
    bench.watch(&socket, Token::listener(0));
    let to = SocketAddr::new(address(&sender).ip(), address(&socket).port());
    let before = clock::realtime();
    send_run(&sender, &[1; 4_000], 1_000, to);
    bench.until(|bench| !bench.got.is_empty());
    assert!((before..=clock::realtime()).contains(&bench.got[0].received));
    assert_eq!(bench.got[0].to, Some(to.ip()));
    assert_eq!(bench.got[0].segment, 1_000);
}

pub(super) fn a_flood_starves_no_other_socket<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    let sockets: Vec<UdpSocket> = (0..8).map(|_| relay("127.0.0.1:0")).collect();
    for (place, socket) in (0..).zip(&sockets) {
        bench.watch(socket, Token::relay(place, 1));
    }
    let flooded = address(&sockets[3]);
    // Several batches, and no more than the smallest buffer takes.
    const FLOOD: usize = 400;
    for _ in 0..FLOOD {
        sender.send_to(b"flood", flooded).unwrap();
    }
    for socket in &sockets {
        sender.send_to(b"one", address(socket)).unwrap();
    }
    let of_others = |bench: &Bench<D>| bench.got.iter().filter(|got| got.data == b"one").count();
    bench.until(|bench| of_others(bench) >= sockets.len() - 1);
    assert!(bench.turns <= 2, "{} turns", bench.turns);
    assert!(bench.got.len() < FLOOD);
    bench.until(|bench| bench.got.len() == FLOOD + sockets.len());
}

pub(super) fn more_than_there_are_slots_arrives<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    let sockets: Vec<UdpSocket> = (0..20).map(|_| relay("127.0.0.1:0")).collect();
    for (place, socket) in (0..).zip(&sockets) {
        bench.watch(socket, Token::relay(place, 1));
    }
    let each = 2 * D::SLOTS / sockets.len();
    for round in 0..3 {
        for number in 0..each as u32 {
            for socket in &sockets {
                let data = (round * each as u32 + number).to_ne_bytes();
                sender.send_to(&data, address(socket)).unwrap();
            }
        }
        let count = (round as usize + 1) * each * sockets.len();
        bench.until(|bench| bench.got.len() == count);
    }
    let mut expected = HashMap::new();
    for got in &bench.got {
        let number = expected.entry(got.socket).or_insert(0u32);
        assert_eq!(got.data, number.to_ne_bytes());
        *number += 1;
    }
    assert_eq!(expected.len(), sockets.len());
}

pub(super) fn an_idle_turn_brings_nothing<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let socket = relay("127.0.0.1:0");
    bench.watch(&socket, Token::relay(1, 1));
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let before = Instant::now();
        bench.turn(timeout);
        assert!(before.elapsed() >= timeout);
        assert!(bench.got.is_empty() && bench.ready.is_empty());
    }
}

pub(super) fn a_thread_is_woken_until_it_drains<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let wake = std::sync::Arc::new(Wake::new().unwrap());
    bench.watch(&*wake, Token::WAKE);
    for _ in 0..3 {
        let from_elsewhere = std::sync::Arc::clone(&wake);
        let thread = std::thread::spawn(move || from_elsewhere.wake());
        bench.until(|bench| bench.is_told(|ready| ready.socket == Token::WAKE));
        thread.join().unwrap();
        bench.ready.clear();
        bench.turn(Duration::ZERO);
        assert!(bench.is_told(|ready| ready.socket == Token::WAKE && ready.readable));
        wake.drain();
        // A driver may have looked before the draining, once.
        bench.turn(Duration::ZERO);
        bench.ready.clear();
        bench.turn(Duration::ZERO);
        assert!(bench.ready.is_empty());
    }
    bench.unwatch(&*wake, Token::WAKE);
    wake.wake();
    bench.turn(Duration::ZERO);
    bench.turn(Duration::ZERO);
    assert!(bench.ready.is_empty());
}

fn stream_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

pub(super) fn a_stream_is_told_again_until_it_is_read<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (mut ours, mut theirs) = stream_pair();
    let token = Token::stream(2, 7);
    bench.watch(&ours, token);
    bench.turn(Duration::ZERO);
    assert!(bench.ready.is_empty());
    theirs.write_all(b"abcd").unwrap();
    for part in [b"a", b"b", b"c"] {
        bench.ready.clear();
        bench.until(|bench| bench.is_told(|ready| ready.socket == token && ready.readable));
        assert!(!bench.is_told(|ready| ready.writable || ready.error));
        let mut room = [0; 1];
        ours.read_exact(&mut room).unwrap();
        assert_eq!(&room, part);
    }
    ours.read_exact(&mut [0; 1]).unwrap();
    drop(theirs);
    bench.turn(Duration::ZERO);
    bench.ready.clear();
    bench.until(|bench| bench.is_told(|ready| ready.socket == token && ready.readable));
}

pub(super) fn a_stream_is_wanted_for_what_it_is<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (ours, mut theirs) = stream_pair();
    let token = Token::stream(2, 7);
    bench.watch(&ours, token);
    theirs.write_all(b"abcd").unwrap();
    bench.driver.want(ours.as_fd(), token, false, true).unwrap();
    bench.until(|bench| bench.is_told(|ready| ready.writable));
    assert!(!bench.is_told(|ready| ready.readable));
    bench.driver.want(ours.as_fd(), token, false, false).unwrap();
    bench.turn(Duration::ZERO);
    bench.ready.clear();
    bench.turn(Duration::ZERO);
    assert!(bench.ready.is_empty());
    bench.driver.want(ours.as_fd(), token, true, false).unwrap();
    bench.until(|bench| bench.is_told(|ready| ready.readable && !ready.writable));
    bench.unwatch(&ours, token);
    bench.turn(Duration::ZERO);
    bench.ready.clear();
    bench.turn(Duration::ZERO);
    assert!(bench.ready.is_empty());
}

pub(super) fn a_socket_that_is_unwatched_frees_its_port<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    // A host of this test's own: no other test takes the port meanwhile.
    let mut at = format!("127.0.1.{}:0", D::NAME.len());
    for round in 0..50u32 {
        // Fails if anything holds the former socket.
        let socket = relay(&at);
        at = address(&socket).to_string();
        let token = Token::relay(0, round);
        bench.watch(&socket, token);
        if round % 3 > 0 {
            sender.send_to(b"a datagram", address(&socket)).unwrap();
        }
        match round % 4 {
            0 => {}
            1 => bench.turn(Duration::ZERO),
            _ => sender.send_to(b"another", address(&socket)).map(drop).unwrap(),
        }
        bench.unwatch(&socket, token);
    }
    let socket = relay(&at);
    bench.watch(&socket, Token::relay(0, 50));
    bench.got.clear();
    sender.send_to(b"at last", address(&socket)).unwrap();
    let last = |got: &Got| got.socket == Token::relay(0, 50) && got.data == b"at last";
    bench.until(|bench| bench.got.iter().any(last));
}

pub(super) fn a_socket_that_is_handed_on_loses_nothing<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    for round in 0..20u32 {
        let (socket, other) = (relay("127.0.0.1:0"), relay("127.0.0.1:0"));
        let (token, others) = (Token::relay(0, round), Token::relay(1, round));
        bench.watch(&socket, token);
        bench.watch(&other, others);
        let mut sent = 0u8;
        let mut send = |number| {
            for _ in 0..number {
                sender.send_to(&[sent], address(&socket)).unwrap();
                sent += 1;
            }
        };
        send(1);
        bench.until(|bench| bench.got.iter().any(|got| got.socket == token));
        // What comes while something else is seen to has perhaps been received by then.
        send(40);
        bench.push(&mut RunMark::default(), &envelope(&other, address(&sender)), b"out");
        bench.send();
        bench.unwatch(&other, others);
        send(40);
        bench.arrivals.clear();
        bench.driver.hand_on(socket.as_fd(), token, &bench.arena, &mut bench.arrivals);
        let taken = bench.arrivals.take_from(token, &bench.arena);
        let mut all: Vec<u8> = taken.iter().map(|carried| carried.data[0]).collect();
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 9];
        while socket.recv(&mut buffer).is_ok() {
            all.push(buffer[0]);
        }
        assert_eq!(all, (1..81).collect::<Vec<u8>>());
        bench.turn(Duration::ZERO);
    }
}

pub(super) fn a_driver_that_is_dropped_frees_all_ports<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    let host = format!("127.0.4.{}:0", D::NAME.len());
    let sockets: Vec<UdpSocket> = (0..300).map(|_| relay(&host)).collect();
    for (place, socket) in (0..).zip(&sockets) {
        bench.watch(socket, Token::relay(place, 1));
        sender.send_to(b"a datagram", address(socket)).unwrap();
    }
    bench.until(|bench| bench.got.len() > 100);
    drop(bench.driver);
    for socket in sockets {
        let address = address(&socket);
        drop(socket);
        UdpSocket::bind(address).unwrap();
    }
}

pub(super) fn a_place_has_its_next_tenant<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    // Listeners have no generations: the same token names one after the other.
    let token = Token::listener(4);
    for round in 0..40u8 {
        let socket = listener("127.0.0.1:0", false, false);
        let other = listener("127.0.0.1:0", false, false);
        bench.watch(&socket, token);
        bench.watch(&other, Token::listener(5));
        for _ in 0..round % 3 {
            sender.send_to(&[round], address(&socket)).unwrap();
        }
        bench.got.clear();
        bench.until(|bench| bench.got.len() >= usize::from(round % 3));
        bench.turn(Duration::ZERO);
        // Nothing that was its predecessor's, and nothing twice.
        let numbers: Vec<u8> = bench.got.iter().map(|got| got.data[0]).collect();
        assert_eq!(numbers, vec![round; usize::from(round % 3)]);
        // The kernel has these when the sockets go, and hands one over while the other goes.
        for going in [&socket, &other] {
            sender.send_to(&[round], address(going)).unwrap();
        }
        bench.unwatch(&other, Token::listener(5));
        bench.unwatch(&socket, token);
    }
}

pub(super) fn two_thousand_sockets_are_seen_to<D: Driver>() {
    const COUNT: u32 = 2_000;
    allow_descriptors();
    let mut bench = Bench::<D>::new();
    let sender = stranger("127.0.0.1:0");
    let host = format!("127.0.2.{}:0", D::NAME.len());
    let sockets: Vec<UdpSocket> = (0..COUNT).map(|_| relay(&host)).collect();
    for (place, socket) in (0..).zip(&sockets) {
        bench.watch(socket, Token::relay(place, 3));
    }
    for round in 1..=3 {
        for socket in &sockets {
            sender.send_to(b"one each", address(socket)).unwrap();
        }
        bench.until(|bench| bench.got.len() == (round * COUNT) as usize);
        let mut seen = vec![0; COUNT as usize];
        for got in &bench.got {
            assert_eq!(got.socket.generation(), 3);
            seen[got.socket.place()] += 1;
        }
        assert!(seen.iter().all(|count| *count == round));
    }
    let addresses: Vec<SocketAddr> = sockets.iter().map(address).collect();
    for (place, socket) in (0..).zip(&sockets) {
        bench.unwatch(socket, Token::relay(place, 3));
    }
    drop(sockets);
    for address in addresses {
        UdpSocket::bind(address).unwrap();
    }
}
