//! What a call came to, for people and as JSON.
//!
//! The counts are exact: what a recorder's manifest says must agree with them, number for number.

use std::fmt;
use std::net::SocketAddr;

use model::WallTime;
use serde::Serialize;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// We hung up, as planned.
    Bye,
    /// We broke off without a BYE, as planned.
    Vanished,
    /// The INVITE was refused.
    Refused,
    /// The peer hung up.
    RemoteBye,
    /// No final answer in time.
    Timeout,
    /// The session failed: it expired, or the peer no longer answers.
    Failed,
    /// Interrupted before it was answered.
    Cancelled,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bye => "bye",
            Self::Vanished => "vanished",
            Self::Refused => "refused",
            Self::RemoteBye => "remote-bye",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A response to a request of ours.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct AnswerReport {
    /// Milliseconds since the INVITE was sent.
    pub(crate) at_ms: f64,
    /// What was asked: `INVITE`, `hold`, `resume`.
    pub(crate) to: &'static str,
    /// The status.
    pub(crate) status: u16,
    /// The reason phrase, when the response was no success.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// The m-lines of its SDP: `audio 127.0.0.1:40000 recvonly label 1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lines: Vec<String>,
}

/// One source between two pauses: the packets of one SSRC without interruption.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Run {
    /// Which stretch of sending, from 0: a hold begins the next one, an SSRC change does not.
    pub(crate) period: u32,
    /// The SSRC.
    pub(crate) ssrc: u32,
    /// Sequence numbers and RTP timestamps of the first and the last packet sent.
    pub(crate) first_sequence: u16,
    /// See `first_sequence`.
    pub(crate) last_sequence: u16,
    /// See `first_sequence`.
    pub(crate) first_rtp: u32,
    /// See `first_sequence`.
    pub(crate) last_rtp: u32,
    /// When the first and the last were sent.
    pub(crate) first_at: WallTime,
    /// See `first_at`.
    pub(crate) last_at: WallTime,
    /// Packets sent, duplicates not counted.
    pub(crate) packets: u64,
    /// Octets of payload in them.
    pub(crate) octets: u64,
    /// Sequence numbers between the first and the last that were not sent, on purpose.
    pub(crate) skipped: u64,
    /// The same after the last: a receiver cannot know of them.
    pub(crate) skipped_at_end: u64,
    /// Packets sent a second time, on purpose.
    pub(crate) duplicated: u64,
    /// Packets sent after a later one, on purpose.
    pub(crate) reordered: u64,
}

/// One stream of a call.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct StreamReport {
    /// Its `a=label`.
    pub(crate) label: String,
    /// Where it was sent from.
    pub(crate) local: Option<SocketAddr>,
    /// Where it was sent to, last.
    pub(crate) remote: Option<SocketAddr>,
    /// Sums over the runs.
    pub(crate) packets: u64,
    /// See [`Run`].
    pub(crate) octets: u64,
    /// See [`Run`].
    pub(crate) skipped: u64,
    /// See [`Run`].
    pub(crate) duplicated: u64,
    /// See [`Run`].
    pub(crate) reordered: u64,
    /// Packets that the kernel did not take; they are not among `packets`.
    pub(crate) unsent: u64,
    /// Milliseconds of media: the frames sent or skipped, without the pauses.
    pub(crate) media_ms: u64,
    /// Each stretch by itself.
    pub(crate) runs: Vec<Run>,
    /// RTCP sender reports sent.
    pub(crate) sender_reports: u64,
    /// RTCP receiver reports that came back.
    pub(crate) receiver_reports: u64,
    /// What the last of them said was lost in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reported_lost: Option<i32>,
    /// RTP packets that came back.
    pub(crate) received: u64,
}

/// One call.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct CallReport {
    /// Its number, from 1.
    pub(crate) call: u32,
    /// Whether all went as asked.
    pub(crate) ok: bool,
    /// Its Call-ID header.
    pub(crate) sip_call_id: String,
    /// The final status of the INVITE; 0 when there was none.
    pub(crate) status: u16,
    /// Its reason phrase.
    pub(crate) reason: String,
    /// Milliseconds from INVITE to final answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) setup_ms: Option<f64>,
    /// The m-lines that were offered first.
    pub(crate) offered: Vec<String>,
    /// Every answer.
    pub(crate) answers: Vec<AnswerReport>,
    /// Its streams.
    pub(crate) streams: Vec<StreamReport>,
    /// Holds that were accepted.
    pub(crate) holds: u32,
    /// How it ended.
    pub(crate) ended: Ending,
    /// Ended early because the user asked.
    pub(crate) interrupted: bool,
    /// What did not go as asked.
    pub(crate) problems: Vec<String>,
}

impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.call)?;
        for answer in &self.answers {
            write!(f, "  {} {} {:.0} ms", answer.to, answer.status, answer.at_ms)?;
        }
        write!(f, "  {}", self.ended)?;
        for stream in &self.streams {
            write!(f, "\n  stream {}: {} packets, {:.1} s", stream.label, stream.packets, seconds(stream))?;
            if let Some(remote) = stream.remote {
                write!(f, " to {remote}")?;
            }
            for (count, what) in [
                (stream.skipped, "not sent on purpose"),
                (stream.duplicated, "duplicated"),
                (stream.reordered, "reordered"),
                (stream.unsent, "not taken by the kernel"),
            ] {
                if count > 0 {
                    write!(f, ", {count} {what}")?;
                }
            }
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  problem: {problem}"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn seconds(stream: &StreamReport) -> f64 {
    stream.media_ms as f64 / 1000.0
}

/// All calls together.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Calls made.
    pub(crate) calls: u32,
    /// Of those, as asked.
    pub(crate) ok: u32,
    /// Not as asked.
    pub(crate) failed: u32,
    /// Answered 2xx.
    pub(crate) answered: u32,
    /// The most that were up at once.
    pub(crate) most_at_once: usize,
    /// INVITE to 2xx in milliseconds: the median, 99 of 100, and the worst.
    pub(crate) setup_ms: Option<[f64; 3]>,
    /// RTP packets sent.
    pub(crate) packets: u64,
    /// RTP packets that the kernel did not take.
    pub(crate) unsent: u64,
    /// The latest that a packet left after its time, in milliseconds: a number over the ptime says that this
    /// machine is too slow for so many calls.
    pub(crate) latest_ms: f64,
    /// SIP messages sent again for want of an answer.
    pub(crate) retransmitted: u64,
    /// Statuses that refused, and how often.
    pub(crate) refusals: std::collections::BTreeMap<u16, u32>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, ok, failed, most_at_once, packets, .. } = self;
        write!(f, "{calls} calls, {ok} as asked, {failed} not; {packets} packets")?;
        write!(f, ", at most {most_at_once} calls at once")?;
        if let Some([median, p99, worst]) = self.setup_ms {
            write!(f, "; answered in {median:.1} ms (median), {p99:.1} (99 %), {worst:.1} (worst)")?;
        }
        for (status, count) in &self.refusals {
            write!(f, "; {count} × {status}")?;
        }
        if self.unsent > 0 {
            write!(f, "; {} packets not taken by the kernel", self.unsent)?;
        }
        Ok(())
    }
}
