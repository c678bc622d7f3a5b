//! The task of one webhook: takes an event, sends it until it is done with, remembers that.

use std::sync::Arc;
use std::time::Duration;

use model::alarm::About;
use model::{Condition, EventId, Subject, TenantId};
use store::Event;
use tokio::sync::watch;

use super::course::{Course, Next};
use super::feed::{Feed, Origin, Sources};
use super::keeper::Keeper;
use super::place::{Place, PlaceFile};
use super::post::Poster;
use super::tally::Tally;
use super::target::Target;
use crate::clock::{mono, wall};
use crate::recorder::Teller;

/// How often it is looked for events when there were none: what a person takes for at once.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is remembered how far it has come, while events go: what is told again after a crash.
const REMEMBER: Duration = Duration::from_secs(1);
/// The same when only events passed that nobody wants: what is read again after a crash.
const REMEMBER_IDLE: Duration = Duration::from_secs(60);
/// As long as the outbox keeps events; whoever comes back later has missed some.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What a task begins with.
pub(super) struct Begin {
    pub(super) target: Arc<Target>,
    pub(super) sources: Sources,
    pub(super) teller: Teller,
    pub(super) tenant: TenantId,
    pub(super) file: PlaceFile,
    pub(super) tally: Arc<Tally>,
    /// Where it begins when it is not known how far it has come.
    pub(super) newest: EventId,
    pub(super) stop: watch::Receiver<bool>,
}

/// See the module.
pub(super) struct Task {
    target: Arc<Target>,
    feed: Feed,
    course: Course,
    poster: Poster,
    keeper: Keeper,
    teller: Teller,
    about: About,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
}

/// Whether it goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Stops,
}

impl Task {
    /// Finds out how far it had come.
    pub(super) async fn begin(begin: Begin) -> Self {
        let Begin { target, sources, teller, tenant, file, tally, newest, stop } = begin;
        let (reading, name) = (file.clone(), target.name.clone());
        let place = tokio::task::spawn_blocking(move || place(&reading, &name, newest)).await;
        let place = place.unwrap_or_else(|_| Place::begin(newest));
        Self {
            course: Course::new(target.config.alarm_after),
            feed: Feed::new(sources, place),
            keeper: Keeper::new(file, &target.name),
            target,
            poster: Poster::default(),
            teller,
            about: About { tenant, ..About::default() },
            tally,
            stop,
        }
    }

    /// Goes on until it is to stop.
    pub(super) async fn run(mut self) {
        self.keeper.keep(&self.feed.place, Duration::ZERO).await;
        while !*self.stop.borrow() {
            let goes = match self.feed.next(&self.target).await {
                Some((event, origin)) => self.deliver(&event, origin).await,
                None => {
                    self.poster.rest();
                    self.tally.waits(None);
                    self.keeper.keep(&self.feed.place, REMEMBER_IDLE).await;
                    self.wait(LOOK).await
                }
            };
            if goes == Goes::Stops {
                break;
            }
        }
        self.keeper.leave(&self.feed.place).await;
    }

    /// Sends an event until it is taken or given up.
    async fn deliver(&mut self, event: &Event, origin: Origin) -> Goes {
        self.tally.waits(Some(event.at));
        loop {
            let outcome = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return Goes::Stops,
                outcome = self.poster.post(&self.target, event, wall()) => outcome,
            };
            tracing::debug!(webhook = %self.target.name, event = %event.id, ?outcome);
            self.tally.answered(&outcome);
            let next = self.course.handle(mono(), outcome, chance());
            self.tally.decided(next);
            match next {
                Next::Advance => break,
                Next::GiveUp => {
                    tracing::warn!(webhook = %self.target.name, event = %event.id, kind = %event.kind,
                        "an event is given up: its receiver refuses it");
                    break;
                }
                Next::Again(wait) => {
                    self.keeper.keep(&self.feed.place, REMEMBER).await;
                    if self.wait(wait).await == Goes::Stops {
                        return Goes::Stops;
                    }
                }
            }
        }
        self.feed.done(event, origin);
        self.look();
        self.keeper.keep(&self.feed.place, REMEMBER).await;
        Goes::On
    }

    /// Waits, and tells meanwhile that it lasts too long.
    async fn wait(&mut self, wait: Duration) -> Goes {
        let until = mono() + wait;
        loop {
            self.look();
            let now = mono();
            let next = self.course.worse_at(now).map_or(until, |at| at.min(until));
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return Goes::Stops,
                () = tokio::time::sleep(next.since(now)) => {}
            }
            if mono() >= until {
                return Goes::On;
            }
        }
    }

    /// Says how the receiver looks, for the alarm.
    fn look(&self) {
        let subject = Subject::Webhook(self.target.name.clone());
        self.teller.observe(Condition::WebhookFailing, &subject, &self.about, self.course.seen(mono()));
    }
}

/// How far a webhook had come by its file; `newest` when that says nothing.
fn place(file: &PlaceFile, name: &str, newest: EventId) -> Place {
    let place = match file.read() {
        Ok(Some(place)) => place,
        Ok(None) => return Place::begin(newest),
        Err(e) => {
            let aside = file.set_aside().map_or_else(|e| e.to_string(), |path| path.display().to_string());
            tracing::warn!(webhook = %name, path = %file.path().display(),
                "how far it had come cannot be read: {e}; it begins with what happens from now on, and what was not \
                 told yet is not told; set aside: {aside}");
            return Place::begin(newest);
        }
    };
    if place.own() > newest {
        tracing::warn!(webhook = %name, path = %file.path().display(),
            "it had come to an event of the future: it begins with what happens from now on");
        return Place::begin(newest);
    }
    if wall().since(place.own().made_at()) > KEPT {
        tracing::warn!(webhook = %name,
            "it was told something more than 30 days ago: what happened until 30 days ago is not kept");
    }
    place
}

/// Any number, for waits that differ. Without random numbers they do not.
fn chance() -> u32 {
    let mut octets = [0; 4];
    match getrandom::fill(&mut octets) {
        Ok(()) => u32::from_ne_bytes(octets),
        Err(_) => 0,
    }
}
