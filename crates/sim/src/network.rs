//! The network: links between proxies and record servers, and what passes at all.
//!
//! Links are TCP: in order, or cut. What is sent while nothing passes comes when it does again, unless the link is given up
//! before. SIP is UDP: it may be lost, come twice, and in any order. Media are UDP too.

use std::collections::BTreeSet;

use crate::rng::Rng;
use crate::scenario::{MS, S, Way};

/// What the kernel waits for a confirmation before it gives a connection up.
pub(crate) const GIVEN_UP: u64 = 10 * S;

/// The link of a proxy with a record server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// Another one each time that it is made.
    pub(crate) number: u64,
    pub(crate) is_up: bool,
    to_server: Pipe,
    to_proxy: Pipe,
    slow_until: u64,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Pipe {
    /// When what was sent last arrives.
    last: u64,
    blocked_until: u64,
}

/// Which way something goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Toward {
    Server,
    Proxy,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// By proxy, then by record server.
    links: Vec<Vec<Link>>,
    /// Record servers between which nothing passes, the lower first.
    apart: BTreeSet<(usize, usize)>,
    /// Record servers that no media reach.
    pub(crate) deaf: BTreeSet<usize>,
    /// Proxies whose port says that nobody is there.
    pub(crate) closed: BTreeSet<usize>,
    pub(crate) sip_lost: u64,
    pub(crate) sip_doubled: u64,
    pub(crate) media_lost: u64,
}

impl Network {
    pub(crate) fn new(proxies: usize, servers: usize) -> Self {
        Self {
            links: vec![vec![Link::default(); servers]; proxies],
            apart: BTreeSet::new(),
            deaf: BTreeSet::new(),
            closed: BTreeSet::new(),
            sip_lost: 0,
            sip_doubled: 0,
            media_lost: 0,
        }
    }

    pub(crate) fn link(&mut self, proxy: usize, server: usize) -> &mut Link {
        &mut self.links[proxy][server]
    }

    /// The links that are up, each with its proxy and its record server.
    pub(crate) fn up(&self) -> Vec<(usize, usize)> {
        let all = self.links.iter().enumerate();
        let each = all.flat_map(|(p, of)| of.iter().enumerate().map(move |(s, link)| (p, s, link)));
        each.filter(|(_, _, link)| link.is_up).map(|(p, s, _)| (p, s)).collect()
    }

    /// Two record servers, in the order in which a pair is named.
    const fn pair(a: usize, b: usize) -> (usize, usize) {
        if a < b { (a, b) } else { (b, a) }
    }

    pub(crate) fn part(&mut self, a: usize, b: usize) -> bool {
        self.apart.insert(Self::pair(a, b))
    }

    pub(crate) fn join(&mut self, a: usize, b: usize) -> bool {
        self.apart.remove(&Self::pair(a, b))
    }

    pub(crate) fn are_apart(&self, a: usize, b: usize) -> bool {
        self.apart.contains(&Self::pair(a, b))
    }

    /// Everything passes again.
    pub(crate) fn heal(&mut self, at: u64) {
        for link in self.links.iter_mut().flatten() {
            for pipe in [&mut link.to_server, &mut link.to_proxy] {
                pipe.blocked_until = pipe.blocked_until.min(at);
            }
            link.slow_until = link.slow_until.min(at);
        }
        self.deaf.clear();
        (self.sip_lost, self.sip_doubled, self.media_lost) = (0, 0, 0);
    }
}

impl Link {
    /// Nothing passes until then.
    pub(crate) fn block(&mut self, way: Way, until: u64) {
        if way != Way::ToProxy {
            self.to_server.blocked_until = self.to_server.blocked_until.max(until);
        }
        if way != Way::ToServer {
            self.to_proxy.blocked_until = self.to_proxy.blocked_until.max(until);
        }
    }

    pub(crate) fn slow(&mut self, until: u64) {
        self.slow_until = self.slow_until.max(until);
    }

    /// Whether a connection can be made now.
    pub(crate) const fn passes(&self, at: u64) -> bool {
        at >= self.to_server.blocked_until && at >= self.to_proxy.blocked_until
    }

    /// When what is sent now arrives.
    pub(crate) fn arrives(&mut self, at: u64, toward: Toward, rng: &mut Rng) -> u64 {
        let slow = if at < self.slow_until { rng.between(100 * MS, 900 * MS) } else { 0 };
        let pipe = if toward == Toward::Server { &mut self.to_server } else { &mut self.to_proxy };
        let takes = rng.between(MS / 5, 3 * MS) + slow;
        pipe.last = (at + takes).max(pipe.blocked_until + takes).max(pipe.last + 1);
        pipe.last
    }

    /// A new connection, which knows nothing of the one before.
    pub(crate) fn make(&mut self) -> u64 {
        (self.number, self.is_up) = (self.number + 1, true);
        (self.to_server.last, self.to_proxy.last) = (0, 0);
        self.number
    }
}
