//! A whole call at once: sipp signals, the test sends the media, the recording is waited for.

use super::messages::SipMessage;
use super::recording::Recorded;
use super::rtp::{Mouth, Packet};
use super::server::Server;
use super::sipp::Scenario;

/// Which way a call comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// IPv4, UDP
    Udp,
    /// IPv4, TCP
    Tcp,
    /// IPv6, UDP
    Udp6,
    /// IPv6, TCP
    Tcp6,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Udp6, Self::Tcp6];

    /// A scenario that comes this way, called after it.
    pub fn scenario(self, file: &str) -> Scenario {
        let scenario = Scenario::new(file).named(&format!("{file}-{self:?}").to_lowercase());
        match self {
            Self::Udp => scenario,
            Self::Tcp => scenario.tcp(),
            Self::Udp6 => scenario.v6(),
            Self::Tcp6 => scenario.v6().tcp(),
        }
    }

    /// Where its media come from.
    pub fn mouth(self) -> Mouth {
        match self {
            Self::Udp | Self::Tcp => Mouth::open(),
            Self::Udp6 | Self::Tcp6 => Mouth::open_v6(),
        }
    }
}

/// What became of a call.
pub struct Outcome {
    /// Its recording.
    pub recorded: Recorded,
    /// The messages of its scenario.
    pub messages: Vec<SipMessage>,
}

/// Places a call of one stream: `[audio]` of the scenario is the port of the media, which are sent to the first
/// m-line of the answer; then the scenario goes on to its end (by itself or told so), and the call comes to this state.
pub fn place(server: &Server, scenario: Scenario, mouth: &Mouth, packets: &[Packet], state: &str) -> Outcome {
    let waits = scenario.waits();
    let mut sipp = scenario.key("audio", mouth.port()).start(server);
    let answer = sipp.answer("1 INVITE");
    let media = answer.media();
    mouth.say(media.first().expect("an m-line in the answer").rtp(), packets);
    if waits {
        sipp.go_on();
    }
    let call_id = sipp.call_id().to_owned();
    let messages = sipp.finish();
    Outcome { recorded: server.wait_for_state(&call_id, state), messages }
}
