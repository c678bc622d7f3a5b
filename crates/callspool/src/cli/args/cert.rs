//! What may be written behind `callspool cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};
use model::PeerName;
use peers::authority::DAYS_MAX;

/// Twenty years: replacing it means replacing the certificates of all nodes.
const AUTHORITY_DAYS: u32 = 7_300;
/// Five years: as long as a machine lasts.
const NODE_DAYS: u32 = 1_825;

/// `callspool cert`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Whoever has a certificate of the authority is a node, and may give orders to the others: use it
for nothing else. Nothing that is there is written over.

Example:
  callspool cert authority /root/cluster
  callspool cert node /root/cluster rec-1 --address rec-1.example.com --address 192.0.2.11")]
pub(crate) struct CertArgs {
    /// What to make.
    #[command(subcommand)]
    pub(crate) command: CertCommand,
}

/// What `callspool cert` can be told to make.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum CertCommand {
    /// Make a private authority: each node trusts it, and it makes their certificates
    Authority(CertAuthorityArgs),
    /// Make a certificate for a node, by the authority in the same directory
    Node(CertNodeArgs),
}

/// `callspool cert authority`
#[derive(Args, Clone, Debug)]
pub(crate) struct CertAuthorityArgs {
    /// The directory for ca.pem and ca.key; it is made where there is none
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = AUTHORITY_DAYS, value_parser = days())]
    pub(crate) days: u32,
}

/// `callspool cert node`
#[derive(Args, Clone, Debug)]
pub(crate) struct CertNodeArgs {
    /// The directory with ca.pem and ca.key; NAME.pem and NAME.key are written beside them
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The node's name, as the other nodes' [peer.NAME] has it: 1 to 32 small letters, digits and hyphens
    #[arg(value_name = "NAME")]
    pub(crate) name: PeerName,
    /// Where it is reached too: an IP address or a host name; may be repeated
    #[arg(long, value_name = "IP|DNS")]
    pub(crate) address: Vec<String>,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = NODE_DAYS, value_parser = days())]
    pub(crate) days: u32,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(DAYS_MAX))
}
