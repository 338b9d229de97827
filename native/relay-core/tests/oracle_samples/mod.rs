//! What to ask about: junk, well-formed messages of all kinds, and such as were damaged on the way.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use proptest::collection::vec;
use proptest::prelude::*;
use relay_core::wire::attributes::number;
use relay_core::wire::data::padding;
use relay_core::wire::message::{MAGIC_COOKIE, TransactionId};

/// Also addresses that are written in unusual ways, and link-local ones.
pub(crate) fn addresses() -> impl Strategy<Value = SocketAddr> {
    let unusual = |host: u32| Ipv6Addr::from(0xFFFF_0000_0000 | u128::from(host));
    let sparse = |(segment, at): (u16, u32)| Ipv6Addr::from(u128::from(segment) << (16 * at));
    let scoped = |(host, scope): (u64, u32)| {
        let host = Ipv6Addr::from(0xFE80_u128 << 112 | u128::from(host));
        (IpAddr::V6(host), scope % 100)
    };
    let host = prop_oneof![
        3 => any::<[u8; 4]>().prop_map(|host| (IpAddr::from(host), 0)),
        2 => any::<[u8; 16]>().prop_map(|host| (IpAddr::from(host), 0)),
        1 => any::<u32>().prop_map(move |host| (IpAddr::V6(unusual(host)), 0)),
        1 => (any::<u16>(), 0..8_u32).prop_map(move |low| (IpAddr::V6(sparse(low)), 0)),
        1 => any::<[bool; 8]>().prop_map(|set| (IpAddr::from(set.map(u16::from)), 0)),
        1 => any::<(u64, u32)>().prop_map(scoped),
    ];
    (host, any::<u16>()).prop_map(|((host, scope), port)| match host {
        IpAddr::V4(_) => SocketAddr::new(host, port),
        IpAddr::V6(host) => SocketAddr::V6(SocketAddrV6::new(host, port, 0, scope)),
    })
}

pub(crate) fn transaction_ids() -> impl Strategy<Value = TransactionId> {
    any::<TransactionId>()
}

/// Sizes of a stream's reads.
pub(crate) fn reads() -> impl Strategy<Value = Vec<u16>> {
    vec(prop_oneof![0..9_u16, 0..200_u16, Just(9000)], 0..30)
}

/// Bytes of a stream: messages, mostly sound, and something else in between at times.
pub(crate) fn streams() -> impl Strategy<Value = Vec<u8>> {
    let long = (4080..4110_u16).prop_map(|size| {
        let mut frame = [&[0x40, 0][..], &size.to_be_bytes()].concat();
        frame.resize(4 + usize::from(size).next_multiple_of(4), 7);
        frame
    });
    let piece = prop_oneof![
        8 => messages().prop_map(|message| message.bytes()),
        8 => channel_data(),
        1 => long,
        1 => datagrams(),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Anything that may come in one datagram.
pub(crate) fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let sound =
        || prop_oneof![4 => messages().prop_map(|message| message.bytes()), 1 => channel_data()];
    prop_oneof![
        1 => vec(any::<u8>(), 0..80),
        6 => sound(),
        4 => (sound(), damage()).prop_map(|(bytes, damage)| damage.to(bytes)),
    ]
}

fn channel_data() -> impl Strategy<Value = Vec<u8>> {
    (0x4000..=0x4FFF_u16, vec(any::<u8>(), 0..40), any::<bool>()).prop_map(
        |(number, data, padded)| {
            let size = u16::try_from(data.len()).unwrap();
            let mut bytes = [&number.to_be_bytes()[..], &size.to_be_bytes(), &data].concat();
            bytes.resize(bytes.len() + if padded { padding(data.len()) } else { 0 }, 0);
            bytes
        },
    )
}

/// Datagrams with a PROXY header in front, mostly sound.
pub(crate) fn proxied() -> impl Strategy<Value = Vec<u8>> {
    let of = |kind: u8, size: usize| vec(any::<u8>(), size).prop_map(move |body| (kind, body));
    let mapped = of(0x22, 36).prop_map(|(kind, mut body)| {
        body[..12].copy_from_slice(b"\0\0\0\0\0\0\0\0\0\0\xFF\xFF");
        (kind, body)
    });
    let addresses = prop_oneof![
        4 => of(0x12, 12),
        2 => of(0x22, 36),
        1 => mapped,
        1 => prop_oneof![of(0x11, 12), of(0x00, 0), of(0x32, 216)],
        1 => (any::<u8>(), vec(any::<u8>(), 0..50)),
    ];
    let command = prop_oneof![6 => Just(0x21), 1 => Just(0x20), 1 => any::<u8>()];
    let tlvs = vec((0..9_u8, vec(any::<u8>(), 0..6)), 0..3);
    let sound = (command, addresses, tlvs, any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(
        |(command, (kind, mut body), tlvs, summed, data)| {
            for (kind, value) in tlvs {
                body.extend([kind, 0, u8::try_from(value.len()).unwrap()]);
                body.extend(value);
            }
            if summed {
                body.extend([3, 0, 4, 0, 0, 0, 0]);
            }
            let size = u16::try_from(body.len()).unwrap().to_be_bytes();
            let mut bytes = [b"\r\n\r\n\0\r\nQUIT\n", &[command, kind][..], &size, &body].concat();
            if summed {
                let (sum, at) = (crc32c(&bytes).to_be_bytes(), bytes.len() - 4);
                bytes[at..].copy_from_slice(&sum);
            }
            [bytes, data].concat()
        },
    );
    on_its_way(sound)
}

/// Half of them arrive as they were.
fn on_its_way(sound: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (sound, prop::option::of(damage())).prop_map(|(bytes, damage)| match damage {
        Some(damage) => damage.to(bytes),
        None => bytes,
    })
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum: u32, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    })
}

