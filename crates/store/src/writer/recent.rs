//! What was written last to a server. A standby that takes over may lack some of it: it is written again then, which does
//! no harm where it is there.

use std::collections::VecDeque;

use model::{Change, EventId};

use super::queue::octets_of;

/// More than a standby is behind when it is well: seconds of a busy node, some 12 MB.
const CHANGES_MAX: usize = 4_096;
/// The same for changes with long metadata.
const OCTETS_MAX: usize = 16 << 20;

/// The last of what was written, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    changes: VecDeque<Change>,
    octets: usize,
}

impl Recent {
    pub(super) fn keep(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.octets += octets_of(&change);
            self.changes.push_back(change);
        }
        while self.changes.len() > CHANGES_MAX || self.octets > OCTETS_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.octets = self.octets.saturating_sub(octets_of(&oldest));
        }
    }

    /// The first of them. None: nothing was written.
    pub(super) fn first(&self) -> Option<EventId> {
        self.changes.front().map(|change| change.id)
    }

    pub(super) fn all(&self) -> Vec<Change> {
        self.changes.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CallId, ChangeKind, Note, TenantId, WallTime};

    #[test]
    fn the_last_are_remembered_and_no_more_than_fit() {
        let change = |n: u64| Change {
            id: EventId::from_u64(n),
            at: WallTime(0),
            tenant: TenantId::default(),
            kind: ChangeKind::Noted {
                call: CallId::from_u64(1),
                note: Note::Tagged { tag: "x".parse().unwrap() },
                by: "test".to_owned(),
            },
        };
        let mut recent = Recent::default();
        assert_eq!((recent.first(), recent.all().len()), (None, 0));
        for batch in 0..100 {
            recent.keep((0..100).map(|n| change(batch * 100 + n + 1)).collect());
        }
        assert_eq!(recent.all().len(), CHANGES_MAX);
        assert_eq!(recent.first(), Some(EventId::from_u64(10_000 - CHANGES_MAX as u64 + 1)));
    }
}
