//! How things go wrong, and become well again.

use super::{Process, World};
use crate::core::{Event, FromProxy, Input, Presence};
use crate::network::{GIVEN_UP, Toward};
use crate::scenario::{Fault, HEALED, MS, S, Way, Who};
use crate::server::CAPACITY;

/// How long a process that is to stop lets others take over.
const HAND_OVER: u64 = 3_500 * MS;

impl World {
    pub(super) fn begin_fault(&mut self, fault: Fault) {
        self.core.say(format_args!("FAULT {fault:?}"));
        *self.core.truth.faults.entry(fault.kind()).or_default() += 1;
        let at = self.core.at;
        let over = |lasts: u64| (at + lasts).min(HEALED - 1);
        match fault {
            Fault::Crash(who, away) if self.is_alive(who) => {
                self.end_process(who);
                self.core.schedule(over(away), Event::Start(who));
            }
            Fault::Power(who, away) if self.is_alive(who) => {
                self.lose_power(who);
                self.core.schedule(over(away), Event::Start(who));
            }
            Fault::Crash(..) | Fault::Power(..) => {}
            Fault::Hang(who, _) => self.process(who).hangs = true,
            Fault::Cut(proxy, server, way, lasts) => self.cut(proxy, server, way, over(lasts)),
            Fault::Slow(proxy, server, lasts) => self.core.network.link(proxy, server).slow(over(lasts)),
            Fault::Apart(a, b, lasts) => self.part(a, b, over(lasts)),
            Fault::Deaf(server, _) => _ = self.core.network.deaf.insert(server),
            Fault::DiskErrors(server, _) => self.servers[server].disk.is_failing = true,
            Fault::DiskFull(server, _) => {
                let disk = &mut self.servers[server].disk.disk;
                disk.capacity = disk.used() + self.core.rng.below(4_000);
            }
            Fault::DiskSlow(server, _) => self.servers[server].disk.is_slow = true,
            Fault::Clock(who, by_ms) => {
                let process = self.process(who);
                process.skew = process.skew.saturating_add(by_ms.saturating_mul(1_000_000));
            }
            Fault::Drain(server, _) => self.servers[server].is_drained = true,
            Fault::Rolling(each) => self.roll(each),
        }
        if let Fault::Hang(_, lasts)
        | Fault::Deaf(_, lasts)
        | Fault::DiskErrors(_, lasts)
        | Fault::DiskFull(_, lasts)
        | Fault::DiskSlow(_, lasts)
        | Fault::Drain(_, lasts) = fault
        {
            self.core.schedule(over(lasts), Event::Over(fault));
        }
    }

    pub(super) fn end_fault(&mut self, fault: Fault) {
        self.core.say(format_args!("OVER {fault:?}"));
        match fault {
            Fault::Hang(who, _) => self.go_on(who),
            Fault::Deaf(server, _) => _ = self.core.network.deaf.remove(&server),
            Fault::DiskErrors(server, _) => self.servers[server].disk.is_failing = false,
            Fault::DiskFull(server, _) => self.servers[server].disk.disk.capacity = CAPACITY,
            Fault::DiskSlow(server, _) => self.servers[server].disk.is_slow = false,
            Fault::Drain(server, _) => self.servers[server].is_drained = false,
            Fault::Apart(a, b, _) => self.bring_together(a, b),
            _ => {}
        }
    }

    fn bring_together(&mut self, a: usize, b: usize) {
        if self.core.network.join(a, b) {
            self.meet(a, b);
        }
    }

    /// Everything is well from now on, and everybody is there.
    pub(super) fn heal(&mut self) {
        self.core.say(format_args!("ALL IS WELL"));
        let at = self.core.at;
        self.core.network.heal(at);
        for server in 0..self.servers.len() {
            let here = &mut self.servers[server];
            (here.disk.is_failing, here.disk.is_slow, here.is_drained) = (false, false, false);
            here.disk.disk.capacity = CAPACITY;
            for other in 0..server {
                self.bring_together(server, other);
            }
        }
        let proxies = (0..self.proxies.len()).map(Who::Proxy);
        for who in proxies.chain((0..self.servers.len()).map(Who::Server)) {
            self.go_on(who);
            self.start(who);
        }
    }

    /// A process that stood still goes on: what came meanwhile is there, its timers are late.
    fn go_on(&mut self, who: Who) {
        let process = self.process(who);
        if !std::mem::replace(&mut process.hangs, false) {
            return;
        }
        let unread = std::mem::take(&mut process.unread);
        let Some(run) = self.core.run(who) else { return };
        for input in unread {
            self.give(who, run, input);
        }
    }

