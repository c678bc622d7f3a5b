//! By which way media come to a record server, and how what comes by a relay is told from what does not.
//!
//! ```text
//!  0            n      n+4          n+12
//!  │ the packet │ age  │ mark       │      big end first
//! ```
//!
//! *Age* is how long ago the packet came to the relay, in microseconds: what is replayed to a record server that takes over
//! was said seconds before it arrives there, and belongs where it was said. It is a length of time, not a time, so that no two
//! clocks need agree. *Mark* is drawn for each stream and told with the order: whoever does not know it is not the relay.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Octets behind each packet.
pub const TRAILER_LEN: usize = 12;
/// More than a relay remembers: what claims to be older is as old as this.
const AGE_MAX: Duration = Duration::from_secs(60);

/// By which way media come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// From their sender.
    #[default]
    Direct,
    /// By a relay, which whoever passes the order on is to open. Where nobody is between, they come from their sender.
    Anchored,
    /// By a relay: each datagram ends with this mark.
    Relayed(Mark),
}

impl Route {
    /// Whether they come from their sender.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct)
    }

    /// What datagrams end with; none: nothing.
    #[must_use]
    pub const fn mark(&self) -> Option<Mark> {
        match self {
            Self::Relayed(mark) => Some(*mark),
            Self::Direct | Self::Anchored => None,
        }
    }
}

/// What a relay and a record server know of a stream and nobody else does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(u64);

impl Mark {
    /// Of octets that nobody can guess.
    #[must_use]
    pub const fn new(octets: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(octets))
    }

    /// What stands behind a packet that came so long ago.
    #[must_use]
    pub fn trailer(self, age: Duration) -> [u8; TRAILER_LEN] {
        let age = u32::try_from(age.min(AGE_MAX).as_micros()).unwrap_or(0);
        let mut trailer = [0; TRAILER_LEN];
        let (first, last) = trailer.split_at_mut(4);
        first.copy_from_slice(&age.to_be_bytes());
        last.copy_from_slice(&self.0.to_be_bytes());
        trailer
    }

    /// The packet, and how long ago it came to the relay; none where this is not of it.
    #[must_use]
    pub fn take_off(self, datagram: &[u8]) -> Option<(&[u8], Duration)> {
        let (rest, mark) = datagram.split_last_chunk::<8>()?;
        let (packet, age) = rest.split_last_chunk::<4>()?;
        let age = Duration::from_micros(u32::from_be_bytes(*age).into()).min(AGE_MAX);
        (u64::from_be_bytes(*mark) == self.0).then_some((packet, age))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_behind_a_packet_comes_off_again(
            packet in proptest::collection::vec(any::<u8>(), 0..2_000),
            age in 0_u64..120_000_000,
            mark: [u8; 8],
        ) {
            let (mark, age) = (Mark::new(mark), Duration::from_micros(age));
            let datagram = [&packet[..], &mark.trailer(age)].concat();
            prop_assert_eq!(mark.take_off(&datagram), Some((&packet[..], age.min(AGE_MAX))));
        }

        #[test]
        fn any_octets_are_survived_and_those_of_others_are_none(
            datagram in proptest::collection::vec(any::<u8>(), 0..40),
            mark: [u8; 8],
        ) {
            let ends_so = datagram.ends_with(&mark) && datagram.len() >= TRAILER_LEN;
            prop_assert_eq!(Mark::new(mark).take_off(&datagram).is_some(), ends_so);
        }
    }
}
