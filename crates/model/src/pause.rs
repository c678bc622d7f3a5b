//! Pauses: stretches of a segment of which nothing is kept, because somebody asked for it.

use serde::{Deserialize, Serialize};

use crate::time::WallTime;

/// Who or what paused a recording, or resumed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how", content = "who")]
pub enum PauseSource {
    /// An API call, by user or key name.
    Api(String),
    /// A SIP INFO; the header that said so: `Record: off`.
    Info(String),
    /// A re-INVITE or UPDATE; the header that said so: `X-AC-Action: pause-siprec`.
    Sip(String),
    /// SDP whose lines are all inactive, of a client that means a pause by it.
    Sdp,
    /// The pause had lasted as long as it may.
    Timeout,
}

impl PauseSource {
    /// A phrase for lists: `API (alice)`, `INFO (Record: off)`, `time-out`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Api(who) => format!("API ({who})"),
            Self::Info(what) => format!("INFO ({what})"),
            Self::Sip(what) => format!("SIP ({what})"),
            Self::Sdp => "SDP (inactive)".to_owned(),
            Self::Timeout => "time-out".to_owned(),
        }
    }
}

/// A pause that goes on, for a segment that begins in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenPause {
    /// When it began.
    pub since: WallTime,
    /// Who asked for it.
    pub by: PauseSource,
}

/// A pause as the manifest lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// When it began; before the segment's start when it began in an earlier segment or on hold.
    pub from: WallTime,
    /// Where it begins on the segment's time line, in microseconds from its start.
    pub from_us: i64,
    /// Who asked for it.
    pub by: PauseSource,
    /// When it ended; none when the segment ended before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<WallTime>,
    /// Where it ends on the segment's time line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<i64>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_by: Option<PauseSource>,
}

impl Pause {
    /// Whether it goes on as far as the record that lists it knows.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.until.is_none()
    }
}