/// Datagrams of DTLS records with parts of handshake messages, mostly sound.
pub(crate) fn records() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![3 => 0..60_u32, 1 => 4_090..4_100_u32, 1 => any::<u32>()];
    let offset = prop_oneof![2 => Just(0_u32), 1 => any::<u32>()];
    let kind = prop_oneof![3 => Just(1_u8), 1 => any::<u8>()];
    let part =
        (kind, length, offset, vec(any::<u8>(), 0..60)).prop_map(|(kind, length, offset, part)| {
            let three = |number: u32| number.to_be_bytes()[1..].to_vec();
            let size = u32::try_from(part.len()).unwrap();
            [vec![kind], three(length), vec![0, 0], three(offset), three(size), part].concat()
        });
    let kind = prop_oneof![6 => Just(22_u8), 1 => 20..64_u8];
    let record = (kind, prop_oneof![4 => Just(0), 1 => any::<u8>()], vec(part, 0..3)).prop_map(
        |(kind, epoch, parts)| {
            let body = parts.concat();
            let size = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1][..], &size, &body].concat()
        },
    );
    let sound = vec(record, 1..4).prop_map(|records| records.concat());
    on_its_way(sound)
}

/// What happens to bytes on the way.
#[derive(Clone, Debug)]
enum Damage {
    Changed { at: prop::sample::Index, to: u8 },
    Cut { at: prop::sample::Index },
    Longer(Vec<u8>),
    OtherLength { at: prop::sample::Index, by: u8 },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<(prop::sample::Index, u8)>().prop_map(|(at, to)| Damage::Changed { at, to }),
        1 => any::<prop::sample::Index>().prop_map(|at| Damage::Cut { at }),
        1 => vec(any::<u8>(), 1..9).prop_map(Damage::Longer),
        2 => any::<(prop::sample::Index, u8)>()
            .prop_map(|(at, by)| Damage::OtherLength { at, by: by & 15 }),
    ]
}

impl Damage {
    fn to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Changed { at, to } => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Self::Cut { at } => bytes.truncate(at.index(bytes.len())),
            Self::Longer(more) => bytes.extend_from_slice(more),
            // Where lengths are, of the message and, as likely as not, of its attributes.
            Self::OtherLength { at, by } => {
                let at = at.index(bytes.len().div_ceil(4)) * 4 + 3;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(*by).wrapping_sub(8);
                }
            }
        }
        bytes
    }
}

/// Requests that most clients begin with, and some that none does.
pub(crate) fn first_requests() -> impl Strategy<Value = Vec<u8>> {
    let message_type = prop::sample::select(vec![0x0003, 0x0003, 0x0003, 0x0004, 0x0008, 0x0009]);
    let any_value = (any::<u16>(), vec(any::<u8>(), 0..24));
    let attribute = prop_oneof![
        3 => Just((number::REQUESTED_TRANSPORT, vec![17, 0, 0, 0])),
        1 => attributes(),
        1 => any_value,
    ];
    (message_type, transaction_ids(), vec(attribute, 0..4), any::<bool>()).prop_map(
        |(message_type, id, attributes, fingerprint)| {
            Message { message_type, id, attributes, fingerprint, filler: 0 }.bytes()
        },
    )
}

