//! The thread that keeps service addresses: it looks at links, hears the other nodes, asks how the proxy is, and has done
//! what the [machine](crate::machine) of each address wants.
//!
//! It waits for nobody: not for the thread [with the powers](crate::hands), not for a lock that somebody holds for long.
//! Nothing depends on a call of somebody else, so that a process whose other threads stand still advertises that it is
//! not well.

mod post;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::Mono;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::advert::Advert;
use crate::ears::{HOPS, PACKET_MAX};
use crate::hands::{Done, Hands, Job};
use crate::interface::{Changes, Interface};
use crate::machine::{Action, LIFETIME, Standing};
use crate::settings::Service;
use crate::view::{Happened, View};
use post::{BEGINS, BUSY, Post};

/// How soon it is noticed that the proxy is not well, or that it is to stop.
const ROUND: Duration = Duration::from_millis(100);
/// How often interfaces are looked at though the kernel said nothing: what it says may be lost.
const LOOK: Duration = Duration::from_secs(1);
/// Of what came to an address as many are read before others get their turn: ten nodes' worth of some seconds.
const PACKETS_A_ROUND: usize = 256;
/// How long the end waits until addresses are taken back; the kernel does it by itself soon after.
const FINISH: Duration = Duration::from_secs(1);

/// How the proxy of this node is, asked some ten times a second; with a reason where it is not well. It must answer at
/// once.
pub type Asked = Box<dyn FnMut() -> (Standing, Option<String>) + Send>;
/// Who is told what happens. It must not wait.
pub type Told = Box<dyn FnMut(Happened) + Send>;

/// Why addresses cannot be kept at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch interfaces: {0}")]
pub struct Trouble(#[from] io::Error);

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// No address is held here any more.
    Clean,
    /// The kernel may hold some for [`LIFETIME`].
    Late,
}

