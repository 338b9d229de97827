//! What the verbs order, by an engine whose workers have not begun.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use super::*;
use crate::leg::CloseReason;
use crate::offload::Offload;
use crate::offload::recording::Recording;
use crate::wire::challenge::Challenge;

const LATER: f64 = 700.0;

struct Bench {
    engine: Engine,
    listener: u64,
    streams: u64,
}

impl Bench {
    /// What the listener orders has been looked at.
    fn new(workers: usize) -> Self {
        let mut bench = Self::to_start(workers);
        bench.orders();
        bench
    }

    fn to_start(workers: usize) -> Self {
        let (cpus, io, manual_clock) = (Vec::new(), IoChoice::Auto, Some(100.0));
        let mut engine = Engine::new(Options { workers, cpus, io, manual_clock }).unwrap();
        let settings = ListenerSettings::default();
        let listener = engine.listen(at("127.0.0.1:0"), &settings, None).unwrap();
        let streams = engine.stream_listener(&settings).unwrap();
        Self { engine, listener, streams }
    }

    /// A leg by UDP of a client whose worker is that one.
    fn leg(&self, worker: u32) -> Leg {
        let shared = &self.engine.shared;
        let mut clients = (1..).map(|port| SocketAddr::from(([192, 0, 2, 9], port)));
        let client = clients.find(|client| shared.worker_of(*client) == worker).unwrap();
        let (transport, local) = (Transport::Udp, self.engine.endpoint(self.listener).unwrap());
        Leg { listener: self.listener, transport, local, client, stream: 0, via: None }
    }

    fn open(&mut self, leg: &Leg) -> u64 {
        self.engine.open_relay(Some(leg), free(), LATER, &[]).unwrap()
    }

    fn adopt(&mut self) -> Leg {
        let (ours, _) = UnixStream::pair().unwrap();
        let leg = self.leg(0);
        let leg = Leg { listener: self.streams, transport: Transport::Tcp, ..leg };
        self.engine.adopt(ours.into(), leg, Vec::new())
    }

    /// What each worker was ordered since it was last asked.
    fn orders(&mut self) -> Vec<Vec<String>> {
        let stations = self.engine.shared.stations.iter();
        let of_one = |station: &Arc<crate::worker::Station>| {
            let mut batch = VecDeque::new();
            station.orders.take(&mut batch);
            batch.iter().map(name).collect()
        };
        stations.map(of_one).collect()
    }

    fn poll(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        self.engine.poll(99, &mut batch).unwrap();
        batch
    }
}