/// Names of all sizes that matter to the size of a challenge.
pub(crate) fn realms() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z.]{1,20}", 1 => "[a-zé ]{1,60}"]
}

/// A message, well-formed as far as its header and its attributes' lengths go.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    message_type: u16,
    id: TransactionId,
    attributes: Vec<(u16, Vec<u8>)>,
    fingerprint: bool,
    filler: u8,
}

pub(crate) fn messages() -> impl Strategy<Value = Message> {
    let message_type = prop_oneof![
        4 => Just(0x0016),
        4 => Just(0x0001),
        1 => prop::sample::select(vec![0x0003, 0x0004, 0x0008, 0x0009, 0x0011, 0x0101, 0x0017]),
        1 => 0x0300..0x0600_u16,
        1 => any::<u16>(),
    ];
    let peer_and_data = (peer_values(), vec(any::<u8>(), 0..40))
        .prop_map(|(peer, data)| vec![(number::XOR_PEER_ADDRESS, peer), (number::DATA, data)]);
    let begin = prop_oneof![1 => Just(Vec::new()), 2 => peer_and_data];
    (
        message_type,
        transaction_ids(),
        begin,
        vec(attributes(), 0..4),
        any::<[bool; 2]>(),
        any::<u8>(),
    )
        .prop_map(|(message_type, id, mut attributes, more, [first, fingerprint], filler)| {
            let at = if first { 0 } else { attributes.len() };
            attributes.splice(at..at, more);
            Message { message_type, id, attributes, fingerprint, filler }
        })
}

fn peer_values() -> impl Strategy<Value = Vec<u8>> {
    let of_size = |family: u8, size: usize| {
        vec(any::<u8>(), size).prop_map(move |mut value| {
            value[1] = family;
            value
        })
    };
    prop_oneof![4 => of_size(1, 8), 4 => of_size(2, 20), 1 => of_size(1, 20), 1 => of_size(3, 8)]
}

fn attributes() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let understood = prop::sample::select(vec![
        0x0001, 0x0006, 0x0009, 0x000A, 0x000C, 0x000D, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016,
        0x0017, 0x0018, 0x0019, 0x001A, 0x001D, 0x001E, 0x0020, 0x0022,
    ]);
    let value = || vec(any::<u8>(), 0..24);
    prop_oneof![
        6 => (understood, value()),
        2 => (prop_oneof![0..64_u16, any::<u16>()], value()),
        2 => (0x8000..=0xFFFF_u16, value()),
        3 => vec(any::<u8>(), 20).prop_map(|value| (number::MESSAGE_INTEGRITY, value)),
        3 => prop_oneof![3 => Just(32), 1 => 14..36_usize]
            .prop_flat_map(|size| vec(any::<u8>(), size))
            .prop_map(|value| (number::MESSAGE_INTEGRITY_SHA256, value)),
        1 => peer_values().prop_map(|value| (number::XOR_PEER_ADDRESS, value)),
    ]
}

impl Message {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            [&self.message_type.to_be_bytes()[..], &[0; 2], &MAGIC_COOKIE, &self.id].concat();
        for (number, value) in &self.attributes {
            let size = u16::try_from(value.len()).unwrap();
            bytes.extend([number.to_be_bytes(), size.to_be_bytes()].concat());
            bytes.extend(value);
            bytes.resize(bytes.len() + padding(value.len()), self.filler);
        }
        let length = bytes.len() - 20 + if self.fingerprint { 8 } else { 0 };
        bytes[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        if self.fingerprint {
            let crc = crc32fast::hash(&bytes) ^ 0x5354_554E;
            bytes.extend([0x80, 0x28, 0, 4]);
            bytes.extend(crc.to_be_bytes());
        }
        bytes
    }

    /// The message with a NONCE after the attributes that are to come before it.
    pub(crate) fn with_nonce(mut self, nonce: &[u8]) -> Vec<u8> {
        let at = self.attributes.len().min(usize::from(self.filler & 1));
        self.attributes.insert(at, (number::NONCE, nonce.to_vec()));
        self.bytes()
    }
}
