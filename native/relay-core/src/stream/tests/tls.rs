//! Streams with TLS, where they differ from those without.

use rustls::version::{TLS12, TLS13};

use super::tls_client::{Client, Hello, Records, config, greeted, shaken};
use super::*;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// RFC 8446 section 4.6.3: the message, with `update_requested`.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

fn connected() -> (Worker, Client) {
    shaken(&config(), &Hello::default())
}

/// The records of a stream's bytes: how long each is.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while let [_, 3, _, high, low, rest @ ..] = bytes {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        sizes.push(size);
        bytes = &rest[size..];
    }
    assert_eq!(bytes, b"");
    sizes
}

#[test]
fn frames_pass_both_ways_by_either_version() {
    for version in [&TLS12, &TLS13] {
        let (mut worker, mut client) = shaken(&config(), &Hello { version, ..Hello::default() });
        for size in [0, 1, 2, 3, 4, 1_200] {
            let data = vec![7; size];
            client.send(&[&BINDING, &padded(&data)[..]].concat());
            assert_eq!(worker.frames(), [BINDING.to_vec(), channel_data(&data)]);
            worker.stream.queue_media(&[&channel_data(&data)]).unwrap();
            worker.stream.queue_answer(&ANSWER).unwrap();
            assert_eq!(worker.stream.flush(), Flush::Done);
            assert_eq!(client.step().unwrap(), [&padded(&data)[..], &ANSWER].concat());
        }
    }
}

#[test]
fn a_stream_opens_when_the_client_has_finished() {
    for version in [&TLS12, &TLS13] {
        let hello = Hello { version, ..Hello::default() };
        let (mut worker, mut client) = greeted(&config(), &hello);
        worker.turn();
        assert_eq!(worker.opened, 0);
        while client.tls.is_handshaking() {
            client.step().unwrap();
            worker.turn();
        }
        assert_eq!(worker.opened, 1);
    }
}

#[test]
fn a_stream_knows_whom_its_client_asked_for() {
    for (name, expected) in [
        ("localhost", Some("localhost")),
        ("Turn.Example.ORG", Some("turn.example.org")),
        ("127.0.0.1", None),
    ] {
        for version in [&TLS12, &TLS13] {
            let hello = Hello { version, name, ..Hello::default() };
            let (worker, _client) = shaken(&config(), &hello);
            assert_eq!(worker.server_name.as_deref(), expected);
        }
    }
}

#[test]
fn what_was_read_before_belongs_to_the_handshake() {
    for cut in [1, 4, 5, 30, usize::MAX] {
        let (ours, theirs) = pair();
        let mut client = Client::new(theirs, &Hello::default());
        let hello = client.outgoing();
        let (before, after) = hello.split_at(cut.min(hello.len()));
        let mut worker = Worker::new(Stream::tls(ours, &SETTINGS, &config(), before, 0));
        worker.turn();
        send(&client.socket, after);
        worker.turn();
        client.step().unwrap();
        client.send(&BINDING);
        assert_eq!(worker.frames(), [BINDING]);
        assert_eq!(worker.opened, 1);
    }
}

#[test]
fn a_handshake_may_trickle_in() {
    for version in [&TLS12, &TLS13] {
        let (ours, theirs) = pair();
        let mut client = Client::new(theirs, &Hello { version, ..Hello::default() });
        let mut worker = Worker::new(Stream::tls(ours, &SETTINGS, &config(), b"", 0));
        for _ in 0..3 {
            for byte in client.outgoing() {
                assert!(!worker.stream.is_open());
                send(&client.socket, &[byte]);
                worker.turn();
            }
            let flight = received(&client.socket);
            client.tls.read_tls(&mut &flight[..]).unwrap();
            client.tls.process_new_packets().unwrap();
        }
        assert!(worker.stream.is_open());
        assert_eq!((worker.opened, worker.end), (1, None));
    }
}