/// An order without what it carries.
fn name(order: &Order) -> String {
    let all = format!("{order:?}");
    all.split(|end: char| !end.is_alphanumeric()).next().unwrap().to_owned()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn is_readable(descriptor: &impl AsFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(descriptor, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, Some(&rustix::time::Timespec::default())).unwrap() == 1
}

fn is_rung(engine: &Engine) -> bool {
    is_readable(&engine.shared.bell)
}

#[test]
fn a_leg_has_one_relay_a_family() {
    let mut bench = Bench::new(1);
    let leg = bench.leg(0);
    let relay = bench.open(&leg);
    assert_eq!(bench.engine.open_relay(Some(&leg), free(), LATER, &[]), Err(RelayError::Other));
    bench.engine.open_relay(Some(&leg), at("[::1]:0"), LATER, &[]).unwrap();
    assert_eq!(bench.engine.counters().relays, 2);
    bench.engine.close_relay(relay);
    bench.engine.close_relay(relay);
    assert_eq!(bench.engine.counters().relays, 1);
    bench.open(&leg);
}

#[test]
fn why_a_relay_cannot_be_bound_is_told_at_once() {
    let mut bench = Bench::new(1);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut open = |leg: Option<&Leg>, bound| bench.engine.open_relay(leg, bound, LATER, &[]);
    assert_eq!(open(None, taken.local_addr().unwrap()), Err(RelayError::PortTaken));
    assert_eq!(open(None, at("192.0.2.1:0")), Err(RelayError::NoSuchAddress));
    let leg = bench.leg(0);
    let of_nobody = Leg { listener: 999, ..leg };
    let mut open = |leg: &Leg| bench.engine.open_relay(Some(leg), free(), LATER, &[]);
    assert_eq!(open(&of_nobody), Err(RelayError::Other));
    assert_eq!(open(&Leg { transport: Transport::Tcp, stream: 5, ..leg }), Err(RelayError::Other));
    assert!(bench.orders().concat().iter().all(|order| order == "Ledger"));
}

#[test]
fn handles_are_new_and_name_their_worker() {
    let mut bench = Bench::new(2);
    let mut known = Vec::new();
    for worker in [0, 1, 1, 0] {
        let leg = bench.leg(worker);
        let relay = bench.open(&leg);
        assert_eq!(worker_of(relay), worker);
        assert!(!known.contains(&relay));
        bench.engine.close_relay(relay);
        known.push(relay);
    }
}

#[test]
fn orders_go_to_the_worker_of_the_client() {
    let mut bench = Bench::new(2);
    let leg = bench.leg(1);
    let relay = bench.open(&leg);
    bench.engine.permit(relay, at("192.0.2.1:0"), LATER);
    bench.engine.bind_channel(relay, 0x4000, at("192.0.2.1:5"), LATER);
    bench.engine.extend(relay, LATER);
    bench.engine.close_relay(relay);
    bench.engine.permit(relay, at("192.0.2.1:0"), LATER);
    assert_eq!(bench.orders(), [vec![], vec!["Open", "Permit", "Bind", "Close"]]);
}

#[test]
fn a_relay_moves_within_its_worker_or_to_another() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.leg(0), bench.leg(1));
    let relay = bench.open(&here);
    bench.orders();
    bench.engine.move_relay(relay, &here, LATER, &[]);
    assert_eq!(bench.orders(), [vec!["Assign"], vec![]]);
    bench.engine.move_relay(relay, &there, 200.0, &[]);
    assert_eq!(bench.orders(), [vec!["Release"], vec!["Claim"]]);
    let shared = bench.engine.relays[&relay].shared.clone();
    assert_eq!(shared.deadline(), nanos(200.0));
    bench.engine.permit(relay, at("192.0.2.1:0"), LATER);
    assert_eq!(bench.orders(), [vec![], vec!["Permit"]]);
    bench.open(&here);
    let again = bench.engine.open_relay(Some(&there), free(), LATER, &[]);
    assert_eq!(again, Err(RelayError::Other));
    bench.engine.move_relay(relay, &Leg { listener: 999, ..here }, LATER, &[]);
    assert_eq!(shared.deadline(), nanos(200.0), "to nobody, and so not at all");
}

#[test]
fn while_orders_are_held_back_only_who_is_waited_for_is_woken() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.leg(0), bench.leg(1));
    let woken = |bench: &Bench| {
        let stations = bench.engine.shared.stations.iter();
        stations
            .map(|station| {
                let woken = is_readable(station.orders.wake());
                station.orders.wake().drain();
                woken
            })
            .collect::<Vec<_>>()
    };
    woken(&bench);
    bench.engine.hold();
    let relay = bench.open(&here);
    assert_eq!(woken(&bench), [false, false]);
    bench.engine.move_relay(relay, &there, LATER, &[]);
    assert_eq!(woken(&bench), [true, false]);
    bench.engine.release();
    assert_eq!(woken(&bench), [true, true]);
    bench.engine.close_relay(relay);
    assert_eq!(woken(&bench), [false, true]);
}

#[test]
fn a_reservation_is_claimed_from_where_it_waited() {
    let mut bench = Bench::new(2);
    let leg = bench.leg(1);
    for from in [0, 1] {
        let relay = bench.engine.open_relay(None, free(), LATER, &[]).unwrap();
        assert_eq!(worker_of(relay), from);
        bench.engine.move_relay(relay, &leg, LATER, &[]);
        bench.engine.close_relay(relay);
    }
}

#[test]
fn relays_by_udp_end_with_their_listener() {
    let mut bench = Bench::new(2);
    let leg = bench.leg(1);
    let relay = bench.open(&leg);
    let stream = bench.adopt();
    let kept = bench.open(&stream);
    bench.orders();
    bench.engine.close_listener(bench.listener);
    assert_eq!(bench.orders(), [vec!["CloseListener"], vec!["Close", "CloseListener"]]);
    assert!(bench.engine.relay_counters(relay).is_none());
    assert!(bench.engine.relay_counters(kept).is_some());
    assert_eq!(bench.engine.endpoint(bench.listener), None);
    let late = bench.engine.open_relay(Some(&leg), free(), LATER, &[]);
    assert_eq!(late, Err(RelayError::Other));
    bench.engine.close_listener(bench.listener);
    assert_eq!(bench.orders(), [vec![] as Vec<&str>, vec![]]);
}

