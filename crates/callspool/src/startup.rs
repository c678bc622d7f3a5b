//! What is done before the first call is taken: segments that a crash left open are repaired, and calls that it
//! cut off are concluded, so that nothing is live that does not live.

use std::collections::BTreeSet;
use std::io;

use model::{AlarmKind, Conclusion, CopyOf, NodeNumber, RecordingState, SegmentId, TenantId};
use spool::layout::{self, ManifestPath};
use spool::{gather, log};
use store::CallQuery;

use crate::catalog::{CatalogLink, tell_call};
use crate::clock::now;
use crate::config::Config;
use crate::recorder::{Disk, Teller};
use crate::repository::Repository;

/// Repairs the repository and concludes what was cut off.
pub(crate) async fn recover(
    config: &Config,
    repository: &Repository,
    catalog: &CatalogLink,
    teller: &Teller,
) {
    let (tenant, node) = (&config.recording.tenant, config.node.number);
    let mut calls = unfinished(catalog, tenant).await;
    let disk = Disk::new(repository.root());
    match repository.live_markers() {
        Err(e) => tracing::error!("the markers of live segments cannot be read: {e}; nothing is repaired"),
        Ok(markers) => {
            for (segment, at) in markers {
                match at {
                    Ok(at) => {
                        repair(repository, &disk, teller, node, segment, &at);
                        calls.insert(at.directory);
                    }
                    Err(e) => remove_torn_marker(&disk, segment, &e),
                }
            }
        }
    }
    for directory in calls {
        if let Err(e) = conclude(repository, &disk, teller, node, &directory) {
            tracing::error!("{directory} cannot be concluded: {e}; the next start tries again");
        }
    }
}

/// The calls that the catalogue does not know as gathered. None when it is away: a reindex follows then.
async fn unfinished(catalog: &CatalogLink, tenant: &TenantId) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for state in RecordingState::ALL.into_iter().filter(|s| s.is_segment()) {
        let mut query = CallQuery {
            tenant: tenant.clone(),
            state: Some(state),
            limit: Some(store::LIST_MAX),
            ..CallQuery::default()
        };
        while let Ok(page) = catalog.reader.calls(&query).await {
            let Some(last) = page.last() else { break };
            query.after = Some(last.cursor());
            calls.extend(page.iter().map(|c| layout::call_directory(&c.tenant, c.started, c.id)));
        }
    }
    calls
}

fn repair(
    repository: &Repository,
    disk: &Disk,
    teller: &Teller,
    node: NodeNumber,
    segment: SegmentId,
    at: &ManifestPath,
) {
    let repaired = match spool::repair::repair(now(), segment, at, node, repository) {
        Ok(repaired) => repaired,
        Err(e) => {
            return tracing::error!(%segment, "a segment cannot be repaired: {e}; the next start tries again");
        }
    };
    if let Err(e) = disk.apply_all(repaired.ops) {
        return tracing::error!(%segment, "a repair could not be written: {e}; the next start tries again");
    }
    let Some(record) = repaired.record else { return };
    let text = format!("a segment that was left open was closed: {}", repaired.what.join(", "));
    teller.segment_with_copy(&record, &repaired.directory);
    teller.alarm(&record.tenant, AlarmKind::Repaired, Some(record.call), Some(segment), text);
}

fn remove_torn_marker(disk: &Disk, segment: SegmentId, why: &str) {
    tracing::warn!(%segment, "a marker of a segment that never began is removed: {why}");
    let remove = spool::FileOp::Remove { path: layout::marker_path(segment) };
    if let Err(e) = disk.apply_all(vec![remove]) {
        tracing::error!(%segment, "the marker cannot be removed: {e}");
    }
}

/// Concludes a call none of whose segments is live any more: its dialogs died with the process that held them.
fn conclude(
    repository: &Repository,
    disk: &Disk,
    teller: &Teller,
    node: NodeNumber,
    directory: &str,
) -> io::Result<()> {
    let manifests = match repository.manifests(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        manifests => manifests?,
    };
    let manifests: Vec<_> = manifests.into_iter().filter_map(|m| m.manifest.ok()).collect();
    let sealed = manifests.iter().all(|m| m.sealed);
    let records: Vec<_> = manifests.into_iter().map(|m| m.record).collect();
    let Some(first) = records.first() else { return Ok(()) };
    let (lines, _) = repository.log(directory)?;
    let concluded = log::state_of(&lines, CopyOf::Call(first.call)).is_some_and(RecordingState::is_gathered);
    // Nothing more will come of it: the last segment there is makes the total.
    let last = records.iter().map(|s| s.number).max();
    if let (true, false, Some(state)) = (sealed, concluded, gather::outcome(&records, last).state()) {
        let conclusion = Conclusion {
            call: first.call,
            call_started: records.iter().map(|s| s.started).min().unwrap_or(first.started),
            tenant: first.tenant.clone(),
            total: last.unwrap_or(0),
            from: None,
            state,
        };
        disk.apply_all(gather::conclude(now(), node, &conclusion))?;
    }
    tell_call(repository, teller, directory);
    Ok(())
}