/// The running thread.
#[derive(Debug)]
pub struct Keeper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Ended>,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no descriptor or thread to be had.
    pub fn start(
        services: Vec<Service>,
        hands: Hands,
        asked: Asked,
        told: Told,
    ) -> Result<(Self, View), Trouble> {
        let (view, stop) = (View::default(), Arc::new(AtomicBool::new(false)));
        let moving: Vec<IpAddr> = services.iter().map(Service::ip).collect();
        let changes = Changes::watch().map_err(io::Error::from)?;
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        ready.add(&changes.0, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(io::Error::from)?;
        let work = Work {
            posts: services.into_iter().map(Post::new).collect(),
            moving,
            hands,
            changes,
            ready,
            looked: None,
            began: Instant::now(),
            buffer: vec![0; PACKET_MAX],
            asked,
            told,
            view: view.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("service-address".to_owned());
        let thread = thread.spawn(move || work.run())?;
        Ok((Self { stop, thread }, view))
    }

    /// Lets go of all, says so to the other nodes, and ends. It blocks for a second at most, beside a round.
    #[must_use]
    pub fn stop(self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(Ended::Late)
    }
}

struct Work {
    posts: Vec<Post>,
    /// All service addresses.
    moving: Vec<IpAddr>,
    hands: Hands,
    changes: Changes,
    ready: Epoll,
    looked: Option<Mono>,
    began: Instant,
    buffer: Vec<u8>,
    asked: Asked,
    told: Told,
    view: View,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) -> Ended {
        loop {
            let stops = self.stop.load(Ordering::Relaxed);
            let standing = if stops { (Standing::Out, None) } else { (self.asked)() };
            self.round(&standing);
            if stops {
                let is_done = self.hands.finish(FINISH);
                return if is_done { Ended::Clean } else { Ended::Late };
            }
            self.wait();
        }
    }

    fn now(&self) -> Mono {
        Mono::ZERO + self.began.elapsed()
    }

    /// Until something comes, or is due.
    fn wait(&self) {
        let now = self.now();
        let due = self.posts.iter().filter_map(|post| post.machine.next_timeout()).min();
        let time = due.map_or(ROUND, |at| at.since(now).min(ROUND));
        // The end of a millisecond, not its beginning.
        let ms = u16::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u16::MAX);
        let mut events = [EpollEvent::empty(); 8];
        // Whatever it says: a round looks at all.
        if self.ready.wait(&mut events, EpollTimeout::from(ms)).is_err() {
            std::thread::yield_now();
        }
    }

    fn round(&mut self, standing: &(Standing, Option<String>)) {
        while let Some((which, done)) = self.hands.done() {
            self.done(which, done);
        }
        let now = self.now();
        let is_late = self.looked.is_none_or(|at| now >= at + LOOK);
        if self.changes.drain() || is_late {
            self.looked = Some(now);
            self.look(now);
        }
        for which in 0..self.posts.len() {
            self.hear(which);
            self.stand(which, standing);
            self.act(which);
        }
        self.view.show(self.posts.iter().map(Post::shown).collect());
    }

    fn done(&mut self, which: usize, done: Done) {
        let now = self.now();
        let Some(post) = self.posts.get_mut(which) else { return };
        match done {
            Done::Begun(Ok(ears)) => {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, 1);
                match self.ready.add(ears.socket.as_fd(), event) {
                    Ok(()) => post.ears = Some(ears),
                    Err(e) => post.fails(now, format!("cannot hear other nodes: {e}")),
                }
            }
            Done::Held(Ok(())) => post.owed = None,
            Done::LetGo(Ok(())) => {}
            Done::Begun(Err(e)) => post.fails(now, format!("cannot begin: {e}")),
            Done::Held(Err(e)) => post.fails(now, format!("the kernel does not take the address: {e}")),
            Done::LetGo(Err(e)) => post.fails(now, format!("the kernel does not let go of the address: {e}")),
        }
    }

    /// Looks at interfaces, and begins where it can be begun.
    fn look(&mut self, now: Mono) {
        for (which, post) in self.posts.iter_mut().enumerate() {
            match Interface::look(&post.service.interface) {
                Ok(found) => post.interface = found,
                Err(e) => {
                    post.fails(now, format!("cannot look at {}: {e}", post.service.interface));
                    continue;
                }
            }
            let index = post.interface.as_ref().map(|interface| interface.index);
            // All of it is begun anew. Until then others can be told that it is not held here.
            let is_over = post.trouble.as_ref().is_some_and(|(_, retry)| now >= *retry);
            if is_over || post.begun.is_some() && post.begun != index {
                post.trouble = None;
                post.begun = None;
                post.ears = None;
            }
            if let (Some(index), None, None) = (index, post.begun, &post.trouble) {
                post.begun = Some(index);
                let job = Job::Begin { interface: post.service.interface.clone(), index };
                if !self.hands.order(which, post.service.address, job) {
                    post.fails(now, BUSY.to_owned());
                }
            }
        }
    }

    /// Reads what came, and has the machine hear what is for it.
    fn hear(&mut self, which: usize) {
        let now = self.now();
        let moving = &self.moving;
        let Some(post) = self.posts.get_mut(which) else { return };
        let own = post.own(moving);
        let Some(ears) = &post.ears else { return };
        for _ in 0..PACKETS_A_ROUND {
            let packet = match ears.receive(&mut self.buffer) {
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    post.counts.refused += 1;
                    continue;
                }
                Err(_) => return,
            };
            let peers = &post.service.peers;
            let is_near = packet.hops == HOPS && (peers.is_empty() || peers.contains(&packet.from));
            let octets = self.buffer.get(packet.octets).unwrap_or_default();
            let advert = Advert::parse(octets, packet.from, packet.to);
            match advert.ok().filter(|_| is_near && Some(packet.from) != own) {
                Some(advert)
                    if advert.router == post.service.router
                        && advert.addresses.contains(&post.service.ip()) =>
                {
                    post.counts.received += 1;
                    post.machine.receive(now, packet.from, advert.priority, advert.interval);
                }
                _ => post.counts.refused += 1,
            }
        }
    }

    /// Tells the machine how things are, and others when that changes.
    fn stand(&mut self, which: usize, (standing, why): &(Standing, Option<String>)) {
        let now = self.now();
        let moving = &self.moving;
        let Some(post) = self.posts.get_mut(which) else { return };
        if post.owed.is_some_and(|since| now >= since + LIFETIME) {
            post.fails(now, BUSY.to_owned());
        }
        let own = post.own(moving);
        let (standing, why) = match post.obstacle(own) {
            Some(obstacle) => (Standing::Out, Some(obstacle)),
            None => (*standing, why.clone()),
        };
        if post.unwell != why {
            let name = || post.service.name.clone();
            match &why {
                // Of a moment nobody is told.
                Some(why) if why == BEGINS => {}
                Some(why) => (self.told)(Happened::Unwell { name: name(), why: why.clone() }),
                None if post.unwell.as_deref() == Some(BEGINS) => {}
                None => (self.told)(Happened::Well { name: name() }),
            }
            post.unwell = why;
        }
        post.machine.stand(now, standing, own.unwrap_or(post.service.ip()));
        if post.machine.next_timeout().is_some_and(|at| now >= at) {
            post.machine.handle_timeout(now);
        }
    }

    /// Has done what the machine wants.
    fn act(&mut self, which: usize) {
        let now = self.now();
        let Some(post) = self.posts.get_mut(which) else { return };
        let index = post.interface.as_ref().map_or(0, |interface| interface.index);
        let name = post.service.name.clone();
        while let Some(action) = post.machine.poll_action() {
            let job = match action {
                Action::Take { from } => {
                    post.counts.taken += 1;
                    (self.told)(Happened::Taken { name: name.clone(), from });
                    post.owed = post.owed.or(Some(now));
                    Some(Job::Hold { index })
                }
                Action::Renew => {
                    post.owed = post.owed.or(Some(now));
                    Some(Job::Hold { index })
                }
                Action::LetGo { to } => {
                    post.counts.let_go += 1;
                    (self.told)(Happened::LetGo { name: name.clone(), to, why: post.unwell.clone() });
                    post.owed = None;
                    Some(Job::LetGo { index })
                }
                Action::Announce => post
                    .interface
                    .as_ref()
                    .and_then(|interface| Some(Job::Announce { link: interface.link?, mac: interface.mac? })),
                Action::Advertise(priority) => {
                    post.advertise(priority, &self.moving);
                    None
                }
            };
            // A renewal that finds no room is owed, and noticed by that.
            if let Some(job) = job {
                let _ = self.hands.order(which, post.service.address, job);
            }
        }
    }
}
