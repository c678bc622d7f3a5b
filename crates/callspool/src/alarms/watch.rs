//! What is watched of the node as a whole: figures that are there anyway, looked at each second, and the kernel's
//! tables, which cost more, each ten.

use std::time::Duration;

use model::alarm::{About, Seen};
use model::{Condition, Mono, Subject, TenantId};
use store::Handle;
use tokio::sync::watch::Receiver;

use super::judge;
use super::sockets::OurSockets;
use crate::certificates::Renewables;
use crate::clock::{mono, wall};
use crate::config::Config;
use crate::front::Load;
use crate::recorder::{Figures, Teller};

/// Between two looks at what is slow to read, or counted over a while.
const SLOW_LOOK: Duration = Duration::from_secs(10);

/// Of a node that records.
pub(crate) struct RecorderWatch {
    pub(crate) figures: Figures,
    pub(crate) sockets: OurSockets,
}

/// Observes; what becomes of it the teller knows.
pub(crate) struct NodeWatch {
    tenant: TenantId,
    catalog: Handle,
    journal_max: u64,
    certificates: Renewables,
    recording: Option<RecorderWatch>,
    /// Of a node that takes calls.
    load: Option<Receiver<Load>>,
    slow_look: Mono,
    /// Refusals as of the last slow look.
    refused: u64,
    /// Whether it was told that the kernel's tables cannot be read.
    is_blind: bool,
}

impl NodeWatch {
    pub(crate) fn new(
        config: &Config,
        catalog: &Handle,
        certificates: Renewables,
        recording: Option<RecorderWatch>,
        load: Option<Receiver<Load>>,
    ) -> Self {
        Self {
            tenant: config.recording.tenant.clone(),
            catalog: catalog.clone(),
            journal_max: config.catalog.journal_max.octets() as u64,
            certificates,
            recording,
            load,
            slow_look: mono(),
            refused: 0,
            is_blind: false,
        }
    }

    /// Looks at all of it.
    pub(super) fn look(&mut self, teller: &Teller) {
        let see = |condition, seen| teller.observe_node(condition, &self.tenant, seen);
        let status = self.catalog.status();
        see(Condition::JournalGrowing, judge::journal(status.journal_bytes, self.journal_max));
        let certificates = self.certificates.iter();
        let files = certificates.clone().map(|one| judge::certificate_files(one.what(), one.unusable()));
        see(Condition::CertificateUnusable, judge::worst(files));
        let valid =
            certificates.filter_map(|one| Some(judge::certificate(one.what(), one.valid_for(wall())?)));
        see(Condition::Certificate, judge::worst(valid));
        if let Some(load) = self.load.as_ref().map(|load| *load.borrow()) {
            see(Condition::CallLimit, judge::call_limit(load.calls as u64, load.calls_max as u64));
        }
        if let Some(recording) = &self.recording {
            let (taken, max) = recording.figures.descriptors();
            see(Condition::Descriptors, judge::descriptors(taken, max));
            let about = About { tenant: self.tenant.clone(), ..About::default() };
            for waiting in recording.figures.backlogs() {
                let seen = judge::backlog(waiting.octets as u64, waiting.octets_max as u64);
                teller.observe(Condition::MediaBacklog, &Subject::Volume(waiting.volume), &about, seen);
            }
        }
        if mono() >= self.slow_look {
            self.slow_look = mono() + SLOW_LOOK;
            self.look_slowly(teller);
        }
    }

    fn look_slowly(&mut self, teller: &Teller) {
        let see = |condition, seen: Seen| teller.observe_node(condition, &self.tenant, seen);
        if let Some(load) = self.load.as_ref().map(|load| *load.borrow()) {
            let refused = load.refused.saturating_sub(self.refused);
            self.refused = load.refused;
            // Whoever let no new calls in wants them refused.
            let seen = if load.taking { judge::refusals(refused, SLOW_LOOK) } else { Seen::Good };
            see(Condition::Refusals, seen);
        }
        let Some(recording) = &mut self.recording else { return };
        match recording.sockets.look() {
            Ok(found) => {
                self.is_blind = false;
                see(Condition::Ports, judge::ports(found.pairs.0, found.pairs.1));
                see(Condition::ReceiveDrops, judge::receive_drops(found.dropped));
            }
            Err(e) if !self.is_blind => {
                self.is_blind = true;
                tracing::warn!(
                    "the kernel's table of UDP sockets cannot be read: {e}; no alarm tells of ports and drops"
                );
            }
            Err(_) => {}
        }
    }
}
