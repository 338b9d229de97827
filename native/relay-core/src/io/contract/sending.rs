//! What leaves, and what becomes of what does not.

use super::*;
use crate::sys::errors::read_icmp;
use crate::sys::options::{self, set_buffers};

pub(super) fn messages_leave_in_their_order<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let senders = [relay(host), relay(host), relay(host)];
        let receivers = [stranger(host), stranger(host)];
        for number in 0..90usize {
            let sender = &senders[number % 3];
            let receiver = &receivers[number % 2];
            let to = envelope(sender, address(receiver));
            let to = Envelope { runs: false, ..to };
            let data = format!("{number}");
            bench.push(&mut RunMark::default(), &to, data.as_bytes());
        }
        assert_eq!(bench.send(), [SENT; 90]);
        for (place, receiver) in receivers.iter().enumerate() {
            let mut last = [None; 3];
            for _ in 0..45 {
                let (data, from) = next(receiver);
                let number: usize = String::from_utf8(data).unwrap().parse().unwrap();
                let sender = number % 3;
                assert_eq!(number % 2, place);
                assert_eq!(from, address(&senders[sender]));
                assert!(last[sender] < Some(number));
                last[sender] = Some(number);
            }
        }
        assert!(bench.send().is_empty());
    }
}

pub(super) fn a_packet_goes_on_from_its_slot<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, peer, client) =
        (relay("127.0.0.1:0"), stranger("127.0.0.1:0"), stranger("127.0.0.1:0"));
    bench.watch(&socket, Token::relay(0, 1));
    let to = envelope(&socket, address(&client));
    for round in 0..2 * D::SLOTS {
        let text = format!("packet {round}");
        peer.send_to(text.as_bytes(), address(&socket)).unwrap();
        bench.until(|bench| bench.got.len() > round);
        let datagram = bench.arrivals.datagrams[0];
        let (slot, start) = (datagram.slot, datagram.start as usize);
        let at = bench.arena.prepend(slot, start, b"head");
        let piece = Piece::of_slot(slot, at, datagram.len as usize + 4);
        bench.push_pieces(&mut RunMark::default(), &to, &[piece]);
        assert_eq!(bench.send(), [SENT]);
        assert_eq!(next(&client).0, format!("head{text}").into_bytes());
    }
}

pub(super) fn a_run_is_cut_into_datagrams<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, receiver) = (relay(host), stranger(host));
        let to = envelope(&socket, address(&receiver));
        let mut mark = RunMark::default();
        bench.arena.bytes_mut(OURS)[..64].fill(9);
        for number in 0..64u8 {
            let header = bench.outbox.header([number / 2, 1, 2, 3]);
            let payload = Piece::of_slot(OURS, 0, 60);
            bench.push_pieces(&mut mark, &to, &[header, payload]);
        }
        bench.push(&mut mark, &to, &[7; 10]);
        assert_eq!(bench.outbox.transmits().len(), 2);
        assert_eq!(bench.send(), [SENT; 2]);
        for number in 0..64u8 {
            let (data, _) = next(&receiver);
            assert_eq!(data[..4], [number / 2, 1, 2, 3]);
            assert_eq!(data[4..], [9; 60]);
        }
        assert_eq!(next(&receiver).0, [7; 10]);
    }
}

pub(super) fn an_answer_leaves_from_the_address_that_was_asked<D: Driver>() {
    for (any, host) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
        let mut bench = Bench::<D>::new();
        let host: IpAddr = host.parse().unwrap();
        let socket = listener(any, true, false);
        let client = stranger(if host.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
        let to = Envelope { from: Some(host), ..envelope(&socket, address(&client)) };
        let mut mark = RunMark::default();
        bench.push(&mut mark, &to, b"single");
        assert_eq!(bench.send(), [SENT]);
        bench.push(&mut mark, &to, b"one");
        bench.push(&mut mark, &to, b"two");
        assert_eq!(bench.send(), [SENT]);
        let from = SocketAddr::new(host, address(&socket).port());
        for data in [&b"single"[..], b"one", b"two"] {
            assert_eq!(next(&client), (data.to_vec(), from));
        }
    }
}

