//! Identity: 64-bit ids that sort by time, and the names of tenants and nodes.
//!
//! ```text
//!  63 62                                       21 20        11 10         0
//! ┌──┬───────────────────────────────────────────┬────────────┬────────────┐
//! │ 0│ milliseconds since 2020-01-01 (42 bits)   │ node (10)  │ seq (11)   │
//! └──┴───────────────────────────────────────────┴────────────┴────────────┘
//! ```
//!
//! 42 bits of milliseconds last until 2159. The text form is 13 characters of Crockford's base 32, lower
//! case, so that text sorts as the numbers do; in JSON an id is always text, because JavaScript rounds
//! numbers over 2^53.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::WallTime;

/// 2020-01-01T00:00:00Z in Unix milliseconds: the origin of ids.
const EPOCH_MS: i64 = 1_577_836_800_000;
const NODE_BITS: u32 = 10;
const SEQ_BITS: u32 = 11;
const TIME_BITS: u32 = 42;
const TEXT_LEN: usize = 13;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Text that is no id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdParseError {
    /// Not 13 characters of base 32.
    #[error("'{0}' is no id: 13 characters 0-9 and a-z without i, l, o, u are expected")]
    Id(String),
    /// Not a tenant name.
    #[error("'{0}' is no tenant name: 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit")]
    Tenant(String),
    /// Beyond what 10 bits hold.
    #[error("node number {0} is out of range: 0 to 1023")]
    Node(u64),
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// From the number as a database holds it.
            #[must_use]
            pub const fn from_u64(n: u64) -> Self { Self(n & (u64::MAX >> 1)) }
            /// The number, as a database holds it: always below 2^63.
            #[must_use]
            pub const fn as_u64(self) -> u64 { self.0 }
            /// When it was made, to the millisecond.
            #[must_use]
            pub fn made_at(self) -> WallTime { made_at(self.0) }
            /// The node that gave it.
            #[must_use]
            pub const fn node(self) -> NodeNumber {
                NodeNumber(((self.0 >> SEQ_BITS) & ((1 << NODE_BITS) - 1)) as u16)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_text(self.0, f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_text(self.0, f) }
        }
        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(s: &str) -> Result<Self, IdParseError> { parse_text(s).map(Self) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// One conversation, from its first INVITE to its last hang-up. Not the peer's Call-ID header.
    CallId,
    /// What one record server recorded of a call without interruption.
    SegmentId,
    /// The packets of one direction of a segment, received on one port of ours.
    StreamId,
    /// One event of the journal and the outbox.
    EventId,
}

/// The number of a node, claimed by it: 0 to 1023.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct NodeNumber(u16);

impl NodeNumber {
    /// The only node of a single machine.
    pub const SINGLE: Self = Self(0);

    /// Checks the range.
    pub fn new(n: u16) -> Result<Self, IdParseError> {
        if n < 1 << NODE_BITS { Ok(Self(n)) } else { Err(IdParseError::Node(n.into())) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for NodeNumber {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The name of a tenant: also the name of its directory in a repository, hence the narrow alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant of an installation that has only one.
    pub const DEFAULT_NAME: &'static str = "default";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT_NAME))
    }
}

impl FromStr for TenantId {
    type Err = IdParseError;
    fn from_str(s: &str) -> Result<Self, IdParseError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let ok = (1..=63).contains(&s.len())
            && s.bytes().all(|c| plain(c) || c == b'-')
            && s.bytes().next().is_some_and(plain);
        if ok { Ok(Self(Arc::from(s))) } else { Err(IdParseError::Tenant(s.to_owned())) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes ids that grow, whatever the wall clock does.
///
/// When the clock steps back, ids go on from the last one; when more than 2,048 are asked for within a
/// millisecond, the next millisecond is borrowed.
#[derive(Debug, Clone)]
pub struct IdGenerator {
    node: NodeNumber,
    last_ms: u64,
    seq: u64,
}

impl IdGenerator {
    /// A generator for a node. `after` is the highest number that this node is known to have given before
    /// (0 when none): a restart after the clock stepped back repeats nothing.
    #[must_use]
    pub fn new(node: NodeNumber, after: u64) -> Self {
        let (last_ms, seq) = match after {
            0 => (0, 0),
            n => ((n >> (NODE_BITS + SEQ_BITS)) + 1, 0),
        };
        Self { node, last_ms, seq }
    }

    /// Whose ids these are.
    #[must_use]
    pub const fn node(&self) -> NodeNumber {
        self.node
    }

    /// The next call id.
    pub fn call(&mut self, now: WallTime) -> CallId {
        CallId(self.next(now))
    }

    /// The next segment id.
    pub fn segment(&mut self, now: WallTime) -> SegmentId {
        SegmentId(self.next(now))
    }

    /// The next stream id.
    pub fn stream(&mut self, now: WallTime) -> StreamId {
        StreamId(self.next(now))
    }

    /// The next event id.
    pub fn event(&mut self, now: WallTime) -> EventId {
        EventId(self.next(now))
    }

    fn next(&mut self, now: WallTime) -> u64 {
        let clock_ms = u64::try_from(now.millis() - EPOCH_MS).unwrap_or(0).min((1 << TIME_BITS) - 1);
        if clock_ms > self.last_ms {
            self.last_ms = clock_ms;
            self.seq = 0;
        } else {
            self.seq += 1;
            if self.seq >= 1 << SEQ_BITS {
                self.last_ms += 1;
                self.seq = 0;
            }
        }
        (self.last_ms << (NODE_BITS + SEQ_BITS)) | (u64::from(self.node.0) << SEQ_BITS) | self.seq
    }
}

fn made_at(n: u64) -> WallTime {
    let ms = i64::try_from(n >> (NODE_BITS + SEQ_BITS)).unwrap_or(0);
    WallTime::from_millis(ms.saturating_add(EPOCH_MS))
}

fn write_text(n: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; TEXT_LEN];
    let mut rest = n;
    for c in text.iter_mut().rev() {
        *c = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    f.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn parse_text(s: &str) -> Result<u64, IdParseError> {
    let bad = || IdParseError::Id(s.chars().take(40).collect());
    if s.len() != TEXT_LEN {
        return Err(bad());
    }
    let mut n: u64 = 0;
    for c in s.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == c.to_ascii_lowercase()).ok_or_else(bad)?;
        n = n.checked_mul(32).and_then(|n| n.checked_add(digit as u64)).ok_or_else(bad)?;
    }
    if n >> 63 == 0 { Ok(n) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn ids_grow_when_the_clock_steps_back_and_when_a_millisecond_is_full() {
        let mut ids = IdGenerator::new(NodeNumber::new(7).unwrap(), 0);
        let t = WallTime::from_millis(EPOCH_MS + 5_000);
        let mut last = ids.call(t).as_u64();
        for step in [0_i64, -3_600_000, 0, 1] {
            for _ in 0..5_000 {
                let id = ids.call(WallTime::from_millis(t.millis() + step)).as_u64();
                assert!(id > last);
                last = id;
            }
        }
    }

    #[test]
    fn a_restart_goes_on_after_the_highest_id_known() {
        let t = WallTime::from_millis(EPOCH_MS + 10_000);
        let before = IdGenerator::new(NodeNumber::SINGLE, 0).segment(t);
        let mut after = IdGenerator::new(NodeNumber::SINGLE, before.as_u64());
        assert!(after.segment(WallTime::from_millis(EPOCH_MS)) > before);
    }

    #[test]
    fn names_of_tenants_cannot_leave_their_directory() {
        for bad in ["", "..", "a/b", "A", "-a", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        assert!("acme-2".parse::<TenantId>().is_ok());
    }

    proptest! {
        #[test]
        fn text_round_trips_and_sorts(a in any::<u64>(), b in any::<u64>()) {
            let (a, b) = (CallId::from_u64(a), CallId::from_u64(b));
            prop_assert_eq!(a.to_string().parse::<CallId>(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_text_is_read_or_refused(s in "\\PC{0,20}") {
            if let Ok(id) = s.parse::<CallId>() {
                prop_assert!(id.to_string().eq_ignore_ascii_case(&s));
            }
        }
    }
}
