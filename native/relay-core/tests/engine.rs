//! The engine over real sockets on loopback, by each way to the kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it is all test")]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use relay_core::counters::Drop;
use relay_core::engine::{Engine, ListenerSettings, Options, RelayError};
use relay_core::handup::Event;
use relay_core::io::probe::IoChoice;
use relay_core::leg::{Leg, Transport};
use relay_core::wire::challenge::Challenge;
use relay_core::wire::nonce::NonceKeys;

const LIMIT: Duration = Duration::from_secs(20);
const CHANNEL: u16 = 0x4001;

struct World {
    engine: Engine,
    listener: u64,
    server: SocketAddr,
}

/// A socket whose reads end after the limit.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => return (buffer[..len].to_vec(), from),
            // An io_uring that this thread probed is being taken down.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing arrives: {error}"),
        }
    }
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
    message
}

impl World {
    fn new(workers: usize, io: IoChoice) -> Self {
        let options = Options { workers, cpus: Vec::new(), io, manual_clock: Some(100.0) };
        let mut engine = Engine::new(options).unwrap();
        let settings = ListenerSettings::default();
        let listener = engine.listen("127.0.0.1:0".parse().unwrap(), &settings, None).unwrap();
        let server = engine.endpoint(listener).unwrap();
        engine.start().unwrap();
        Self { engine, listener, server }
    }

    fn leg(&self, client: &UdpSocket) -> Leg {
        Leg {
            listener: self.listener,
            transport: Transport::Udp,
            local: self.server,
            client: client.local_addr().unwrap(),
            stream: 0,
            via: None,
        }
    }

    /// A client, a peer, and the relay between them with a channel.
    fn call(&mut self) -> (UdpSocket, UdpSocket, u64, SocketAddr) {
        let (client, peer) = (socket(), socket());
        let relayed = socket().local_addr().unwrap();
        let leg = self.leg(&client);
        let relay = self.engine.open_relay(Some(&leg), relayed, 700.0, &[]).unwrap();
        let peer_address = peer.local_addr().unwrap();
        self.engine.permit(relay, peer_address, 400.0);
        self.engine.bind_channel(relay, CHANNEL, peer_address, 700.0);
        (client, peer, relay, relayed)
    }

    fn until(&mut self, condition: impl Fn(&mut Engine) -> bool) {
        let begin = Instant::now();
        while !condition(&mut self.engine) {
            assert!(begin.elapsed() < LIMIT, "it does not come about");
            std::thread::yield_now();
        }
    }
}

fn each(test: impl Fn(usize, IoChoice)) {
    for io in [IoChoice::Epoll, IoChoice::Auto] {
        for workers in [1, 2] {
            test(workers, io);
        }
    }
}

#[test]
fn packets_pass_both_ways() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        for _ in 0..5 {
            let (client, peer, relay, relayed) = world.call();
            for size in [0, 1, 160, 1_200] {
                let data = vec![7; size];
                client.send_to(&channel_data(CHANNEL, &data), world.server).unwrap();
                assert_eq!(receive(&peer), (data.clone(), relayed));
                peer.send_to(&data, relayed).unwrap();
                assert_eq!(receive(&client), (channel_data(CHANNEL, &data), world.server));
            }
            world.until(|engine| {
                let traffic = engine.relay_counters(relay).unwrap().traffic;
                (traffic.packets_up, traffic.packets_down) == (4, 4)
            });
        }
    });
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        let (client, peer, _, relayed) = world.call();
        for number in 0..64u8 {
            client.send_to(&channel_data(CHANNEL, &[number; 200]), world.server).unwrap();
        }
        for number in 0..64u8 {
            assert_eq!(receive(&peer).0, vec![number; 200]);
            peer.send_to(&[number; 200], relayed).unwrap();
        }
        for number in 0..64u8 {
            assert_eq!(receive(&client).0, channel_data(CHANNEL, &[number; 200]));
        }
    });
}

