//! Makes a load, and measures what becomes of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::node::Node;
use super::step::{Step, median_p99_worst};
use super::traffic::{Client, Kind, Protection, Senders, Sent};
use crate::cli::CliError;

/// Calls that are begun anew for a load that is reached from above, at least.
const RENEWED: usize = 20;
/// How long a call of the second kind is up: files are opened for new calls, and sealed of old ones, at once.
const STAYS: Duration = Duration::from_secs(1);
/// Not counted after calls were placed: caches, first parts.
const SETTLE: Duration = Duration::from_millis(500);
/// For what is still on its way when nothing more is sent.
const ARRIVE: Duration = Duration::from_millis(300);
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// For segments to be sealed.
const SEALED: Duration = Duration::from_secs(60);
/// Sleeps when nothing came and nothing is due.
const PAUSE: Duration = Duration::from_micros(100);
/// Looking through the calls costs time.
const HANG_UP_EACH: Duration = Duration::from_millis(10);

/// What it goes by.
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// What media are protected by.
    pub(super) protection: Option<Protection>,
    /// How long a load is measured.
    pub(super) length: Duration,
    /// New calls per second while their number rises.
    pub(super) set_up_rate: f64,
    /// Threads that send.
    pub(super) senders: usize,
}

/// A measurement of one callspool. Dropped, it hangs up what is left.
pub(super) struct Run<'a> {
    node: &'a Node,
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    senders: Senders,
    client: Client,
    /// Calls that are up and sent to, in the order in which they were answered.
    up: Vec<usize>,
    /// The first call that may not be over.
    oldest: usize,
    /// As of the end of the step before.
    last: (Figures, Sent),
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        node: &'a Node,
        plan: &'a Plan,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, CliError> {
        let no_sockets = |e| CliError::failed("cannot send", e, "check the limit of descriptors (ulimit -n)");
        let senders =
            Senders::start(node.local(), plan.senders, plan.protection.as_ref()).map_err(no_sockets)?;
        let client = Client::new(node.lines(plan.kind, plan.protection.clone())).map_err(no_sockets)?;
        let last = (node.figures(0)?, Sent::default());
        Ok(Self { node, plan, interrupted, senders, client, up: Vec::new(), oldest: 0, last })
    }

    /// Places one call and ends it: whether the callspool that is called is the one that is asked.
    pub(super) fn prove(&mut self) -> Result<(), CliError> {
        let port = self.senders.port(0);
        let number = self.client.invite(port);
        while self.client.is_calling() && !self.is_interrupted() {
            self.work_until(Instant::now() + HANG_UP_EACH, None);
        }
        self.client.answered();
        if let Some(why) = self.client.refusals.keys().next() {
            let todo = "see its log, and its trunks";
            return Err(CliError::failed(
                "nothing is measured",
                format!("the first call was not taken: {why}"),
                todo,
            ));
        }
        self.node.expect_one()?;
        self.client.hang_up(number);
        self.work_until(Instant::now() + SETTLE, None);
        Ok(())
    }

    /// So many calls at a time, with media.
    pub(super) fn calls(&mut self, load: usize) -> Result<Step, CliError> {
        let (first, resent) = (self.client.calls.len(), self.client.resent);
        self.client.refusals.clear();
        // Where none would be placed some are renewed: how calls begin belongs to each load.
        let renewed = if self.up.len() >= load { (load / 10).max(RENEWED).min(load) } else { 0 };
        self.lower(load - renewed)?;
        self.place(load.saturating_sub(self.up.len()))?;
        self.work_for(SETTLE)?;
        let (begin, sent) = (self.figures()?, self.senders.sent());
        self.work_for(self.plan.length)?;
        let (end, sent_until) = (self.figures()?, self.senders.sent());
        let mut step = self.quiet()?;
        let took = end.at.duration_since(begin.at).as_secs_f64();
        step.load = load;
        step.is_mixed = self.node.is_mixed();
        step.reached = self.up.len() as f64;
        step.packets_s = sent_until.packets.saturating_sub(sent.packets) as f64 / took;
        self.compare(&mut step, &begin, &end);
        self.set_ups(&mut step, first, resent);
        Ok(step)
    }

    /// So many new calls per second, each up for a second.
    pub(super) fn rate(&mut self, load: usize) -> Result<Step, CliError> {
        let (first, resent) = (self.client.calls.len(), self.client.resent);
        self.client.refusals.clear();
        let begin = self.figures()?;
        let began = Instant::now();
        let mut number = 0;
        while began.elapsed() < self.plan.length && !self.is_interrupted() {
            let due = Duration::from_secs_f64(f64::from(number) / load as f64);
            self.work_until(began + due, Some(STAYS));
            self.client.invite(self.senders.port(0));
            number += 1;
        }
        let took = began.elapsed().as_secs_f64();
        let end = self.figures()?;
        let until = Instant::now() + PATIENCE;
        while self.oldest < self.client.calls.len() && Instant::now() < until {
            self.work_until(Instant::now() + HANG_UP_EACH, Some(STAYS));
        }
        self.client.answered();
        // What is left to be sealed would stand in the figures of the next load.
        self.node.accounted(self.client.calls.len(), SEALED)?;
        let mut step = Step { load, reached: f64::from(number) / took, ..Step::default() };
        self.compare(&mut step, &begin, &end);
        self.set_ups(&mut step, first, resent);
        Ok(step)
    }

    /// Hangs up, waits until all is sealed: packets that were sent in all, and what the accounts of the segments hold,
    /// when they are told in time.
    pub(super) fn end(mut self) -> Result<(u64, Option<u64>), CliError> {
        self.senders.pause();
        std::thread::sleep(ARRIVE);
        let sent = self.senders.sent().packets;
        self.hang_up_all();
        let accounted = self.node.accounted(self.client.calls.len(), SEALED)?;
        Ok((sent, accounted))
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn figures(&self) -> Result<Figures, CliError> {
        self.node.figures(self.client.calls.len())
    }

    /// Begins so many calls, and sends to each as soon as it is answered.
    fn place(&mut self, calls: usize) -> Result<(), CliError> {
        let began = Instant::now();
        for number in 0..calls {
            if self.is_interrupted() {
                return Ok(());
            }
            self.work_until(began + Duration::from_secs_f64(number as f64 / self.plan.set_up_rate), None);
            self.take_answered()?;
            let port = self.senders.port(self.client.calls.len());
            self.client.invite(port);
        }
        // The client gives each up in time.
        while self.client.is_calling() && !self.is_interrupted() {
            self.work_until(Instant::now() + HANG_UP_EACH, None);
            self.take_answered()?;
        }
        self.take_answered()
    }

    /// Ends the calls that are too many, the newest first.
    fn lower(&mut self, load: usize) -> Result<(), CliError> {
        if self.up.len() <= load {
            return Ok(());
        }
        let gone: BTreeSet<usize> = self.up.split_off(load).into_iter().collect();
        self.senders.remove(&gone);
        // Packets that are under way belong to calls that are up.
        self.work_for(ARRIVE)?;
        for number in gone {
            self.client.hang_up(number);
            self.work_until(Instant::now() + Duration::from_millis(1), None);
        }
        self.work_for(SETTLE)
    }

    fn take_answered(&mut self) -> Result<(), CliError> {
        for number in self.client.answered() {
            let Some(call) = self.client.calls.get(number) else { continue };
            self.node.may_receive(&call.media)?;
            self.senders.add(number, &call.media);
            self.up.push(number);
        }
        Ok(())
    }

    /// Stops sending for a moment, so that all that was sent has come, and counts.
    fn quiet(&mut self) -> Result<Step, CliError> {
        self.senders.pause();
        self.work_until(Instant::now() + ARRIVE, None);
        let (now, sent) = (self.figures()?, self.senders.sent());
        self.senders.resume();
        if let Some(e) = self.senders.failure() {
            return Err(CliError::failed("cannot send media", e, "check the route and the firewall"));
        }
        let (before, sent_before) = std::mem::replace(&mut self.last, (now.clone(), sent.clone()));
        Ok(Step {
            sent: sent.since(&sent_before),
            received: now.received.saturating_sub(before.received),
            dropped: now.dropped.saturating_sub(before.dropped),
            kernel: now.kernel.saturating_sub(before.kernel),
            ..Step::default()
        })
    }

    /// What callspool needed between two moments.
    fn compare(&self, step: &mut Step, begin: &Figures, end: &Figures) {
        let took = end.at.duration_since(begin.at).as_secs_f64();
        step.cpu = (end.cpu_s - begin.cpu_s) / took;
        step.memory_mib = end.memory / f64::from(1 << 20);
        step.catalog_s = end.catalog_written.saturating_sub(begin.catalog_written) as f64 / took;
        step.catalog_waiting = end.catalog_queued;
        let delay = end.delay.as_ref().zip(begin.delay.as_ref()).map(|(end, begin)| end.since(begin));
        step.delay_ms = delay.and_then(|d| Some([d.quantile_ms(0.5)?, d.quantile_ms(0.99)?]));
    }

    /// How the calls from a number on began.
    fn set_ups(&self, step: &mut Step, first: usize, resent: u64) {
        let calls = self.client.calls.get(first..).unwrap_or_default();
        let mut times: Vec<f64> = calls.iter().filter_map(|c| c.setup_ms()).collect();
        step.invited = calls.len();
        step.failed = calls.len() - times.len();
        step.resent = self.client.resent - resent;
        step.refusals.clone_from(&self.client.refusals);
        step.setup_ms = median_p99_worst(&mut times);
        let mut refused: Vec<f64> = calls.iter().filter_map(|c| c.refusal_ms()).collect();
        step.refusal_ms = median_p99_worst(&mut refused);
    }

    fn work_for(&mut self, length: Duration) -> Result<(), CliError> {
        let until = Instant::now() + length;
        while Instant::now() < until && !self.is_interrupted() {
            self.work_until((Instant::now() + HANG_UP_EACH).min(until), None);
        }
        self.take_answered()
    }

    /// Takes answers until then, and ends calls that have been up for so long.
    fn work_until(&mut self, until: Instant, stays: Option<Duration>) {
        let mut looked = Instant::now();
        loop {
            let came = self.client.work();
            if let Some(stays) = stays
                && looked.elapsed() > HANG_UP_EACH
            {
                looked = Instant::now();
                self.oldest = self.client.oldest(self.oldest);
                self.client.hang_up_after(stays, self.oldest, usize::MAX);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if !came {
                std::thread::sleep(PAUSE.min(left));
            }
        }
    }

    fn hang_up_all(&mut self) {
        // A thousand in a second is what they get.
        let calls = u64::try_from(self.client.calls.len() - self.oldest).unwrap_or(0);
        let until = Instant::now() + PATIENCE + Duration::from_millis(calls);
        while self.oldest < self.client.calls.len() && Instant::now() < until {
            // Some at a time: thousands at once would be sent again, and told as a failure of nobody.
            self.client.hang_up_after(Duration::ZERO, self.oldest, 20);
            self.work_until(Instant::now() + HANG_UP_EACH, None);
            self.oldest = self.client.oldest(self.oldest);
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.senders.pause();
        self.hang_up_all();
    }
}
