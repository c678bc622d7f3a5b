//! The command line: what is measured, and how often.

use std::path::PathBuf;
use std::time::Duration;

use model::Suite;

use crate::Failure;
use crate::bare::Source;
use crate::invites::Rtcp;
use crate::traffic::Protection;

/// Calls at once: the usual sizes of a site, and up to what the generator can hardly feed. A call needs six
/// descriptors, so 20,000 of them, a common hard limit, end at 2,600 calls.
const CALLS: &[usize] = &[500, 1_000, 2_000, 2_500];
/// New calls per second.
const RATES: &[u32] = &[100, 500, 1_000];
/// Calls that go on, two streams each, while new ones are pressed in.
const RUNNING: usize = 200;

/// What can be measured by itself.
const PARTS: &[&str] =
    &["signalling", "invites", "setup", "catalog", "overload", "packets", "exports", "long"];
/// New calls beside running ones.
const PRESSURE: [&str; 3] = ["setup", "catalog", "overload"];

#[derive(Debug)]
pub(crate) struct Options {
    /// Parts that are measured; none named: all.
    pub(crate) only: Vec<String>,
    pub(crate) calls: Vec<usize>,
    pub(crate) rates: Vec<u32>,
    /// Over which sources packets are received, one after the other.
    pub(crate) sources: Vec<Source>,
    /// Where the calls of `packets` and `setup` have RTCP.
    pub(crate) rtcp: Rtcp,
    /// What the calls of a second callspool are protected by, which `packets` measures beside those in the clear.
    pub(crate) srtp: Option<Protection>,
    /// Calls that go on beside those of `pressure` and `setup`.
    pub(crate) running: usize,
    /// Turns of recorder and bare receiver; their medians count.
    pub(crate) repeats: usize,
    /// Of each turn, after a second that is not counted.
    pub(crate) turn: Duration,
    /// How long calls are made at each rate.
    pub(crate) invite_seconds: u32,
    /// Settings of the measured callspool, `media.source=…`.
    pub(crate) set: Vec<(String, String)>,
    /// JSON lines are added to it.
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self {
            only: Vec::new(),
            calls: CALLS.to_vec(),
            rates: RATES.to_vec(),
            sources: Vec::new(),
            rtcp: Rtcp::Own,
            srtp: None,
            running: RUNNING,
            repeats: 3,
            turn: Duration::from_secs(4),
            invite_seconds: 10,
            set: Vec::new(),
            out: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            // cargo bench adds it.
            if word == "--bench" {
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--only" => options.only = parts(value)?,
                "--calls" => options.calls = list(value)?,
                "--rates" => options.rates = list(value)?,
                "--sources" => options.sources = list(value)?,
                "--rtcp" => options.rtcp = value.parse()?,
                "--running" => options.running = value.parse()?,
                "--repeats" => options.repeats = value.parse()?,
                "--seconds" => {
                    options.turn = Duration::from_secs(value.parse()?);
                    options.invite_seconds = value.parse()?;
                }
                "--set" => {
                    let (key, value) = value.split_once('=').ok_or("--set needs KEY=VALUE")?;
                    options.set.push((key.to_owned(), value.to_owned()));
                }
                "--srtp" => {
                    let found = Suite::named(value).and_then(Protection::by);
                    options.srtp = Some(found.ok_or_else(|| format!("{value} is no suite of SRTP"))?);
                }
                "--out" => options.out = Some(value.into()),
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        if options.sources.is_empty() {
            let set = options.set.iter().rev().find(|(key, _)| key == "media.source");
            options.sources = vec![set.map_or(Ok(Source::Sockets), |(_, source)| source.parse())?];
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| part == what)
    }
}

/// Names of parts; `pressure` is three of them.
fn parts(text: &str) -> Result<Vec<String>, Failure> {
    let mut parts = Vec::new();
    for part in text.split(',') {
        match part {
            "pressure" => parts.extend(PRESSURE),
            known if PARTS.contains(&known) => parts.push(known),
            other => {
                return Err(format!("unknown part {other}: one of pressure, {}", PARTS.join(", ")).into());
            }
        }
    }
    Ok(parts.into_iter().map(str::to_owned).collect())
}

fn list<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split(',').map(str::parse).collect()
}
