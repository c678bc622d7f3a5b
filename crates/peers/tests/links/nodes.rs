//! Nodes of a test: an authority, certificates, listeners and dialers; and waiting for what they hear.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use model::{Beat, Hello, NodeNumber, Order, PeerName, Report, SegmentId, Standing, WallTime};
use peers::authority::{Pem, authority, node};
use peers::{Came, Credentials, Dialer, FromServer, Heard, Limits, Link, LinkId, Listener};
use tempfile::TempDir;
use tokio::time::timeout;

/// What takes longer than this does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Nodes {
    directory: TempDir,
    pub(crate) ca: Pem,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let ca = authority("a test", 10).unwrap();
        let nodes = Self { directory: tempfile::tempdir().unwrap(), ca };
        nodes.write("ca.pem", &nodes.ca.certificate);
        nodes
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a node of this authority shows.
    pub(crate) fn pem(&self, name: &str) -> Pem {
        node(&self.ca, &peer(name), &[], 10).unwrap()
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        self.credentials_of(&self.pem(name))
    }

    /// Of somebody who trusts this authority, and shows that.
    pub(crate) fn credentials_of(&self, shown: &Pem) -> Credentials {
        let certificate = self.write("node.pem", &shown.certificate);
        let key = self.write("node.key", &shown.key);
        Credentials::load(&self.path("ca.pem"), &certificate, &key).unwrap()
    }

    pub(crate) async fn listen(&self, name: &str) -> Listener {
        self.listen_with(name, patient()).await
    }

    pub(crate) async fn listen_with(&self, name: &str, limits: Limits) -> Listener {
        Listener::bind(LOOPBACK, self.credentials(name), limits).await.unwrap()
    }

    /// A proxy that dials one record server.
    pub(crate) fn dial(&self, own: &str, name: &str, address: SocketAddr) -> Dialer {
        Dialer::start(self.credentials(own), vec![(peer(name), address.to_string())])
    }
}

/// Limits by which nobody is too slow.
pub(crate) fn patient() -> Limits {
    Limits { greeting: PATIENCE, ..Limits::default() }
}

pub(crate) fn peer(name: &str) -> PeerName {
    name.parse().unwrap()
}

pub(crate) fn hello(name: &str, run: u64) -> Hello {
    let segments = vec![SegmentId::from_u64(3), SegmentId::from_u64(4)];
    Hello { name: peer(name), node: NodeNumber::SINGLE, run, segments }
}

pub(crate) fn beat(number: u64) -> Beat {
    let at = WallTime::from_millis(1_800_000_000_000);
    Beat { number, at, recordings: 7, loads: Vec::new(), standing: Standing::Taking, heard: Some(number) }
}

pub(crate) fn withdraw(segment: u64) -> Order {
    Order::Withdraw { segment: SegmentId::from_u64(segment) }
}

pub(crate) fn withdrawn(segment: u64) -> Report {
    Report::Withdrawn { segment: SegmentId::from_u64(segment) }
}

/// The next thing that a dialer hears.
pub(crate) async fn heard(dialer: &mut Dialer) -> Heard {
    timeout(PATIENCE, dialer.heard()).await.expect("nothing is heard").1
}

/// The next thing that comes to a listener.
pub(crate) async fn came(listener: &mut Listener) -> (LinkId, PeerName, Came) {
    timeout(PATIENCE, listener.came()).await.expect("nothing comes")
}

/// The next link of a listener, after whatever comes before it.
pub(crate) async fn linked(listener: &mut Listener) -> (LinkId, PeerName, Link) {
    loop {
        if let (id, peer, Came::Up(link)) = came(listener).await {
            return (id, peer, link);
        }
    }
}

/// Why a dialer has no link, once it is for that: a machine that is busy may cost an attempt its deadline before.
pub(crate) async fn refused(dialer: &mut Dialer, expected: &str) -> String {
    let mut last = String::new();
    let refused = timeout(PATIENCE, async {
        loop {
            match dialer.heard().await.1 {
                Heard::Closed(why) if why.contains(expected) => return why,
                Heard::Closed(why) => last = why,
                other => panic!("it was to be refused: {other:?}"),
            }
        }
    });
    refused.await.unwrap_or_else(|_| panic!("it was to be refused for '{expected}', and was for '{last}'"))
}

/// Both ends of a new link, greeted by that.
pub(crate) async fn greeted_by(listener: &mut Listener, dialer: &mut Dialer, hello: Hello) -> (LinkId, Link) {
    let mut newest = None;
    let greeted = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                (id, _, came) = listener.came() => if let Came::Up(link) = came {
                    let _ = link.send(&FromServer::Hello(hello.clone()));
                    newest = Some((id, link));
                },
                (_, heard) = dialer.heard() => match heard {
                    Heard::Up(said) => break assert_eq!(said, hello),
                    Heard::Closed(_) => {}
                    other => panic!("heard before it was greeted: {other:?}"),
                },
            }
        }
    });
    greeted.await.expect("nobody is greeted");
    newest.unwrap()
}

/// Both ends of a new link, greeted.
pub(crate) async fn greeted(listener: &mut Listener, dialer: &mut Dialer, name: &str) -> (LinkId, Link) {
    greeted_by(listener, dialer, hello(name, 1)).await
}
