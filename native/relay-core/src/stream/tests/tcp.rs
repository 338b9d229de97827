//! Streams without TLS, and what is the same with it.

use super::*;

fn connected() -> (Worker, TcpStream) {
    connected_after(b"")
}

fn connected_after(first_bytes: &[u8]) -> (Worker, TcpStream) {
    let (ours, theirs) = pair();
    (Worker::new(Stream::tcp(ours, &SETTINGS, first_bytes)), theirs)
}

/// Queues media until the bound is met. Returns how many frames were taken.
fn fill(worker: &mut Worker) -> usize {
    for number in 0..100_000_u32 {
        let header = channel_data(&[0; 1_200]);
        let mut payload = [0; 1_200];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        if worker.stream.queue_media(&[&header[..4], &payload]) == Err(Full) {
            return number as usize;
        }
    }
    panic!("no bound");
}

/// Frames of 1,200 bytes of data as `fill` makes them, and what follows them.
fn numbered(bytes: &[u8]) -> (Vec<u32>, &[u8]) {
    let mut frames = bytes.chunks_exact(1_204);
    let mut numbers = Vec::new();
    let mut at = 0;
    for frame in frames.by_ref().take_while(|frame| frame[0] == 0x40) {
        assert_eq!(frame[..4], channel_data(&[0; 1_200])[..4]);
        numbers.push(u32::from_be_bytes(frame[4..8].try_into().unwrap()));
        at += frame.len();
    }
    (numbers, &bytes[at..])
}

#[test]
fn a_stream_is_open_at_once() {
    let (mut worker, _theirs) = connected();
    worker.turn();
    worker.turn();
    assert_eq!(worker.opened, 1);
    assert_eq!(worker.end, None);
}

#[test]
fn what_was_read_before_comes_first() {
    let (mut worker, theirs) = connected_after(&BINDING[..7]);
    send(&theirs, &BINDING[7..]);
    assert_eq!(worker.frames(), [BINDING]);
    assert_eq!(worker.opened, 1);
}

#[test]
fn what_was_read_before_may_be_more_than_a_slot() {
    let mut first = BINDING.repeat(SLOT_SIZE / 20 + 10);
    let last = first.split_off(first.len() - 3);
    let (mut worker, theirs) = connected_after(&first);
    send(&theirs, &last);
    assert_eq!(worker.frames(), vec![BINDING; SLOT_SIZE / 20 + 10]);
}

#[test]
fn frames_may_be_cut_anywhere() {
    let bytes = [&BINDING[..], &padded(b"whole"), &padded(b""), &BINDING].concat();
    let expected = [BINDING.to_vec(), channel_data(b"whole"), channel_data(b""), BINDING.to_vec()];
    for cut in 0..=bytes.len() {
        let (mut worker, theirs) = connected();
        send(&theirs, &bytes[..cut]);
        worker.turn();
        send(&theirs, &bytes[cut..]);
        assert_eq!(worker.frames(), expected);
    }
}

#[test]
fn many_frames_come_by_one_read() {
    let (mut worker, theirs) = connected();
    worker.is_hungry();
    let frames: Vec<_> = (0..100).map(|size| vec![size as u8; size]).collect();
    send(&theirs, &frames.iter().flat_map(|data| padded(data)).collect::<Vec<_>>());
    let progress = worker.stream.readable(&mut worker.slot, &mut worker.scratch);
    let mut at = 0;
    for data in frames {
        let frame = worker.stream.next_frame(&worker.slot[..progress.filled], &mut at);
        assert_eq!(worker.slot[frame.unwrap().unwrap()], channel_data(&data));
    }
    assert!(!progress.more);
}

#[test]
fn a_read_brings_about_as_many_messages_as_one_should() {
    let (mut worker, theirs) = connected();
    for (message, most) in [(BINDING.to_vec(), 205), (padded(b""), 1_024), (padded(&[7; 9]), 128)] {
        send(&theirs, &message.repeat(4_000));
        let mut reads = Vec::new();
        while reads.iter().sum::<usize>() < 4_000 {
            let progress = worker.stream.readable(&mut worker.slot, &mut worker.scratch);
            assert!(progress.more || reads.iter().sum::<usize>() + 300 > 4_000);
            reads.push(worker.take_out(progress.filled));
        }
        assert!(reads[0] <= most, "{reads:?}");
        assert!(reads[1..].iter().all(|messages| *messages <= 130), "{reads:?}");
    }
    for _ in 0..20 {
        send(&theirs, &padded(&[7; 996]).repeat(3));
        let progress = worker.stream.readable(&mut worker.slot, &mut worker.scratch);
        worker.take_out(progress.filled);
    }
    send(&theirs, &padded(&[7; 996]).repeat(60));
    let progress = worker.stream.readable(&mut worker.slot, &mut worker.scratch);
    assert_eq!(progress.read, 60_000, "it is trusted again");
}

#[test]
fn the_longest_frame_passes_when_there_is_a_relay() {
    let (mut worker, theirs) = connected();
    worker.stream.expect_media();
    for _ in 0..3 {
        let bytes = [padded(&[7; 65_535]), BINDING.to_vec()].concat();
        for part in bytes.chunks(30_000) {
            send(&theirs, part);
            worker.turn();
        }
        assert_eq!(worker.frames(), [channel_data(&[7; 65_535]), BINDING.to_vec()]);
    }
}

#[test]
fn a_long_frame_is_garbage_before_there_is_a_relay() {
    let (mut worker, theirs) = connected();
    send(&theirs, &padded(&[0; 5_000])[..4]);
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::Garbage));
}