pub(super) fn messages_leave_with_their_header_fields<D: Driver>() {
    for (any, host) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
        let mut bench = Bench::<D>::new();
        let from: IpAddr = host.parse().unwrap();
        let socket = listener(any, true, false);
        let receiver = relay(if from.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
        bench.watch(&receiver, Token::relay(1, 1));
        for fields in FIELDS {
            bench.got.clear();
            let to = envelope(&socket, address(&receiver));
            let to = Envelope { from: Some(from), fields, ..to };
            let mut mark = RunMark::default();
            for data in [&b"a run"[..], b"of it"] {
                bench.push(&mut mark, &to, data);
            }
            assert_eq!(bench.send(), [SENT]);
            bench.until(|bench| bench.got.iter().map(|got| got.data.len()).sum::<usize>() == 10);
            assert!(bench.got.iter().all(|got| got.fields == fields), "{fields:?}");
            assert_eq!(bench.got[0].from.ip(), from);
        }
    }
}

pub(super) fn a_run_that_the_socket_refuses_is_sent_apart<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, receiver) = (relay("127.0.0.1:0"), stranger("127.0.0.1:0"));
    // A run's datagrams must have checksums.
    options::set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let to = envelope(&socket, address(&receiver));
    let mut mark = RunMark::default();
    for data in [&b"abc"[..], b"def", b"g"] {
        let header = bench.outbox.header([1, 2, 3, 4]);
        let payload = bench.outbox.scratch(data);
        bench.push_pieces(&mut mark, &to, &[header, payload]);
    }
    bench.push(&mut RunMark::default(), &to, b"alone");
    assert_eq!(bench.send(), [(0, 0, true), SENT]);
    let mut got: Vec<Vec<u8>> = (0..4).map(|_| next(&receiver).0).collect();
    got.sort_unstable();
    let expected = [&b"\x01\x02\x03\x04abc"[..], b"\x01\x02\x03\x04def", b"\x01\x02\x03\x04g"];
    assert_eq!(got[..3], expected);
    assert_eq!(got[3], b"alone");
}

/// An IPv6 relay whose path is narrow: 1,280 bytes, as far as the socket knows.
fn narrow_relay() -> UdpSocket {
    let socket = relay("[::1]:0");
    options::set(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU, 1_280).unwrap();
    socket
}

pub(super) fn a_run_that_the_path_refuses_is_sent_apart<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, receiver) = (narrow_relay(), stranger("[::1]:0"));
    let to = envelope(&socket, address(&receiver));
    let mut mark = RunMark::default();
    for number in 0..3 {
        bench.push(&mut mark, &to, &[number; 1_400]);
    }
    assert_eq!(bench.send(), [(0, 0, true)]);
    for number in 0..3 {
        assert_eq!(next(&receiver).0, [number; 1_400]);
    }
}

pub(super) fn what_does_not_fit_is_lost_with_its_reason<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, receiver) = (narrow_relay(), stranger("[::1]:0"));
    // Forty fragments of one datagram are more than this buffer takes.
    let buffers = Buffers { receive: 0, send: 1 };
    set_buffers(socket.as_fd(), buffers).unwrap();
    let to = envelope(&socket, address(&receiver));
    for data in [&[1; 100][..], &[2; 50_000], &[3; 100]] {
        bench.push(&mut RunMark::default(), &to, data);
    }
    assert_eq!(bench.send(), [SENT, (1, libc::ENOBUFS, false), SENT]);
    assert_eq!(next(&receiver).0, [1; 100]);
    assert_eq!(next(&receiver).0, [3; 100]);
}

pub(super) fn fragments_are_not_sent_where_they_are_forbidden<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let (socket, receiver) = (narrow_relay(), stranger("[::1]:0"));
    let free = envelope(&socket, address(&receiver));
    let forbidden = Envelope { dont_fragment: true, ..free };
    let mut mark = RunMark::default();
    bench.push(&mut mark, &free, &[1; 2_000]);
    bench.push(&mut mark, &forbidden, &[2; 2_000]);
    bench.push(&mut mark, &forbidden, &[3; 200]);
    bench.push(&mut mark, &free, &[4; 3_000]);
    assert_eq!(bench.send(), [SENT, (1, libc::EMSGSIZE, false), SENT, SENT]);
    for (number, len) in [(1, 2_000), (3, 200), (4, 3_000)] {
        assert_eq!(next(&receiver).0, vec![number; len]);
    }
}

