//! How many calls at a time the machine takes, by `callspool bench`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::options::Options;

/// Where the search begins: far below what two processors take, so that it is over in two minutes.
const FROM: &str = "400";

/// A share of the most calls at a time that are within the limits, with the same settings and on the same disk.
pub(crate) fn share(options: &Options, share: f64) -> Result<usize, Failure> {
    let most = find(options)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
    let calls = (most as f64 * share) as usize;
    println!("{:.0} % of {most} calls at a time:", share * 100.0);
    Ok(calls.max(1))
}

fn find(options: &Options) -> Result<usize, Failure> {
    println!("how much the machine takes, by callspool bench:");
    let json = options.out.join("soak-capacity.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_callspool"));
    bench.args(["bench", "--only", "calls", "--calls-from", FROM]);
    bench.arg("--dir").arg(&options.dir).arg("--json").arg(&json);
    for (key, value) in &options.set {
        bench.args(["--set", &format!("{key}={value}")]);
    }
    let status = bench.status()?;
    most_of(&json)?.ok_or_else(|| format!("callspool bench found no load that holds: {status}").into())
}

fn most_of(json: &Path) -> Result<Option<usize>, Failure> {
    let found: Value = serde_json::from_slice(&std::fs::read(json)?)?;
    let most = found["calls"]["most"].as_u64();
    Ok(most.map(usize::try_from).transpose()?)
}
