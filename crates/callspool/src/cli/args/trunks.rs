//! What may be written behind `callspool trunks`.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};

use super::CallTransport;

/// `callspool trunks`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
With --match the exit code is 1 when no trunk takes such a request. Examples:
  callspool trunks
  callspool trunks --match 192.0.2.10
  callspool trunks --match 192.0.2.10 --transport tls --tls-name sbc.example.com --to rec.example.com")]
pub(crate) struct TrunksArgs {
    /// Which trunk takes a request from this address, and why the others do not
    #[arg(long = "match", value_name = "IP")]
    pub(crate) from: Option<IpAddr>,
    /// The request comes by this transport
    #[arg(long, value_enum, default_value = "udp", requires = "from")]
    pub(crate) transport: CallTransport,
    /// The client has proved to have this name; may be repeated
    #[arg(long, value_name = "NAME", requires = "from")]
    pub(crate) tls_name: Vec<String>,
    /// The host of Request-URI and To
    #[arg(long, value_name = "HOST", requires = "from")]
    pub(crate) to: Option<String>,
    /// An object per trunk, as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// What to do instead.
    #[command(subcommand)]
    pub(crate) command: Option<TrunksCommand>,
}

/// What `callspool trunks` can be told to do.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum TrunksCommand {
    /// Set the password of a user, read from standard input: asked for twice on a terminal
    #[command(after_help = "\
A running callspool takes it with `callspool reload`. Examples:
  callspool trunks password sbc-bonn gateway1
  callspool trunks password sbc-bonn gateway1 --algorithm sha-256 < secret.txt
  callspool trunks password sbc-bonn gateway1 --remove")]
    Password(PasswordArgs),
}

/// An algorithm of digest authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DigestAlgorithm {
    /// SHA-256 (RFC 8760)
    #[value(name = "sha-256")]
    Sha256,
    /// MD5, for clients that know nothing better
    Md5,
}

/// `callspool trunks password`
#[derive(Args, Clone, Debug)]
pub(crate) struct PasswordArgs {
    /// The trunk: it says which file and realm
    #[arg(value_name = "TRUNK")]
    pub(crate) trunk: String,
    /// The user
    #[arg(value_name = "USER")]
    pub(crate) user: String,
    /// What the user may authenticate with; may be repeated [default: both]
    #[arg(long, value_enum, conflicts_with = "remove")]
    pub(crate) algorithm: Vec<DigestAlgorithm>,
    /// Remove the user instead
    #[arg(long)]
    pub(crate) remove: bool,
}