pub(super) fn an_icmp_error_costs_no_other_packet<D: Driver>() {
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, receiver) = (relay(host), stranger(host));
        let token = Token::relay(8, 2);
        bench.watch(&socket, token);
        // No system hands out such a port by itself.
        let nobody = SocketAddr::new(address(&receiver).ip(), 1);
        let relayed = |to| Envelope { relay: token, runs: false, ..envelope(&socket, to) };
        for round in 0..5u8 {
            bench.ready.clear();
            for to in [nobody, address(&receiver), nobody, address(&receiver)] {
                bench.push(&mut RunMark::default(), &relayed(to), &[round; 20]);
            }
            assert_eq!(bench.send(), [SENT; 4]);
            for _ in 0..2 {
                assert_eq!(next(&receiver).0, [round; 20]);
            }
            bench.until(|bench| bench.is_told(|ready| ready.socket == token && ready.error));
            let mut errors = 0;
            while let Ok(icmp) = read_icmp(socket.as_fd()) {
                assert_eq!(icmp.unwrap().target, nobody);
                errors += 1;
            }
            assert!((1..=2).contains(&errors), "{errors}");
        }
        // What arrives after an error arrives.
        bench.got.clear();
        receiver.send_to(b"still here", address(&socket)).unwrap();
        bench.until(|bench| bench.got.len() == 1);
    }
}

pub(super) fn an_error_that_a_whole_packet_meets_is_told<D: Driver>() {
    let token = Token::relay(8, 2);
    let told = |bench: &mut Bench<D>, socket: &UdpSocket| {
        bench.until(|bench| bench.is_told(|ready| ready.socket == token && ready.error));
        while read_icmp(socket.as_fd()).is_ok() {}
        bench.ready.clear();
    };
    for host in LOOPBACKS {
        let mut bench = Bench::<D>::new();
        let (socket, receiver) = (relay(host), stranger(host));
        bench.watch(&socket, token);
        let nobody = SocketAddr::new(address(&receiver).ip(), 1);
        let relayed = |to| Envelope { relay: token, ..envelope(&socket, to) };
        let whole = |to| Envelope { dont_fragment: true, ..relayed(to) };
        for round in 0..5u8 {
            // The packet after it hears of the first one's error, in place of the receive.
            bench.push(&mut RunMark::default(), &relayed(nobody), &[round; 20]);
            bench.push(&mut RunMark::default(), &whole(address(&receiver)), &[round; 20]);
            assert_eq!(bench.send(), [SENT; 2]);
            assert_eq!(next(&receiver).0, [round; 20]);
            told(&mut bench, &socket);
        }
    }
    // What our own link does not take waits in the error queue, too.
    let mut bench = Bench::<D>::new();
    let (socket, receiver) = (narrow_relay(), stranger("[::1]:0"));
    bench.watch(&socket, token);
    let to =
        Envelope { relay: token, dont_fragment: true, ..envelope(&socket, address(&receiver)) };
    for _ in 0..5 {
        bench.push(&mut RunMark::default(), &to, &[2; 2_000]);
        assert_eq!(bench.send(), [(1, libc::EMSGSIZE, false)]);
        told(&mut bench, &socket);
    }
}

pub(super) fn a_full_outbox_is_sent<D: Driver>() {
    let mut bench = Bench::<D>::new();
    let socket = relay("127.0.0.1:0");
    // Several, since the smallest buffer does not take it all.
    let receivers: Vec<UdpSocket> = (0..8).map(|_| stranger("127.0.0.1:0")).collect();
    let mut count = 0u32;
    while !bench.outbox.is_full() {
        let to = address(&receivers[count as usize % receivers.len()]);
        let to = Envelope { runs: false, ..envelope(&socket, to) };
        bench.push(&mut RunMark::default(), &to, &count.to_ne_bytes());
        count += 1;
    }
    assert!(bench.send().iter().all(|outcome| *outcome == SENT));
    for number in 0..count {
        let receiver = &receivers[number as usize % receivers.len()];
        assert_eq!(next(receiver).0, number.to_ne_bytes());
    }
}