#[test]
fn records_may_be_cut_anywhere() {
    let (mut worker, mut client) = connected();
    for cut in 0..=12 + 22 {
        let bytes = client.encrypt(&padded(b"whole"));
        send(&client.socket, &bytes[..cut]);
        worker.turn();
        send(&client.socket, &bytes[cut..]);
        assert_eq!(worker.frames(), [channel_data(b"whole")]);
    }
    for byte in client.encrypt(&BINDING) {
        send(&client.socket, &[byte]);
        worker.turn();
    }
    assert_eq!(worker.frames(), [BINDING]);
}

#[test]
fn a_frame_may_be_cut_by_records() {
    let (mut worker, mut client) = connected();
    for byte in [&BINDING[..], &padded(b"whole")].concat() {
        client.send(&[byte]);
    }
    assert_eq!(worker.frames(), [BINDING.to_vec(), channel_data(b"whole")]);
}

#[test]
fn many_records_come_by_one_read() {
    let (mut worker, mut client) = connected();
    worker.is_hungry();
    let records: Vec<_> = (0..200).flat_map(|_| client.encrypt(&padded(&[1; 160]))).collect();
    send(&client.socket, &records);
    let progress = worker.stream.readable(&mut worker.slot, &mut worker.scratch);
    assert_eq!(progress.filled, 200 * 164);
    assert!(!progress.more);
}

#[test]
fn the_longest_frames_pass_however_they_are_cut() {
    let (mut worker, mut client) = connected();
    worker.stream.expect_media();
    let frame = padded(&[7; 65_535]);
    let bytes = [&frame[..], &BINDING, &frame, &BINDING].concat();
    for size in [1_000, 5_000, 16_384, 65_540] {
        let records: Vec<_> = bytes.chunks(size).flat_map(|part| client.encrypt(part)).collect();
        for part in records.chunks(50_001) {
            send(&client.socket, part);
            worker.turn();
        }
        let media = channel_data(&[7; 65_535]);
        let expected = [&media[..], &BINDING, &media, &BINDING];
        assert_eq!(worker.frames(), expected);
    }
}

#[test]
fn what_the_slot_has_no_room_for_comes_next() {
    let (mut worker, mut client) = connected();
    worker.stream.expect_media();
    let frame = padded(&[7; 65_535]);
    client.send(&frame[..65_520]);
    // The frame's end and much more are in one record that has begun before the slot is full.
    let last = client.encrypt(&[&frame[65_520..], &BINDING.repeat(800)].concat());
    send(&client.socket, &last[..10_000]);
    worker.turn();
    send(&client.socket, &last[10_000..]);
    let frames = worker.frames();
    assert_eq!(frames.len(), 801);
    assert_eq!(frames[0], channel_data(&[7; 65_535]));
    assert!(frames[1..].iter().all(|frame| *frame == BINDING));
}

#[test]
fn what_is_no_hello_is_told_by_an_alert() {
    let (ours, theirs) = pair();
    let mut worker = Worker::new(Stream::tls(ours, &SETTINGS, &config(), b"", 0));
    send(&theirs, b"\x16\x03\x01\0\x05hello");
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::HandshakeFailed));
    assert_eq!(received(&theirs)[0], ALERT);
    assert_eq!(worker.opened, 0);
}

#[test]
fn a_handshake_that_goes_wrong_later_is_told_by_an_alert() {
    let (mut worker, mut client) = greeted(&config(), &Hello::default());
    worker.turn();
    received(&client.socket);
    // Not the client's Finished: it cannot be decrypted.
    send(&client.socket, &[&b"\x17\x03\x03\0\x20"[..], &[b'a'; 32]].concat());
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::HandshakeFailed));
    assert!(!received(&client.socket).is_empty());
    assert!(has_ended(&client.socket));
    client.tls.send_close_notify();
}

#[test]
fn a_hello_without_end_is_refused() {
    let (ours, theirs) = pair();
    let mut worker = Worker::new(Stream::tls(ours, &SETTINGS, &config(), b"", 0));
    let mut part = b"\x16\x03\x01\x40\0\x01\0\xF0\0".to_vec();
    part.resize(5 + 0x4000, 0);
    while worker.end.is_none() {
        send(&theirs, &part);
        worker.turn();
        part[5..9].fill(0);
    }
    assert_eq!(worker.end, Some(CloseReason::HandshakeFailed));
}

