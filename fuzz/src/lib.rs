//! Every parser that reads what strangers send or broken disks hold, as one function each: bytes in, nothing
//! out, and a panic where something does not hold.
//!
//! `cargo fuzz` calls them with what it makes up (`fuzz_targets/`, `./dev fuzz`), a test calls them with all that
//! it found worth keeping (`corpus/`) and with the seeds that it began from (`tests/replay.rs`). Each function says
//! what must hold beside "it does not panic". Only tests and fuzzers use this crate; it ships in nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is how these functions answer"
)]

mod disk;
mod frames;
mod relay;
mod rtp;
mod seeds;
mod sip;
mod srtp;
mod stun;
mod video;
mod vrrp;

pub use disk::{call_log, manifest, matroska, redo, sidecar};
pub use frames::frames;
pub use relay::relay;
pub use rtp::{rtcp, rtp, sdp};
pub use seeds::{SEEDS, Seeds};
pub use sip::{multipart, sip_message, sip_stream, siprec};
pub use srtp::srtp;
pub use stun::stun;
pub use video::video;
pub use vrrp::vrrp;

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the function, of the program in `fuzz_targets/`, of the directory in `corpus/`.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// Octets that an input has at most: what the parser is given in one piece in real life, or enough of it
    /// for every path. Longer ones only make a fuzzer slow.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "sip_message", run: sip_message, longest: 4_096 },
    Target { name: "sip_stream", run: sip_stream, longest: 4_096 },
    Target { name: "sdp", run: sdp, longest: 4_096 },
    Target { name: "multipart", run: multipart, longest: 4_096 },
    Target { name: "siprec", run: siprec, longest: 4_096 },
    Target { name: "rtp", run: rtp, longest: 2_048 },
    Target { name: "rtcp", run: rtcp, longest: 1_500 },
    Target { name: "srtp", run: srtp, longest: 2_048 },
    Target { name: "relay", run: relay, longest: 4_096 },
    Target { name: "stun", run: stun, longest: 1_500 },
    Target { name: "video", run: video, longest: 2_048 },
    Target { name: "matroska", run: matroska, longest: 8_192 },
    Target { name: "manifest", run: manifest, longest: 8_192 },
    Target { name: "call_log", run: call_log, longest: 4_096 },
    Target { name: "sidecar", run: sidecar, longest: 2_048 },
    Target { name: "redo", run: redo, longest: 2_048 },
    Target { name: "frames", run: frames, longest: 4_096 },
    Target { name: "vrrp", run: vrrp, longest: 1_024 },
];

/// Takes pieces off the front of an input: what a fuzzer steers a run with.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next octet; 0 at the end.
    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next `count` octets, or what is left.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
