//! What may be written behind `callspool bench`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use model::Suite;

use super::super::values;
use crate::bench::Protection;

/// A part of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum BenchOnly {
    /// Calls at a time, with media
    Calls,
    /// New calls per second, without media
    Rate,
}

/// `callspool bench`
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Without --to, a callspool is started in a new directory, measured and removed; it reads no
configuration. The exit code is 1 when no load was within the limits, or Ctrl-C ended it.

Examples:
  callspool bench --dir /var/lib/callspool --json bench.json --picture bench.svg
  callspool bench --only calls --calls-from 500 --set media.threads=4
  callspool bench --to sip:rec@192.0.2.1 --page 192.0.2.1:8080 --token-file token")]
pub(crate) struct BenchArgs {
    /// Measure the callspool at sip:host:port instead of one of its own; its page is asked what it received
    #[arg(long, value_name = "URI")]
    pub(crate) to: Option<String>,
    /// Address of its page; else what the configuration says
    #[arg(long, value_name = "HOST:PORT", requires = "to")]
    pub(crate) page: Option<SocketAddr>,
    /// File with its token; else what the configuration says
    #[arg(long, value_name = "FILE", requires = "to")]
    pub(crate) token_file: Option<PathBuf>,
    /// Measure although real calls are recorded there, or on this machine, which then may be lost
    #[arg(long)]
    pub(crate) among_real_calls: bool,
    /// Another address that its media may go to; may be repeated
    #[arg(long, value_name = "IP", requires = "to")]
    pub(crate) media: Vec<IpAddr>,
    /// Where a callspool of its own records meanwhile: a directory on the disk that is to be measured [default: that of
    /// temporary files]
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    pub(crate) dir: Option<PathBuf>,
    /// Setting of a callspool of its own, such as media.threads=4; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting, conflicts_with = "to")]
    pub(crate) set: Vec<(String, String)>,
    /// Processors that a callspool of its own has to itself, while the traffic has the others; 0: all share [default:
    /// half of them]
    #[arg(long, value_name = "N", conflicts_with = "to")]
    pub(crate) cores: Option<usize>,
    /// Only one of the two measurements
    #[arg(long, value_name = "WHAT")]
    pub(crate) only: Option<BenchOnly>,
    /// Plain calls with one stream, instead of SIPREC calls with two
    #[arg(long)]
    pub(crate) plain: bool,
    /// Protect media by this suite, such as AES_CM_128_HMAC_SHA1_80 (SRTP, keys in the offer)
    #[arg(long, value_name = "SUITE", value_parser = protection)]
    pub(crate) srtp: Option<Protection>,
    /// Octets of SIPREC metadata in an INVITE, at least
    #[arg(long, value_name = "OCTETS", default_value = "6000", conflicts_with = "plain")]
    pub(crate) metadata: u16,
    /// Calls at a time to begin with
    #[arg(long, value_name = "N", default_value = "100", value_parser = load)]
    pub(crate) calls_from: usize,
    /// Calls at a time at most
    #[arg(long, value_name = "N", default_value = "20000", value_parser = load)]
    pub(crate) calls_most: usize,
    /// New calls per second to begin with
    #[arg(long, value_name = "N", default_value = "50", value_parser = load)]
    pub(crate) rate_from: usize,
    /// New calls per second at most
    #[arg(long, value_name = "N", default_value = "5000", value_parser = load)]
    pub(crate) rate_most: usize,
    /// New calls per second while the number of calls rises
    #[arg(long, value_name = "N/s", default_value = "100/s", value_parser = values::rate)]
    pub(crate) set_up_rate: f64,
    /// How long each load is measured, 1s to 10m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = step)]
    pub(crate) step: Duration,
    /// Threads that send media [default: half of the traffic's processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) senders: Option<u8>,
    /// Limit: packets lost
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = values::percent)]
    pub(crate) max_loss: f64,
    /// Limit: INVITE to 200, 99 of 100. From 500ms on clients send again (RFC 3261, T1)
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = values::duration)]
    pub(crate) max_setup: Duration,
    /// Limit: from a packet's arrival in the kernel until it is in its buffer, 99 of 100
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = values::duration)]
    pub(crate) max_delay: Duration,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw them into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
}

/// A hundred thousand: more ports than two addresses have.
const LOAD_MAX: usize = 100_000;

fn load(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=LOAD_MAX).contains(n));
    number.ok_or_else(|| format!("'{text}' is no number from 1 to {LOAD_MAX}"))
}

fn protection(text: &str) -> Result<Protection, String> {
    let names = || Suite::ALL.map(Suite::name).join(", ");
    let found = Suite::named(text).and_then(Protection::by);
    found.ok_or_else(|| format!("'{text}' is no suite; those that are known: {}", names()))
}

fn step(text: &str) -> Result<Duration, String> {
    let time = values::duration(text)?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&time);
    if fits { Ok(time) } else { Err("a load is measured for 1s to 10m".to_owned()) }
}

/// Reads `media.threads=4`.
fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is written KEY=VALUE, such as media.threads=4")?;
    let is_key = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    match key.split_once('.') {
        Some((section, name)) if is_key(section) && is_key(name) => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{key}' is no setting such as media.threads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(setting("media.tick=5ms"), Ok(("media.tick".into(), "5ms".into())));
        for text in ["media", "media.tick", "media=1", ".x=1", "A.b=1", "a.b.c=1"] {
            assert!(setting(text).is_err(), "{text}");
        }
        let suite = protection("aead_aes_128_gcm").unwrap().name();
        assert!(protection("AES").is_err() && suite == "AEAD_AES_128_GCM", "{suite}");
        assert!(load("0").is_err() && load("100001").is_err() && load("x").is_err());
        assert!(step("10ms").is_err() && step("1h").is_err() && step("5s").is_ok());
    }
}