    /// A process ends; the kernel closes what it had open.
    pub(super) fn end_process(&mut self, who: Who) {
        self.vanish(who);
        if let Who::Proxy(index) = who {
            self.core.network.closed.insert(index);
        }
        for (proxy, server) in self.core.network.up() {
            let at = self.core.at;
            let link = self.core.network.link(proxy, server);
            let number = link.number;
            match who {
                Who::Proxy(index) if index == proxy => {
                    link.is_up = false;
                    let at = link.arrives(at, Toward::Server, &mut self.core.rng);
                    let closed = Input::Came(proxy, number, FromProxy::Closed);
                    self.core.tell_at(at, Who::Server(server), closed);
                }
                Who::Server(index) if index == server => {
                    link.is_up = false;
                    let at = link.arrives(at, Toward::Proxy, &mut self.core.rng);
                    self.lose_link(proxy, server, number, at);
                }
                Who::Proxy(_) | Who::Server(_) => {}
            }
        }
        self.miss(who, 50 * MS);
    }

    /// A machine loses its power: nobody says so, and its disk has lost what was not synced.
    fn lose_power(&mut self, who: Who) {
        self.vanish(who);
        if let Who::Server(index) = who {
            self.core.truth.powerless.extend(self.servers[index].recorder.at_risk());
            let rng = &mut self.core.rng;
            self.servers[index].disk.disk.lose_power(&mut |n| rng.below(n));
            let held = self.core.truth.sealed.values().map(|(key, _)| Self::directory(key));
            self.core.copies_at_risk.extend(held);
        }
        for (proxy, server) in self.core.network.up() {
            let at = self.core.at + GIVEN_UP;
            let link = self.core.network.link(proxy, server);
            if who == Who::Proxy(proxy) {
                link.is_up = false;
                let closed = Input::Came(proxy, link.number, FromProxy::Closed);
                self.core.tell_at(at, Who::Server(server), closed);
            }
            // That of a record server looks as before, until its proxy gives it up.
        }
        self.miss(who, 3 * S);
    }

    fn vanish(&mut self, who: Who) {
        self.core.say(format_args!("{who:?} ends"));
        let skew = self.process(who).skew;
        *self.process(who) = Process { skew, ..Process::default() };
        self.core.next_run(who);
        match who {
            Who::Proxy(index) => self.core.truth.left(index),
            Who::Server(index) => self.core.truth.keeper_left(index),
        }
    }

    /// Other record servers notice after a while that one is gone.
    fn miss(&mut self, who: Who, within: u64) {
        let Who::Server(index) = who else { return };
        for other in (0..self.servers.len()).filter(|other| *other != index) {
            self.core.hears_of(other, index, Presence::Away, within);
        }
    }

    /// A proxy hears that a link is over, and dials again.
    fn lose_link(&mut self, proxy: usize, server: usize, number: u64, at: u64) {
        let closed = call::PeerEvent::Closed("connection reset".to_owned());
        self.core.tell_at(at, Who::Proxy(proxy), Input::Heard(server, number, closed));
        let at = at + self.core.rng.between(50 * MS, 500 * MS);
        self.core.schedule(at, Event::Dial(proxy, server));
    }

    fn cut(&mut self, proxy: usize, server: usize, way: Way, until: u64) {
        let at = self.core.at;
        let link = self.core.network.link(proxy, server);
        link.block(way, until);
        if link.is_up && way != Way::ToServer && until > at + GIVEN_UP {
            // What the record server sends is not confirmed.
            let closed = Input::Came(proxy, link.number, FromProxy::Closed);
            self.core.tell_at(at + GIVEN_UP, Who::Server(server), closed);
        }
    }

    fn part(&mut self, a: usize, b: usize, until: u64) {
        if a != b && self.core.network.part(a, b) {
            self.core.hears_of(a, b, Presence::Away, 2 * S);
            self.core.hears_of(b, a, Presence::Away, 2 * S);
            self.core.schedule(until, Event::Over(Fault::Apart(a, b, 0)));
        }
    }

    /// Record servers are stopped in order, one after the other, and started again.
    fn roll(&mut self, each: u64) {
        let mut at = self.core.at;
        for index in 0..self.servers.len() {
            let who = Who::Server(index);
            self.core.tell_at(at, who, Input::HandOver);
            self.core.schedule(at + HAND_OVER, Event::Fault(Fault::Crash(who, S)));
            at += HAND_OVER + each;
        }
    }
}
