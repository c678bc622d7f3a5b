//! What alarms are about, and how bad each is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; nothing is lost.
    Notice,
    /// A call is affected, or soon more will be.
    Warning,
    /// Calls are not recorded, or soon will not be.
    Critical,
}

impl Severity {
    /// The name as shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that is no name of a severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no severity: notice, warning or critical")]
pub struct SeverityParseError(String);

impl FromStr for Severity {
    type Err = SeverityParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        [Self::Notice, Self::Warning, Self::Critical]
            .into_iter()
            .find(|v| v.name() == s)
            .ok_or_else(|| SeverityParseError(s.chars().take(40).collect()))
    }
}

/// What each kind is: name, severity and, for conditions, how long it must be bad to be raised and good to be
/// cleared.
macro_rules! kinds {
    (
        $(#[$incident_doc:meta])* Incident { $( $(#[$idoc:meta])+ $Incident:ident = $iname:literal, $isev:ident; )+ }
        $(#[$condition_doc:meta])* Condition {
            $( $(#[$cdoc:meta])+ $Condition:ident = $cname:literal, $csev:ident, $raise:literal, $clear:literal; )+
        }
    ) => {
        $(#[$incident_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum Incident { $( $(#[$idoc])+ $Incident, )+ }

        impl Incident {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$Incident ),+];

            /// The name as shown.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Incident => $iname, )+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $( Self::$Incident => Severity::$isev, )+ }
            }
        }

        $(#[$condition_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum Condition { $( $(#[$cdoc])+ $Condition, )+ }

        impl Condition {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$Condition ),+];

            /// The name as shown.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Condition => $cname, )+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $( Self::$Condition => Severity::$csev, )+ }
            }

            /// How long it must be bad without a break before it is raised.
            #[must_use]
            pub const fn raise_after(self) -> Duration {
                match self { $( Self::$Condition => Duration::from_secs($raise), )+ }
            }

            /// How long it must be good without a break before it is cleared.
            #[must_use]
            pub const fn clear_after(self) -> Duration {
                match self { $( Self::$Condition => Duration::from_secs($clear), )+ }
            }
        }
    };
}

kinds! {
    /// Something that happened once. It is told, counted when it repeats, and never cleared.
    Incident {
        /// A call, or a part of it, could not be recorded.
        NotRecorded = "not-recorded", Critical;
        /// A segment ended by an upstream failure.
        UpstreamFailure = "upstream-failure", Warning;
        /// A segment ended by a failure inside.
        InternalFailure = "internal-failure", Critical;
        /// A file operation failed, or media were dropped because the disk did not take them.
        Storage = "storage", Critical;
        /// Changes did not reach the catalog; it is filled from the repository again.
        CatalogLoss = "catalog-loss", Warning;
        /// An order was lost at a limit.
        Limit = "limit", Critical;
        /// Something was repaired at start.
        Repaired = "repaired", Notice;
        /// A pause lasted as long as it may, and recording goes on.
        PauseTimedOut = "pause-timed-out", Warning;
        /// Keys of encrypted media come over signalling that is not encrypted.
        KeysInClear = "keys-in-clear", Notice;
        /// The segments of a call could not be brought together on one node, or a copy of one is not what was sealed.
        NotGathered = "not-gathered", Warning;
        /// A service address has moved here from another node.
        AddressMoved = "address-moved", Warning;
    }
    /// Something that lasts. It is raised when it was bad for long enough and cleared when it was good for long
    /// enough.
    Condition {
        /// A volume has too little room: new segments are not begun there.
        DiskSpace = "disk-space", Critical, 0, 5;
        /// At the rate at which a volume fills it will be full within days.
        DiskDays = "disk-days", Warning, 60, 600;
        /// A volume takes no file.
        Unwritable = "unwritable", Critical, 0, 5;
        /// What was written to a volume cannot be made durable.
        Unsynced = "unsynced", Critical, 0, 5;
        /// A volume is not in its place: its disk is unmounted, or another one is there.
        VolumeAway = "volume-away", Critical, 0, 0;
        /// The descriptors that segments may take run out.
        Descriptors = "descriptors", Critical, 0, 30;
        /// Media ports run out.
        Ports = "ports", Critical, 0, 30;
        /// Calls are refused, or could not be recorded, more often than the threshold allows.
        Refusals = "refusals", Critical, 0, 60;
        /// As many calls go on as are allowed.
        CallLimit = "call-limit", Critical, 5, 5;
        /// The catalog does not answer; recording goes on.
        CatalogAway = "catalog-away", Warning, 0, 5;
        /// Another node holds the number of this one: both would give the same ids.
        NumberTaken = "number-taken", Critical, 0, 0;
        /// Events are written and cannot be read: a transaction on the server of the catalog does not end.
        EventsWaiting = "events-waiting", Warning, 30, 0;
        /// The journal that takes changes while the catalog cannot fills.
        JournalGrowing = "journal-growing", Warning, 0, 30;
        /// Media wait for the disk.
        MediaBacklog = "media-backlog", Critical, 2, 30;
        /// The TLS certificate expires soon, or has expired.
        Certificate = "certificate", Warning, 0, 0;
        /// The files of the TLS certificate have changed and cannot be used: the old one stays.
        CertificateUnusable = "certificate-unusable", Warning, 0, 0;
        /// Media are expected on a call and none come.
        NoMedia = "no-media", Warning, 0, 2;
        /// Media come on one stream of a call and not on another.
        OneWay = "one-way", Warning, 0, 5;
        /// Media come on a stream and nothing is heard in them.
        Silence = "silence", Warning, 0, 3;
        /// More packets of a stream are lost than the threshold allows.
        Loss = "loss", Warning, 0, 10;
        /// Packets of an encrypted stream cannot be opened, and are not kept.
        WrongKeys = "wrong-keys", Critical, 0, 5;
        /// The kernel dropped datagrams because a receive buffer was full.
        ReceiveDrops = "receive-drops", Warning, 0, 60;
        /// A webhook does not take what it is to be told.
        WebhookFailing = "webhook-failing", Warning, 0, 0;
    }
}

/// What an alarm is about: an incident or a condition. In text it is one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum AlarmKind {
    /// It happened once.
    Incident(Incident),
    /// It lasts.
    Condition(Condition),
}

impl AlarmKind {
    /// The name as shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident(i) => i.name(),
            Self::Condition(c) => c.name(),
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Incident(i) => i.severity(),
            Self::Condition(c) => c.severity(),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let incidents = Incident::ALL.iter().copied().map(Self::Incident);
        incidents.chain(Condition::ALL.iter().copied().map(Self::Condition))
    }
}

impl From<Incident> for AlarmKind {
    fn from(incident: Incident) -> Self {
        Self::Incident(incident)
    }
}

impl From<Condition> for AlarmKind {
    fn from(condition: Condition) -> Self {
        Self::Condition(condition)
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that is no kind of alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no kind of alarm, such as not-recorded or disk-space")]
pub struct AlarmKindParseError(String);

impl FromStr for AlarmKind {
    type Err = AlarmKindParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::all().find(|k| k.name() == s).ok_or_else(|| AlarmKindParseError(s.chars().take(40).collect()))
    }
}

impl Serialize for AlarmKind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for AlarmKind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_that_is_read_again() {
        let names: BTreeSet<&str> = AlarmKind::all().map(AlarmKind::name).collect();
        assert_eq!(names.len(), Incident::ALL.len() + Condition::ALL.len());
        for kind in AlarmKind::all() {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("nothing".parse::<AlarmKind>().is_err());
    }
}