#[test]
fn deadlines_are_kept_while_nobody_says_a_word() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        let (client, peer, _, relayed) = world.call();
        client.send_to(&channel_data(CHANNEL, b"up"), world.server).unwrap();
        assert_eq!(receive(&peer).0, b"up");
        world.engine.set_time(400.0);
        peer.send_to(b"late", relayed).unwrap();
        world.until(|engine| engine.counters().drops[Drop::NoPermission as usize] == 1);
        world.engine.set_time(700.0);
        client.send_to(&channel_data(CHANNEL, b"late"), world.server).unwrap();
        world.until(|engine| engine.counters().drops[Drop::NoChannel as usize] == 1);
    });
}

#[test]
fn a_closed_relay_is_gone_and_its_port_free() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        let (client, _, relay, relayed) = world.call();
        let leg = world.leg(&client);
        let taken = world.engine.open_relay(None, relayed, 700.0, &[]);
        assert_eq!(taken, Err(RelayError::PortTaken));
        world.engine.close_relay(relay);
        assert!(world.engine.relay_counters(relay).is_none());
        client.send_to(&channel_data(CHANNEL, b"late"), world.server).unwrap();
        world.until(|engine| engine.counters().drops[Drop::NoAllocation as usize] == 1);
        assert!(world.engine.open_relay(Some(&leg), relayed, 700.0, &[]).is_ok());
    });
}

#[test]
fn requests_are_handed_up_and_answers_leave_from_where_they_were_asked() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        let client = socket();
        let allocate = [&[0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[5; 12]].concat();
        client.send_to(&allocate, world.server).unwrap();
        let begin = Instant::now();
        let mut events = Vec::new();
        while events.is_empty() {
            assert!(begin.elapsed() < LIMIT);
            world.engine.poll(16, &mut events).unwrap();
        }
        let leg = world.leg(&client);
        assert_eq!(events, [Event::Message { leg, data: allocate.into() }]);
        world.engine.send_to_client(&leg, b"answer", None);
        assert_eq!(receive(&client), (b"answer".to_vec(), world.server));
        let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[5; 12]].concat();
        client.send_to(&binding, world.server).unwrap();
        assert_eq!(receive(&client).0[..2], [1, 1]);
        world.until(|engine| engine.counters().bindings == 1);
    });
}

#[test]
fn strangers_are_challenged_until_it_is_taken_back() {
    each(|workers, io| {
        let mut world = World::new(workers, io);
        let allocate = [&[0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[5; 12]].concat();
        let challenge =
            Challenge::new(b"realm".to_vec(), *b"obMatJos2gAAA", 3, vec![0; 8], Vec::new(), false);
        world.engine.challenge(world.listener, challenge);
        world.engine.know_nonces(NonceKeys::new(225.0, 16, &[(0, [7; 32])]).unwrap());
        let clients: Vec<UdpSocket> = (0..8).map(|_| socket()).collect();
        for client in &clients {
            client.send_to(&allocate, world.server).unwrap();
            let (answer, from) = receive(client);
            assert_eq!(
                (&answer[..2], &answer[8..20], from),
                (&[1, 0x13][..], &[5; 12][..], world.server)
            );
        }
        world.until(|engine| engine.counters().challenges == 8);
        world.engine.challenge(world.listener, None);
        clients[0].send_to(&allocate, world.server).unwrap();
        let begin = Instant::now();
        let mut events = Vec::new();
        while events.is_empty() {
            assert!(begin.elapsed() < LIMIT);
            world.engine.poll(16, &mut events).unwrap();
        }
        let leg = world.leg(&clients[0]);
        assert_eq!(events, [Event::Message { leg, data: allocate.into() }]);
    });
}

#[test]
fn an_endpoint_of_another_engine_is_not_shared() {
    each(|workers, io| {
        let world = World::new(workers, io);
        let options = Options { workers, cpus: Vec::new(), io, manual_clock: None };
        let mut other = Engine::new(options).unwrap();
        let refused = other.listen(world.server, &ListenerSettings::default(), None);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}
