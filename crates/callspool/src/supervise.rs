//! What a supervisor is told of this process: that it is ready, reloads, stops, what it does, and that it lives.
//!
//! The protocol is that of systemd's `sd_notify(3)`; without a supervisor nothing is sent. One thread sends all of
//! it, so that a supervisor that does not read holds up nobody. The watchdog is fed only while every thread that
//! calls depend on goes round ([`crate::pulse`]): then a hang ends like a crash, with a restart and a repair.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use sd_notify::NotifyState;

use crate::clock::mono;
use crate::pulse::Pulses;

/// How often is looked whether all go round, when no watchdog wants it more often.
const LOOK: Duration = Duration::from_secs(2);
/// How long a thread may stand still before it is told of, when no watchdog says. The longest that one may wait for
/// another is a second.
const STILL_MAX: Duration = Duration::from_secs(10);
/// By how much each look during a stop puts off the moment at which the supervisor kills. Every part of a stop has an
/// end of its own; none is longer than this without a look.
const STOP_EXTENSION: Duration = Duration::from_secs(30);

/// What the process comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It takes calls, again after a reload.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It takes no new calls any more, and will end.
    Stopping,
}

/// The way to the thread that tells. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Supervisor {
    phases: Sender<Phase>,
    status: Arc<Mutex<String>>,
}

impl Supervisor {
    /// Starts the thread.
    pub(crate) fn start(pulses: Pulses) -> io::Result<Self> {
        let (phases, phases_out) = unbounded();
        let status = Arc::new(Mutex::new(String::new()));
        let watchdog = sd_notify::watchdog_enabled();
        let teller = Teller {
            pulses,
            phases: phases_out,
            status: Arc::clone(&status),
            // A supervisor waits as long as the watchdog says from one feeding to the next: several looks in that time.
            look: watchdog.map_or(LOOK, |w| (w / 4).min(LOOK)),
            still_max: watchdog.map_or(STILL_MAX, |w| (w / 2).min(STILL_MAX)),
            stopping: false,
        };
        std::thread::Builder::new().name("supervise".to_owned()).spawn(move || teller.run())?;
        Ok(Self { phases, status })
    }

    /// Tells what the process has come to.
    pub(crate) fn tell(&self, phase: Phase) {
        // The thread ends with the last of these only.
        let _ = self.phases.send(phase);
    }

    /// What the process does, in a line: shown by `systemctl status` with the next look.
    pub(crate) fn status(&self, line: String) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    /// That line.
    pub(crate) fn line(&self) -> String {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Teller {
    pulses: Pulses,
    phases: Receiver<Phase>,
    status: Arc<Mutex<String>>,
    look: Duration,
    still_max: Duration,
    stopping: bool,
}

impl Teller {
    fn run(mut self) {
        let (mut told, mut shown) = (BTreeSet::new(), String::new());
        loop {
            self.watch(&mut told);
            self.show(&mut shown);
            match self.phases.recv_timeout(self.look) {
                Ok(phase) => self.phase(phase),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn phase(&mut self, phase: Phase) {
        match phase {
            Phase::Ready => notify(&[NotifyState::Ready]),
            Phase::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => notify(&[NotifyState::Reloading, now]),
                Err(e) => tracing::debug!("a reload is not told: {e}"),
            },
            Phase::Stopping => {
                self.stopping = true;
                notify(&[NotifyState::Stopping]);
            }
        }
    }

    /// Feeds the watchdog, or says why it is not fed, once for each thread.
    fn watch(&self, told: &mut BTreeSet<String>) {
        let still = self.pulses.still(mono(), self.still_max);
        told.retain(|name| still.iter().any(|(n, _)| n == name));
        for (name, since) in &still {
            if told.insert(name.clone()) {
                tracing::error!(
                    "thread {name} has stood still for {} s: calls may not be recorded; a supervisor with a watchdog \
                     restarts callspool now",
                    since.as_secs()
                );
            }
        }
        if still.is_empty() {
            notify(&[NotifyState::Watchdog]);
            if self.stopping {
                let more = u32::try_from(STOP_EXTENSION.as_micros()).unwrap_or(u32::MAX);
                notify(&[NotifyState::ExtendTimeoutUsec(more)]);
            }
        }
    }

    fn show(&self, shown: &mut String) {
        let line = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if line != *shown {
            notify(&[NotifyState::Status(&line)]);
            *shown = line;
        }
    }
}

fn notify(what: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(what) {
        tracing::debug!("the supervisor cannot be told: {e}");
    }
}