#[test]
fn garbage_ends_a_stream_after_what_was_right() {
    for garbage in [&b"\x80"[..], b"\0\x01\0\0HTTP", b"\x50\0\0\0"] {
        let (mut worker, theirs) = connected();
        send(&theirs, &[&BINDING, garbage].concat());
        assert_eq!(worker.frames(), [BINDING]);
        assert_eq!(worker.end, Some(CloseReason::Garbage));
        assert!(has_ended(&theirs));
    }
}

#[test]
fn the_clients_end_comes_after_its_last_frames() {
    let (mut worker, theirs) = connected();
    send(&theirs, &BINDING);
    drop(theirs);
    assert_eq!(worker.frames(), [BINDING]);
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::Client));
}

#[test]
fn a_frame_that_trickles_in_has_a_deadline() {
    let (mut worker, theirs) = connected();
    send(&theirs, &BINDING[..10]);
    worker.turn();
    worker.now = 7 * SECOND - 1;
    assert_eq!(worker.stream.overdue(worker.now), None);
    send(&theirs, &[&BINDING[10..], &BINDING[..10]].concat());
    assert_eq!(worker.frames(), [BINDING]);
    assert_eq!(worker.stream.overdue(14 * SECOND - 2), None);
    assert_eq!(worker.stream.overdue(14 * SECOND - 1), Some(CloseReason::FrameTimeout));
    send(&theirs, &BINDING[10..]);
    worker.turn();
    assert_eq!(worker.stream.overdue(Nanos::MAX), None);
}

#[test]
fn an_idle_stream_stays() {
    let (mut worker, theirs) = connected();
    send(&theirs, &BINDING);
    worker.turn();
    assert_eq!(worker.stream.overdue(Nanos::MAX), None);
}

#[test]
fn frames_leave_padded_and_by_one_write() {
    let (mut worker, theirs) = connected();
    worker.turn();
    for data in [&b""[..], b"1", b"22", b"333", b"4444"] {
        worker.stream.queue_media(&[&channel_data(data)[..4], data]).unwrap();
    }
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(received(&theirs), b"");
    assert_eq!(worker.stream.flush(), Flush::Done);
    let expected = [&b""[..], b"1", b"22", b"333", b"4444"].map(padded).concat();
    assert_eq!(received(&theirs), [&expected[..], &ANSWER].concat());
}

#[test]
fn the_bound_is_about_what_waits_and_not_about_one_turn() {
    let (mut worker, theirs) = connected();
    worker.turn();
    for _ in 0..40 {
        worker.stream.queue_media(&[&padded(&[0; 1_200])]).unwrap();
    }
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert_eq!(received(&theirs).len(), 40 * 1_204);
}

#[test]
fn a_slow_client_loses_its_newest_media_whole() {
    let (mut worker, theirs) = connected();
    worker.turn();
    let taken = fill(&mut worker);
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Waits);
    let mut bytes = Vec::new();
    while worker.stream.writable() == Flush::Waits {
        bytes.extend(received(&theirs));
        assert_eq!(worker.stream.queue_media(&[&padded(&[1; 40_000])]), Err(Full));
    }
    bytes.extend(received(&theirs));
    let (numbers, rest) = numbered(&bytes);
    assert_eq!(numbers, (0..taken as u32).collect::<Vec<_>>());
    assert_eq!(rest, ANSWER);
    worker.stream.queue_media(&[&padded(b"flows again")]).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert_eq!(received(&theirs), padded(b"flows again"));
}

#[test]
fn answers_have_a_reserve_that_is_bounded() {
    let (mut worker, theirs) = connected();
    worker.turn();
    fill(&mut worker);
    let mut answers = 0;
    while worker.stream.queue_answer(&ANSWER) == Ok(()) {
        answers += 1;
        assert!(worker.stream.waiting() <= SETTINGS.backlog + ANSWER_RESERVE);
    }
    assert!(answers * ANSWER.len() > ANSWER_RESERVE - ANSWER.len());
    assert_eq!(worker.stream.queue_media(&[&padded(b"more")]), Err(Full));
    drop(theirs);
}

#[test]
fn an_empty_backlog_gives_its_memory_back() {
    let (mut worker, theirs) = connected();
    worker.turn();
    fill(&mut worker);
    while worker.stream.writable() == Flush::Waits {
        received(&theirs);
    }
    assert!(worker.stream.backlog.end().capacity() <= backlog::KEPT);
}

#[test]
fn writing_to_a_stream_that_is_gone_fails() {
    let (mut worker, theirs) = connected();
    worker.turn();
    drop(theirs);
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Failed);
    assert_eq!(worker.stream.flush(), Flush::Failed);
    worker.turn();
    assert_eq!(worker.end, Some(CloseReason::Client));
}

#[test]
fn what_waits_is_sent_before_we_close() {
    let (mut worker, theirs) = connected();
    worker.turn();
    send(&theirs, &BINDING);
    worker.stream.queue_answer(&ANSWER).unwrap();
    worker.stream.farewell();
    drop(worker);
    assert_eq!(received(&theirs), ANSWER);
    assert!(has_ended(&theirs));
}

#[test]
fn a_connection_by_tcp_is_tuned() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    let stream = Stream::tcp(ours, &SETTINGS, b"");
    let socket = socket2::SockRef::from(&stream.socket);
    assert!(socket.keepalive().unwrap());
    assert!(socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_notsent_lowat().unwrap() as usize, SETTINGS.backlog);
    assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
    drop(theirs);
}

#[test]
fn an_idle_stream_is_small() {
    let (mut worker, theirs) = connected();
    send(&theirs, &BINDING);
    worker.turn();
    worker.stream.queue_answer(&ANSWER).unwrap();
    assert_eq!(worker.stream.flush(), Flush::Done);
    assert!(size_of::<Stream>() <= 256, "{}", size_of::<Stream>());
    assert!(worker.stream.arrived.capacity() + worker.stream.backlog.end().capacity() <= 64);
}
