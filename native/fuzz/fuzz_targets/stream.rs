//! Any bytes as a client's stream, cut anyhow: nothing panics, every frame is a message, and the cuts
//! make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_core::wire::framing::{Framer, LARGEST_BEFORE_RELAY, LARGEST_FRAME, LostBorders};
use relay_core::wire::message::{Datagram, classify_untrusted};

/// The frames of a stream until its end or until it loses its borders.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    frames: Vec<Vec<u8>>,
    lost: bool,
    partial: bool,
}

// The first byte: whether long frames are let through. The next few: the sizes of the reads.
fuzz_target!(|data: &[u8]| {
    let Some((&[mode, ref sizes @ ..], stream)) = data.split_first_chunk::<6>() else { return };
    let media = mode & 1 != 0;
    let whole = outcome(stream, &[usize::MAX], media);
    let largest = if media { LARGEST_FRAME } else { LARGEST_BEFORE_RELAY };
    for frame in &whole.frames {
        assert!(frame.len() <= largest);
        assert_ne!(classify_untrusted(frame), Datagram::Junk);
    }
    let sizes = sizes.map(|size| usize::from(size) + 1);
    assert_eq!(outcome(stream, &sizes, media), whole);
});

fn outcome(stream: &[u8], sizes: &[usize], media: bool) -> Outcome {
    let mut framer = Framer::new(1);
    if media {
        framer.expect_media();
    }
    let mut outcome = Outcome { frames: Vec::new(), lost: false, partial: false };
    let mut buffer = vec![0; stream.len()];
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        let (read, later) = rest.split_at(rest.len().min(*size));
        rest = later;
        let kept = framer.resume(&mut buffer);
        let filled = kept + read.len();
        buffer[kept..filled].copy_from_slice(read);
        if let Err(LostBorders) = take(&mut framer, &buffer[..filled], &mut outcome.frames) {
            outcome.lost = true;
            break;
        }
        outcome.partial = framer.deadline().is_some();
        if rest.is_empty() {
            break;
        }
    }
    outcome.partial &= !outcome.lost;
    outcome
}

fn take(framer: &mut Framer, data: &[u8], frames: &mut Vec<Vec<u8>>) -> Result<(), LostBorders> {
    let mut at = 0;
    while let Some(frame) = framer.next_frame_untrusted(data, &mut at)? {
        frames.push(data[frame].to_vec());
    }
    framer.keep(data, at, 0);
    Ok(())
}