#[test]
fn every_worker_is_told_what_strangers_are_and_by_listeners_that_are_there() {
    let mut bench = Bench::new(2);
    let (udp, streams) = (bench.listener, bench.streams);
    let challenge =
        Challenge::new(b"realm".to_vec(), *b"obMatJos2gAAA", 3, vec![0; 8], Vec::new(), false);
    bench.engine.challenge(udp, challenge.clone());
    bench.engine.challenge(streams, None);
    assert_eq!(bench.orders(), [vec!["Challenge"; 2], vec!["Challenge"; 2]]);
    bench.engine.close_listener(udp);
    bench.orders();
    bench.engine.challenge(udp, challenge);
    assert_eq!(bench.orders(), [vec![] as Vec<&str>, vec![]]);
}

#[test]
fn listeners_and_transports_are_counted_apart_on_every_worker() {
    let mut bench = Bench::new(2);
    let tcp = bench.adopt();
    bench.open(&tcp);
    bench.adopt();
    let counters = bench.engine.counters();
    let kinds: Vec<_> = counters.ledgers.iter().map(|(id, kind, _)| (*id, *kind)).collect();
    assert_eq!(kinds, [(bench.listener, Transport::Udp), (bench.streams, Transport::Tcp)]);
    let ledgers = |orders: Vec<String>| orders.iter().filter(|name| *name == "Ledger").count();
    assert_eq!(bench.orders().into_iter().map(ledgers).collect::<Vec<_>>(), [1, 1]);
    for (worker, packets) in [(0, 1), (1, 2)] {
        bench.engine.ledgers[1].traffic[worker].add(true, packets, 10, 5);
    }
    let (_, _, sum) = bench.engine.counters().ledgers[1];
    assert_eq!((sum.packets_up, sum.bytes_up), (3, 20));
}

#[test]
fn streams_are_spread_over_the_workers_whatever_comes_between() {
    let mut bench = Bench::new(2);
    let workers: Vec<u32> = (0..6)
        .map(|_| {
            let leg = bench.adopt();
            bench.open(&leg);
            worker_of(leg.stream)
        })
        .collect();
    assert_eq!(workers, [1, 0, 1, 0, 1, 0]);
}

#[test]
fn a_stream_that_cannot_be_adopted_ends_at_once() {
    let mut bench = Bench::new(1);
    bench.engine.close_listener(bench.streams);
    let leg = bench.adopt();
    assert!(is_rung(&bench.engine));
    assert_eq!(bench.poll(), [Event::Closed(leg, CloseReason::Server)]);
    assert_eq!(bench.engine.counters().streams, 0);
}

#[test]
fn the_relays_of_a_stream_that_has_ended_are_nobodys_until_they_are_closed_or_handed_over() {
    let mut bench = Bench::new(1);
    let leg = bench.adopt();
    let one = bench.open(&leg);
    bench.orders();
    bench.engine.close_leg(&leg, CloseReason::Server);
    bench.engine.close_leg(&leg, CloseReason::Server);
    assert_eq!(bench.orders(), [["CloseLeg"]]);
    let leg = bench.adopt();
    let other = bench.open(&leg);
    bench.orders();
    let ended = &bench.engine.shared.hand_up;
    ended.closed(leg, CloseReason::Client, crate::handup::Standing::Known);
    assert_eq!(bench.poll().len(), 1);
    assert_eq!(bench.orders(), [[] as [&str; 0]]);
    let counters = bench.engine.counters();
    assert_eq!((counters.relays, counters.streams), (2, 0));
    bench.engine.close_relay(one);
    let new = bench.adopt();
    bench.orders();
    bench.engine.hold_back(&new);
    bench.engine.hand_over(&[one, other], &new);
    bench.engine.hold_back(&new);
    assert_eq!(bench.orders(), [["HoldBack", "HandOver"]]);
    bench.engine.close_relay(other);
    bench.orders();
    bench.engine.send_to_client(&leg, b"too late", None);
    assert_eq!(bench.orders(), [[] as [&str; 0]]);
}

#[test]
fn a_bucket_lives_as_long_as_a_limit_or_a_relay_names_it() {
    let mut bench = Bench::new(1);
    let relay = bench.engine.open_relay(None, free(), LATER, &[8, 9]).unwrap();
    bench.engine.limit(9, Some(1_000));
    bench.engine.limit(7, Some(1_000));
    let known = |bench: &mut Bench| {
        bench.engine.tick();
        let mut known: Vec<u64> = bench.engine.buckets.keys().copied().collect();
        known.sort_unstable();
        known
    };
    let mut kept = VecDeque::new();
    bench.engine.shared.stations[0].orders.take(&mut kept);
    assert_eq!(known(&mut bench), [7, 8, 9]);
    bench.engine.close_relay(relay);
    kept.clear();
    assert_eq!(known(&mut bench), [7, 9]);
    let before = bench.engine.bucket(9);
    bench.engine.limit(9, None);
    assert_eq!(known(&mut bench), [7]);
    assert!(!Arc::ptr_eq(&before, &bench.engine.bucket(9)), "its number has come again");
}