#[test]
fn more_than_a_hello_read_before_is_refused() {
    let (ours, _theirs) = pair();
    let first_bytes = vec![0; 1 << 20];
    let mut worker = Worker::new(Stream::tls(ours, &SETTINGS, &config(), &first_bytes, 0));
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::HandshakeFailed));
}

#[test]
fn no_hello_upsets_a_stream() {
    let (_, theirs) = pair();
    let hello = Client::new(theirs, &Hello::default()).outgoing();
    for at in 0..hello.len() {
        let mut wrong = hello.clone();
        wrong[at] ^= 0x55;
        let (mut worker, mut client) = greeted(&config(), &Hello::default());
        received(&worker.stream.socket);
        send(&client.socket, &wrong);
        worker.turn();
        // Whatever has been agreed on, it was not what the client has said.
        let _ = client.step();
        worker.turn();
        assert_eq!(worker.opened, 0);
    }
}

#[test]
fn a_handshake_has_a_deadline() {
    let (mut worker, mut client) = greeted(&config(), &Hello::default());
    worker.turn();
    assert_eq!(worker.stream.overdue(3 * SECOND - 1), None);
    assert_eq!(worker.stream.overdue(3 * SECOND), Some(CloseReason::HandshakeTimeout));
    client.step().unwrap();
    worker.turn();
    assert_eq!(worker.stream.overdue(Nanos::MAX), None);
}

#[test]
fn a_client_may_go_away_during_the_handshake() {
    let (mut worker, client) = greeted(&config(), &Hello::default());
    drop(client);
    worker.turn();
    worker.turn();
    assert_eq!((worker.end, worker.opened), (Some(CloseReason::Client), 0));
}

#[test]
fn a_wrong_record_ends_a_stream_after_what_was_right() {
    for version in [&TLS12, &TLS13] {
        let (mut worker, mut client) = shaken(&config(), &Hello { version, ..Hello::default() });
        let right = client.encrypt(&BINDING);
        let mut wrong = client.encrypt(&BINDING);
        *wrong.last_mut().unwrap() ^= 1;
        send(&client.socket, &[right, wrong].concat());
        assert_eq!(worker.frames(), [BINDING]);
        assert_eq!(worker.end, Some(CloseReason::Garbage));
        assert!(matches!(client.step(), Err(rustls::Error::AlertReceived(_))));
    }
}

#[test]
fn a_wrong_record_right_after_the_handshake_is_garbage() {
    let (mut worker, mut client) = greeted(&config(), &Hello::default());
    worker.turn();
    let flight = received(&client.socket);
    client.tls.read_tls(&mut &flight[..]).unwrap();
    client.tls.process_new_packets().unwrap();
    let mut bytes = client.encrypt(&BINDING);
    *bytes.last_mut().unwrap() ^= 1;
    send(&client.socket, &bytes);
    worker.turn();
    assert_eq!((worker.opened, worker.end), (1, Some(CloseReason::Garbage)));
}

#[test]
fn garbage_in_a_record_ends_a_stream() {
    let (mut worker, mut client) = connected();
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::Garbage));
}

#[test]
fn a_farewell_comes_after_what_was_sent() {
    let (mut worker, mut client) = connected();
    client.send(&BINDING);
    client.tls.send_close_notify();
    client.step().unwrap();
    assert_eq!(worker.frames(), [BINDING]);
    assert_eq!(worker.end, Some(CloseReason::Client));
}

#[test]
fn our_farewell_comes_after_what_waits() {
    for version in [&TLS12, &TLS13] {
        let (mut worker, mut client) = shaken(&config(), &Hello { version, ..Hello::default() });
        worker.stream.queue_answer(&ANSWER).unwrap();
        worker.stream.farewell();
        assert_eq!(client.step().unwrap(), ANSWER);
        assert!(client.tls.process_new_packets().unwrap().peer_has_closed());
        assert!(has_ended(&client.socket));
    }
}

#[test]
fn an_answer_before_the_handshake_ends_the_stream() {
    let (mut worker, _client) = greeted(&config(), &Hello::default());
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Failed);
}

