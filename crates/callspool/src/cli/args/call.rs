//! What may be written behind `callspool call`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::values::{self, HoldSpec};

/// A SIP transport of a test call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CallTransport {
    /// Datagrams
    Udp,
    /// A connection
    Tcp,
    /// A connection with TLS
    Tls,
    /// A WebSocket
    Ws,
    /// A WebSocket with TLS
    Wss,
}

impl CallTransport {
    /// As SIP has it.
    #[must_use]
    pub(crate) const fn sip(self) -> sip::Transport {
        match self {
            Self::Udp => sip::Transport::Udp,
            Self::Tcp => sip::Transport::Tcp,
            Self::Tls => sip::Transport::Tls,
            Self::Ws => sip::Transport::Ws,
            Self::Wss => sip::Transport::Wss,
        }
    }
}

/// A codec of a test call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CallCodec {
    /// G.711 mu-law
    Pcmu,
    /// G.711 A-law
    Pcma,
}

/// How a test call encrypts its media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CallSrtp {
    /// Keys in SDP (RFC 4568)
    Sdes,
    /// Keys by a handshake on the media port (RFC 5764)
    Dtls,
}

/// A cipher of SRTP, by its name in SDP.
pub(crate) fn suite(name: &str) -> Result<model::Suite, String> {
    model::Suite::named(name).ok_or_else(|| {
        let known: Vec<_> = model::Suite::ALL.iter().map(|s| s.name()).collect();
        format!("no such cipher; known are {}", known.join(", "))
    })
}

/// `callspool call`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  callspool call --to sip:rec@127.0.0.1:5060
  callspool call --to 'sip:rec@[::1]:5060;transport=tcp' --siprec --hold 2s@2s --duration 6s
  callspool call --siprec --wav agent.wav --wav external.wav
  callspool call --tone 440 --loss 2% --calls 100 --rate 20/s --json")]
pub(crate) struct CallArgs {
    /// Where to call: sip:user@host:port
    #[arg(long, value_name = "URI", default_value = "sip:callspool@127.0.0.1:5060")]
    pub(crate) to: String,
    /// Who calls
    #[arg(long, value_name = "URI", default_value = "sip:1001@callspool.invalid")]
    pub(crate) from: String,
    /// Display name of who calls
    #[arg(long, value_name = "TEXT")]
    pub(crate) from_name: Option<String>,
    /// By which transport; else the URI says, else UDP
    #[arg(long, value_enum)]
    pub(crate) transport: Option<CallTransport>,
    /// PEM file of the authorities that the server's certificate must come from; else those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate of the server: the connection then proves nothing
    #[arg(long)]
    pub(crate) insecure: bool,
    /// PEM file of a certificate to show to the server (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// User to authenticate as when the server asks for it (digest)
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File whose first line is the password; - is standard input
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// Call as a SIPREC recording client (RFC 7866) instead of plainly
    #[arg(long)]
    pub(crate) siprec: bool,
    /// INVITE without SDP; the answer goes into the ACK
    #[arg(long)]
    pub(crate) delayed_offer: bool,
    /// Streams: 2 with --siprec, else 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) streams: Option<u8>,
    /// WAV file to send, mono, 16 bit; once for each stream
    #[arg(long, value_name = "FILE", conflicts_with = "tone")]
    pub(crate) wav: Vec<PathBuf>,
    /// Tone to send; once for each stream. Without --wav and --tone it is synthetic speech
    #[arg(long, value_name = "HZ", value_parser = values::tone)]
    pub(crate) tone: Vec<f64>,
    /// From the answer to the hang-up [default: 5s, or the length of the WAV files]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) duration: Option<Duration>,
    /// Milliseconds of media in a packet
    #[arg(long, value_name = "MS", default_value = "20", value_parser = ["10", "20", "30", "40", "60"])]
    pub(crate) ptime: String,
    /// Codec
    #[arg(long, value_enum, default_value = "pcmu")]
    pub(crate) codec: CallCodec,
    /// Encrypt the media (SRTP)
    #[arg(long, value_enum, value_name = "KEYS")]
    pub(crate) srtp: Option<CallSrtp>,
    /// By which cipher
    #[arg(long, value_name = "NAME", default_value = "AES_CM_128_HMAC_SHA1_80", value_parser = suite)]
    pub(crate) srtp_suite: model::Suite,
    /// Encrypt by another key than the one that is offered: the recorder must notice
    #[arg(long, requires = "srtp")]
    pub(crate) wrong_key: bool,
    /// Hold the call: 2s@3s is for 2 s, beginning 3 s after the answer; may be repeated
    #[arg(long, value_name = "LENGTH@START", value_parser = values::hold)]
    pub(crate) hold: Vec<HoldSpec>,
    /// Break off without BYE, as when a cable is pulled
    #[arg(long)]
    pub(crate) vanish: bool,
    /// Share of packets that are not sent
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) loss: f64,
    /// Share of packets that are sent after the next one
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) reorder: f64,
    /// Share of packets that are sent twice
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) duplicate: f64,
    /// Go on with a new SSRC, sequence and timestamp so long after the answer
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) ssrc_change_at: Option<Duration>,
    /// Makes loss, order and speech the same each time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
    /// New calls per second
    #[arg(long, value_name = "N/s", default_value = "10/s", value_parser = values::rate)]
    pub(crate) rate: f64,
    /// Calls at once, at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: u32,
    /// How long to wait for a final answer
    #[arg(long, value_name = "TIME", default_value = "32s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// An object per call and one for all, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Only the summary
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

impl CallArgs {
    /// Milliseconds of media in a packet.
    #[must_use]
    pub(crate) fn ptime_ms(&self) -> u32 {
        self.ptime.parse().unwrap_or(20)
    }
}
