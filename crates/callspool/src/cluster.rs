//! This node among others: by which name it is known, whom it knows, and where they come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::PeerName;
use peers::{Credentials, Inquiries, Limits, Listener};

use crate::certificates::NodeCertificate;
use crate::cli::CliError;
use crate::config::{Config, Placement};
use crate::desk::Introduction;

/// What a node that has no certificate calls itself: nobody else hears it.
const ALONE: &str = "here";

/// See the module.
pub(crate) struct Cluster {
    name: PeerName,
    /// Another one after each start.
    run: u64,
    certificate: Option<Arc<NodeCertificate>>,
}

impl Cluster {
    /// Reads what `[cluster]` names.
    pub(crate) fn of(config: &Config) -> Result<Self, CliError> {
        let cluster = &config.cluster;
        let certificate = if cluster.certificate.as_os_str().is_empty() {
            None
        } else {
            let files = [&cluster.ca, &cluster.certificate, &cluster.key].map(Clone::clone);
            Some(Arc::new(NodeCertificate::load(files).map_err(|e| {
                CliError::failed(
                    "cannot use the certificate of this node",
                    e,
                    "give in [cluster] what `callspool cert` made",
                )
            })?))
        };
        let name = match &certificate {
            Some(certificate) => certificate.credentials().name().clone(),
            None => ALONE.parse().map_err(|e| CliError::failed("cannot start", e, "report this"))?,
        };
        if config.tables.peer.contains_key(name.as_str()) {
            let why = format!("[peer.{name}] is this node by its certificate");
            return Err(CliError::failed("cannot know other nodes", why, "remove it: a node knows itself"));
        }
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|e| {
            CliError::failed("cannot get random numbers", e, "check the kernel's /dev/urandom")
        })?;
        Ok(Self { name, run: u64::from_ne_bytes(run), certificate })
    }

    /// What it proves itself by; none where it is alone.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.certificate.as_ref().map(|certificate| certificate.credentials())
    }

    /// The certificate that it is proved by, with its files.
    pub(crate) const fn certificate(&self) -> Option<&Arc<NodeCertificate>> {
        self.certificate.as_ref()
    }

    /// What it says of itself.
    pub(crate) fn introduction(&self, config: &Config) -> Introduction {
        Introduction { name: self.name.clone(), node: config.node.number, run: self.run }
    }

    /// The record servers on other nodes, and where they are reached.
    pub(crate) fn peers(&self, config: &Config) -> BTreeMap<PeerName, String> {
        let mut peers = BTreeMap::new();
        for (name, peer) in &config.tables.peer {
            // What is no name or has no address was refused when the configuration was read.
            if let (Ok(name), Some(address)) = (name.parse(), &peer.address) {
                peers.insert(name, address.as_str().to_owned());
            }
        }
        peers
    }

    /// Where the record servers take calls by themselves, if calls are to be sent there.
    pub(crate) fn redirects(&self, config: &Config) -> BTreeMap<PeerName, String> {
        if config.cluster.placement == Placement::Route {
            return BTreeMap::new();
        }
        let peers = config.tables.peer.iter();
        peers.filter_map(|(name, peer)| Some((name.parse().ok()?, peer.sip.clone()))).collect()
    }

    /// Lets proxies in, where the configuration wants it, and other record servers, where somebody answers them.
    pub(crate) async fn listen(
        &self,
        config: &Config,
        inquiries: Option<&Inquiries>,
    ) -> Result<Vec<Listener>, CliError> {
        let mut doors = Vec::new();
        let Some(credentials) = self.credentials() else { return Ok(doors) };
        for address in &config.cluster.listen {
            let inquiries = inquiries.cloned();
            let bound =
                Listener::bind_with(*address, credentials.clone(), Limits::default(), inquiries).await;
            let door = bound.map_err(|e| {
                let todo = "stop what uses the address, or choose another in cluster.listen";
                CliError::failed(format!("cannot listen for other nodes on {address}"), e, todo)
            })?;
            tracing::info!("other nodes reach {} at {}", self.name, door.local_addr());
            doors.push(door);
        }
        Ok(doors)
    }
}
