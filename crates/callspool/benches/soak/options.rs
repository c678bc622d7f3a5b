//! The command line: how long, and which load.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;

/// Calls at a time, at most: more ports than an address has.
const CALLS_MOST: usize = 10_000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Load {
    Few {
        per_second: u32,
    },
    Many {
        at_once: usize,
    },
    /// This share of what the machine takes, which is found out first.
    Share {
        of_capacity: f64,
    },
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Callers {
    /// The built-in caller: so many new calls a second, of kinds that change.
    Few { per_second: u32 },
    /// So many calls at a time with media, which come and go.
    Many { at_once: usize },
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few { per_second } => write!(f, "{per_second} new calls a second"),
            Self::Many { at_once } => {
                write!(f, "{at_once} calls at a time, two streams of 50 packets a second each")
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) length: Duration,
    pub(crate) load: Load,
    /// Where the table and the verdict go.
    pub(crate) out: PathBuf,
    /// Where callspool records: a directory on the disk that is meant.
    pub(crate) dir: PathBuf,
    /// Settings of the callspool that is measured, `media.source=…`.
    pub(crate) set: Vec<(String, String)>,
}

impl Options {
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut options = Self {
            length: Duration::from_secs(3_600),
            load: Load::Few { per_second: 1 },
            out: PathBuf::from("target/dev"),
            dir: std::env::temp_dir(),
            set: Vec::new(),
        };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--seconds" => options.length = Duration::from_secs(value()?.parse()?),
                "--calls" => options.load = Load::Few { per_second: value()?.parse()? },
                "--calls-at-once" => options.load = Load::Many { at_once: value()?.parse()? },
                "--load" => options.load = Load::Share { of_capacity: percent(&value()?)? },
                "--out" => options.out = PathBuf::from(value()?),
                "--dir" => options.dir = PathBuf::from(value()?),
                "--set" => {
                    let set = value()?;
                    let (key, value) = set.split_once('=').ok_or("--set wants KEY=VALUE")?;
                    options.set.push((key.to_owned(), value.to_owned()));
                }
                other => return Err(format!("unknown option '{other}'").into()),
            }
        }
        match options.load {
            Load::Few { per_second: 0 } => Err("--calls wants a number of calls per second".into()),
            Load::Many { at_once } if !(1..=CALLS_MOST).contains(&at_once) => {
                Err(format!("--calls-at-once wants a number of calls, {CALLS_MOST} at most").into())
            }
            _ => Ok(options),
        }
    }
}

fn percent(text: &str) -> Result<f64, Failure> {
    let share = text.strip_suffix('%').and_then(|n| n.parse::<f64>().ok()).map(|n| n / 100.0);
    Ok(share.filter(|s| *s > 0.0 && *s <= 1.0).ok_or("--load wants a share of the capacity such as 70%")?)
}
