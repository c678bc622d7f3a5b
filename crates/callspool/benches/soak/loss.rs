//! What was lost of what was sent to many calls: packets that never came, and those that are in no recording.

use std::fmt;

use crate::figures::Figures;
use crate::traffic::Sent;

/// Counts from the first packet to the last.
pub(crate) struct Loss {
    sent: Sent,
    /// Datagrams that came.
    received: u64,
    /// Packets in the accounts of the recordings.
    accounted: u64,
    /// Packets that came and were not written.
    dropped: u64,
    /// What the kernel dropped for want of buffer, for all programs of the machine.
    kernel: u64,
}

impl Loss {
    /// Of what was sent, by what the recorder said of itself before, when all had come, and when all was sealed.
    pub(crate) fn of(sent: Sent, before: &Figures, silent: &Figures, sealed: &Figures) -> Self {
        Self {
            sent,
            received: silent.received.saturating_sub(before.received),
            accounted: sealed.accounted.saturating_sub(before.accounted),
            dropped: sealed.dropped.saturating_sub(before.dropped),
            kernel: sealed.kernel.saturating_sub(before.kernel),
        }
    }

    /// Whether every packet that left is in a recording, and there were some. What this program could not send was no
    /// packet.
    pub(crate) fn is_none(&self) -> bool {
        let of = self.sent.packets;
        of > 0 && self.received == of && self.accounted == of && self.dropped == 0
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, accounted, dropped, kernel } = self;
        let of = sent.packets;
        write!(
            f,
            "{of} packets sent, {} not received, {} in no recording, {dropped} not written, {kernel} dropped by the kernel; \
             the sender left out {} and its kernel {}, 99 of 100 left at most {:.1} ms late: {}",
            i128::from(of) - i128::from(*received),
            i128::from(of) - i128::from(*accounted),
            sent.late,
            sent.refused,
            sent.lateness.quantile_ms(0.99).unwrap_or(0.0),
            if self.is_none() { "none lost" } else { "LOST" },
        )
    }
}
