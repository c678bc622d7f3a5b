//! What a listener counts: strangers and what they tried, and what was not understood.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::messages::Skipped;

/// Why somebody has no link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// No certificate, or none of a node of this cluster.
    Certificate,
    /// It did not get as far as asking for a link, in time or at all.
    Handshake,
    /// No version that both speak.
    Version,
    /// As many are there as may be.
    Limits,
}

impl Refused {
    const ALL: [Self; 4] = [Self::Certificate, Self::Handshake, Self::Version, Self::Limits];
}

/// What was counted since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListenerCounts {
    /// Refused: no certificate, or none of a node of this cluster.
    pub certificate: u64,
    /// Refused: it did not ask for a link, in time or at all.
    pub handshake: u64,
    /// Refused: no version that both speak.
    pub version: u64,
    /// Refused: as many were there as may be.
    pub limits: u64,
    /// From whom the last refused one came, and why it was.
    pub last: Option<String>,
    /// Messages that were not understood.
    pub skipped: u64,
}

#[derive(Default)]
pub(crate) struct Counts {
    refused: [AtomicU64; Refused::ALL.len()],
    last: Mutex<Option<String>>,
    pub(crate) skipped: Skipped,
}

impl Counts {
    pub(crate) fn refuse(&self, what: Refused, from: IpAddr, why: &str) {
        for (of, count) in Refused::ALL.iter().zip(&self.refused) {
            if *of == what {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{from}: {why}"));
    }

    pub(crate) fn read(&self) -> ListenerCounts {
        let [certificate, handshake, version, limits] =
            self.refused.each_ref().map(|count| count.load(Ordering::Relaxed));
        ListenerCounts {
            certificate,
            handshake,
            version,
            limits,
            last: self.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            skipped: self.skipped.load(Ordering::Relaxed),
        }
    }
}
