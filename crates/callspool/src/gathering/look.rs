//! What this node holds of calls, by their files: all of a call's directories on all volumes.
//!
//! A call is named to other nodes by its owner, the day of its directory and its id, so that all who have something of it name it
//! alike: when it began is known exactly by those alone who have its first segment.

use std::collections::BTreeMap;
use std::io;

use model::{CallHoldings, CallId, CallKey, NodeNumber, Place, Rank, SegmentId, TenantId, WallTime};
use spool::gathering::own;
use spool::{Files, layout};

use crate::repository::Repository;
use crate::whole::WholeCall;

/// The directory of a call.
pub(super) fn directory(key: &CallKey) -> String {
    layout::call_directory(&key.tenant, key.call_started, key.call)
}

/// The call whose directory this is.
pub(crate) fn key_of(directory: &str) -> Option<CallKey> {
    let mut names = directory.split('/');
    let (tenant, date, call) = (names.next()?, names.next()?, names.next()?);
    let call_started: WallTime = format!("{date}T00:00:00Z").parse().ok()?;
    let tenant: TenantId = tenant.parse().ok()?;
    let key = CallKey { call: call.parse::<CallId>().ok()?, call_started, tenant };
    (self::directory(&key) == directory).then_some(key)
}

/// What is here of the call that has this directory, or that it turned out to be. Nothing is said while a volume is away: what
/// lies there would be taken for missing, and what its logs say of copies for unsaid.
pub(super) fn holdings(
    node: NodeNumber,
    repository: &Repository,
    directory: &str,
) -> io::Result<CallHoldings> {
    if let Some(volume) = repository.away().next() {
        let why = format!("volume {volume} is away, and what is on it is not known");
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let whole = WholeCall::read(repository, directory)?;
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("'{directory}' is no call's directory"));
    let key = key_of(whole.directory()).ok_or_else(wrong)?;
    let segments = whole.recorded(repository)?;
    let renumbered =
        segments.read.iter().chain(&segments.twins).filter(|(_, file)| file.recorded_as.is_some());
    let numbers: BTreeMap<SegmentId, u16> =
        renumbered.map(|(record, _)| (record.id, record.number)).collect();
    let volumes: Vec<_> = repository.each().collect();
    let pieces = whole.pieces.iter().filter_map(|piece| key_of(&piece.directory));
    let mut places: Vec<(Place, &dyn Files)> = Vec::new();
    for of in pieces {
        for (volume, files) in &volumes {
            let place = |rank| Place { of: of.clone(), volume: volume.clone(), rank };
            places.extend([Rank::First, Rank::Twin].map(|rank| (place(rank), files as &dyn Files)));
        }
    }
    own::holdings(node, &key, &numbers, &places)
}

/// Whether something may be to be done about a call that is here: it is not gathered; or it is, with copies that others may have
/// too; or something of it was given up and is not removed yet.
pub(super) fn concerns(node: NodeNumber, held: &CallHoldings) -> bool {
    let is_left = held.directories.iter().any(|directory| directory.copies.is_empty());
    let is_shared = held.copies().any(|(_, copy)| !copy.is_kept() || copy.node != node);
    let is_whole = held.gathered || held.state.is_some_and(|state| state.is_gathered());
    is_left || is_shared || (!is_whole && held.copies().next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::tests::two;

    #[test]
    fn a_call_is_named_by_its_directory() {
        let directory_of = |text: &str| key_of(text).map(|key| directory(&key));
        let call = CallId::from_u64(77);
        let good = format!("default/2026-11-28/{call}");
        assert_eq!(directory_of(&good), Some(good.clone()));
        for bad in
            [format!("default/2026-13-28/{call}"), format!("default/{call}"), format!("../2026-11-28/{call}")]
        {
            assert_eq!(directory_of(&bad), None, "{bad}");
        }
    }

    #[test]
    fn who_has_one_of_two_calls_that_are_one_is_asked_for_either() {
        use spool::joining::Half;
        for half in [Half::Into, Half::From] {
            let two = two();
            std::fs::remove_dir_all(two.directory.path().join(half.other().directory(&two.join))).unwrap();
            let disk_of = |directory: &str| {
                let is_there = two.directory.path().join(directory).is_dir();
                is_there.then(|| crate::recorder::Disk::new(two.directory.path()))
            };
            for _ in 0..2 {
                let noted = crate::recorder::note_join(
                    &two.repository,
                    NodeNumber::SINGLE,
                    &two.join,
                    |_| (),
                    disk_of,
                );
                noted.unwrap();
            }
            let both = [Half::Into, Half::From].map(|of| {
                let held = holdings(NodeNumber::SINGLE, &two.repository, &of.directory(&two.join)).unwrap();
                assert_eq!(held.call.call, two.join.into.call);
                held
            });
            assert_eq!(both[0], both[1]);
            let of: Vec<CallId> = both[0].copies().map(|(place, _)| place.of.call).collect();
            assert!(!of.is_empty() && of.iter().all(|call| *call == half.key(&two.join).call), "{of:?}");
        }
    }

    #[test]
    fn calls_that_are_one_are_held_as_one_with_the_numbers_of_that() {
        let two = two();
        let into = spool::joining::Half::Into.directory(&two.join);
        let disk = crate::recorder::Disk::new(two.directory.path());
        crate::recorder::note_join(
            &two.repository,
            NodeNumber::SINGLE,
            &two.join,
            |_| (),
            |_| Some(disk.clone()),
        )
        .unwrap();
        let held = holdings(NodeNumber::SINGLE, &two.repository, &into).unwrap();
        assert_eq!(held.call.call, two.join.into.call);
        let numbers: std::collections::BTreeSet<u16> = held.copies().map(|(_, copy)| copy.number).collect();
        assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
        let from = spool::joining::Half::From.directory(&two.join);
        assert_eq!(holdings(NodeNumber::SINGLE, &two.repository, &from).unwrap(), held);
        assert_eq!(held.directories.len(), 2);
    }
}