#[test]
fn a_worker_that_has_ended_is_told() {
    let mut bench = Bench::new(1);
    assert!(!is_rung(&bench.engine));
    bench.engine.shared.report_broken("worker 0 has ended: why".to_owned());
    assert!(is_rung(&bench.engine));
    let error = bench.engine.poll(9, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "worker 0 has ended: why");
}

#[test]
fn workers_that_have_ended_hold_nobody_up() {
    let mut bench = Bench::to_start(2);
    bench.engine.start().unwrap();
    bench.engine.order_now(0, Order::Stop);
    let leg = bench.leg(1);
    for _ in 0..20 {
        // From the worker that has ended, or is about to.
        let relay = bench.engine.open_relay(None, free(), LATER, &[]).unwrap();
        bench.engine.move_relay(relay, &leg, LATER, &[]);
        bench.engine.close_relay(relay);
    }
    bench.engine.stop();
}

#[test]
fn a_stop_closes_everything_and_may_come_twice() {
    let mut bench = Bench::to_start(2);
    bench.engine.start().unwrap();
    let leg = bench.leg(1);
    let bound = free();
    bench.engine.open_relay(Some(&leg), bound, LATER, &[]).unwrap();
    let endpoint = bench.engine.endpoint(bench.listener).unwrap();
    for _ in 0..2 {
        bench.engine.stop();
    }
    assert_eq!(bench.engine.counters().relays, 0);
    for address in [bound, endpoint] {
        UdpSocket::bind(address).unwrap();
    }
}

#[test]
fn a_port_that_is_wanted_again_is_waited_for() {
    let mut bench = Bench::to_start(2);
    bench.engine.start().unwrap();
    let bound = free();
    for worker in [0, 1, 0, 1] {
        let leg = bench.leg(worker);
        let relay = bench.engine.open_relay(Some(&leg), bound, LATER, &[]).unwrap();
        bench.engine.close_relay(relay);
        assert!(bench.engine.closings);
    }
}

#[test]
fn what_an_offload_moves_ends_before_the_verb_returns() {
    let mut bench = Bench::to_start(2);
    let recording = Arc::new(Recording::probe().unwrap());
    let shared = Arc::get_mut(&mut bench.engine.shared).unwrap();
    Arc::get_mut(&mut shared.around).unwrap().offload = Some(recording.clone());
    bench.engine.start().unwrap();
    let leg = bench.leg(1);
    let relay = bench.open(&leg);
    let peer = at("198.51.100.1:5000");
    bench.engine.permit(relay, peer, 400.0);
    bench.engine.bind_channel(relay, 0x4001, peer, 500.0);
    let told = |what: &str, deadline: u64| [format!("{what} {relay} 4001 {peer} {deadline}")];
    assert_eq!(recording.take(), told("add", 400));
    bench.engine.extend(relay, 150.0);
    assert_eq!(recording.take(), told("extend", 150));
    bench.engine.protect(&[peer], &[]);
    assert_eq!(recording.take(), told("remove", 0));
    bench.engine.protect(&[], &[]);
    assert_eq!(recording.take(), told("add", 150));
    bench.engine.permit(relay, peer, 0.0);
    assert_eq!(recording.take(), told("remove", 0));
    bench.engine.permit(relay, peer, 400.0);
    recording.take();
    bench.engine.close_relay(relay);
    assert_eq!(recording.take(), told("remove", 0));
}

#[test]
fn what_is_spliced_goes_to_the_streams_worker_while_the_stream_is_there() {
    let mut bench = Bench::new(2);
    let leg = bench.adopt();
    bench.orders();
    let (peer, theirs) = UnixStream::pair().unwrap();
    bench.engine.splice(&leg, peer.into(), b"answer", &[7]);
    let orders = bench.orders();
    assert_eq!(orders[worker_of(leg.stream) as usize], ["Splice"]);
    assert_eq!(orders.iter().flatten().count(), 1);
    drop(theirs);
    bench.engine.close_leg(&leg, CloseReason::Server);
    bench.orders();
    let (peer, mut theirs) = UnixStream::pair().unwrap();
    bench.engine.splice(&leg, peer.into(), b"answer", &[]);
    assert!(bench.orders().iter().all(Vec::is_empty));
    assert_eq!(std::io::Read::read(&mut theirs, &mut [0]).unwrap(), 0, "the socket is closed");
}