#[test]
fn the_packets_of_a_turn_share_a_record() {
    let (mut worker, client) = connected();
    for _ in 0..50 {
        worker.stream.queue_media(&[&padded(&[0; 160])]).unwrap();
    }
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert_eq!(records(&received(&client.socket)), [50 * 164 + 17]);
}

#[test]
fn a_slow_client_loses_its_newest_media_whole() {
    let (mut worker, mut client) = connected();
    let mut taken = 0_u32;
    while worker.stream.queue_media(&[&padded(&[&taken.to_be_bytes()[..], &[0; 996]].concat())])
        == Ok(())
    {
        taken += 1;
    }
    let mut answers = 0;
    while worker.stream.queue_answer(&ANSWER) == Ok(()) {
        answers += 1;
        assert!(worker.stream.waiting() <= SETTINGS.backlog + ANSWER_RESERVE + 1_000);
    }
    assert!(answers > 3_000);
    let mut plaintext = Vec::new();
    while worker.stream.writable() == Flush::Waits {
        plaintext.extend(client.step().unwrap());
    }
    plaintext.extend(client.step().unwrap());
    let (media, answered) = plaintext.split_at(1_004 * taken as usize);
    for (number, frame) in media.chunks(1_004).enumerate() {
        assert_eq!(frame[4..8], (number as u32).to_be_bytes());
    }
    assert_eq!(answered, ANSWER.repeat(answers));
    worker.stream.queue_media(&[&padded(b"flows again")]).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert_eq!(client.step().unwrap(), padded(b"flows again"));
}

#[test]
fn new_keys_are_taken_and_made() {
    let (mut worker, mut client) = connected();
    for _ in 0..100 {
        client.tls.refresh_traffic_keys().unwrap();
        client.send(&BINDING);
        assert_eq!(worker.frames(), [BINDING]);
        worker.stream.queue_answer(&ANSWER).unwrap();
        assert_eq!(worker.stream.flush(), Flush::Done);
        assert_eq!(client.step().unwrap(), ANSWER);
    }
}

#[test]
fn new_keys_without_end_are_refused() {
    let (mut worker, client) = connected();
    let mut client = client;
    for _ in 0..1_000 {
        client.tls.refresh_traffic_keys().unwrap();
        client.step().unwrap();
        worker.turn();
        if worker.end.is_some() {
            break;
        }
    }
    assert_eq!(worker.end, Some(CloseReason::Garbage));
    assert!(worker.stream.waiting() < 4_096);
}

#[test]
fn asking_for_new_keys_and_reading_none_makes_nothing_wait() {
    let (mut worker, mut client) = connected();
    for _ in 0..2_000 {
        client.tls.refresh_traffic_keys().unwrap();
        client.send(&BINDING); // so that it is no flood
        assert_eq!(worker.frames(), [BINDING]);
        assert!(worker.stream.waiting() < 4_096);
    }
}

#[test]
fn sending_goes_on_while_a_message_of_the_session_is_incomplete() {
    let (mut worker, client) = connected();
    let mut records = Records::of(client);
    records.send(HANDSHAKE, &KEY_UPDATE[..3]);
    worker.turn();
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert_eq!(received(&records.socket).len(), 5 + ANSWER.len() + 17);
    records.send(HANDSHAKE, &KEY_UPDATE[3..]);
    worker.turn();
    assert_eq!(worker.end, None);
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
}

#[test]
fn a_message_of_the_session_without_end_is_refused() {
    let (mut worker, client) = connected();
    let mut records = Records::of(client);
    let mut part = [0; 0x4000];
    part[..4].copy_from_slice(&[24, 0, 0xF0, 0]);
    while worker.end.is_none() {
        records.send(HANDSHAKE, &part);
        worker.turn();
        part[..4].fill(0);
    }
    assert_eq!(worker.end, Some(CloseReason::Garbage));
}

#[test]
fn an_idle_stream_holds_no_buffers() {
    let (mut worker, mut client) = connected();
    client.send(&BINDING);
    worker.turn();
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
    let session = worker.stream.session.as_mut().unwrap();
    assert!(session.plaintext().capacity() <= 64);
    assert_eq!(session.resume(&mut []), 0);
    assert!(worker.stream.backlog.end().capacity() <= backlog::KEPT);
}
