//! The alarms of this process: a thread that lets time pass for them, watches the node, and clears what an earlier
//! process raised.
//!
//! Alarms are decided by [`model::alarm::Alarms`], inside the [`Teller`], where they are told. Nothing here is
//! waited for by anybody.

mod judge;
mod sockets;
mod told;
mod watch;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use model::{ChangeKind, NodeNumber, TenantId, WallTime};
use store::{AlarmQuery, Catalog, LIST_MAX};

use crate::catalog::CatalogLink;
use crate::cli::CliError;
use crate::clock::{mono, wall};
use crate::config::Config;
use crate::recorder::Teller;
pub(crate) use sockets::OurSockets;
pub(crate) use told::Told;
pub(crate) use watch::{NodeWatch, RecorderWatch};

/// How often it is looked at least: alarms are told to people, who do not notice a second.
const LOOK: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct AlarmClock {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl AlarmClock {
    /// Starts the thread, and has alarms of an earlier process cleared as soon as the catalog answers.
    pub(crate) fn start(
        config: &Config,
        catalog: &CatalogLink,
        teller: &Teller,
        watch: NodeWatch,
    ) -> Result<Self, CliError> {
        let (stop, stopped) = bounded(1);
        let to_tick = teller.clone();
        let thread = std::thread::Builder::new().name("alarms".to_owned());
        let thread = thread.spawn(move || run(&to_tick, watch, &stopped)).map_err(|e| {
            CliError::failed("cannot watch for alarms", e, "check the limit of threads (ulimit -u)")
        })?;
        let (reader, teller) = (Arc::clone(&catalog.reader), teller.clone());
        let (tenant, node, started) = (config.recording.tenant.clone(), config.node.number, wall());
        tokio::spawn(async move {
            while !clear_former(&reader, &teller, &tenant, node, started).await {
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { stop, thread })
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the alarms did not end as it should");
        }
    }
}

fn run(teller: &Teller, mut watch: NodeWatch, stopped: &Receiver<()>) {
    crate::priority::step_back();
    let mut looked = mono();
    loop {
        // A timer of an alarm may be due between two looks.
        if mono() >= looked + LOOK {
            looked = mono();
            watch.look(teller);
        }
        let wait = teller.tick().map_or(LOOK, |at| at.since(mono()).min(LOOK));
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Conditions that a process before this one raised and did not clear are over with it; what is still the case is
/// raised anew. False: the catalog does not answer yet.
async fn clear_former(
    catalog: &Catalog,
    teller: &Teller,
    tenant: &TenantId,
    node: NodeNumber,
    started: WallTime,
) -> bool {
    let query =
        AlarmQuery { tenant: tenant.clone(), active: true, limit: Some(LIST_MAX), ..AlarmQuery::default() };
    let Ok(rows) = catalog.alarms(&query).await else { return false };
    let is_full = rows.len() >= LIST_MAX;
    let former = rows.into_iter().filter(|r| r.node == node && r.alarm.raised < started);
    let mut cleared = 0;
    for mut row in former {
        cleared += 1;
        row.alarm.cleared = Some(wall());
        teller.tell(row.tenant, ChangeKind::Alarm(Box::new(row.alarm)));
    }
    // A page at a time; the next one when these are written.
    !(is_full && cleared > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::AlarmKind;

    /// Rows of the tables of kinds: name and severity.
    fn documented() -> Vec<(String, String)> {
        let rows = include_str!("../../../../docs/alarms.md").lines().filter(|l| l.starts_with("| `"));
        let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        cells
            .filter(|cells| !cells[1].contains(' '))
            .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned()))
            .collect()
    }

    #[test]
    fn the_documentation_lists_each_kind_once_with_its_severity_and_no_other() {
        let listed = documented();
        let kinds: BTreeSet<(String, String)> =
            AlarmKind::all().map(|k| (k.name().to_owned(), k.severity().name().to_owned())).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), kinds);
        assert_eq!(listed.len(), kinds.len(), "a kind is listed twice");
    }
}
