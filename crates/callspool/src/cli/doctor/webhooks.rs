//! Whether the receivers of webhooks can be reached. Nothing is sent to them.

use std::sync::Arc;

use super::Check;
use crate::cli::block_on;
use crate::config::Config;
use crate::webhook::{self, Target};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let targets = match webhook::load(config) {
        Ok(targets) => targets,
        Err(problems) => {
            let failure = |p: crate::config::Problem| Check::failure(p.place, p.why, p.todo);
            return problems.into_iter().map(failure).collect();
        }
    };
    let reached = block_on(async {
        let tries: Vec<_> = targets.values().map(|target| tokio::spawn(reach(Arc::clone(target)))).collect();
        let mut checks = Vec::new();
        for tried in tries {
            checks.extend(tried.await.ok());
        }
        checks
    });
    reached.unwrap_or_default()
}

async fn reach(target: Arc<Target>) -> Check {
    let what = format!("webhook {}", target.name());
    match webhook::reach(&target).await {
        Ok(()) => Check::good(what, format!("{} can be connected to", target.origin())),
        Err(why) => Check::warning(
            what,
            why,
            "see that the receiver runs, and that no firewall is between; events wait for it for 30 days",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::{self, Surroundings};

    fn of(text: &str) -> Vec<Check> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("callspool.toml");
        std::fs::write(&file, text).unwrap();
        let around = Surroundings { directory: dir.path().to_owned(), ..Surroundings::of_process() };
        checks(&config::load(Some(&file), &around).unwrap().config)
    }

    #[test]
    fn a_receiver_is_connected_to_and_one_that_is_not_there_is_told_of() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let table = |more: &str| format!("[webhook.ops]\nurl = \"http://{address}/\"\n{more}");
        let there = of(&table(""));
        assert!(matches!(&there[..], [c] if c.verdict == Verdict::Good), "{there:?}");
        let secret = of(&table("secret_file = \"none\"\n"));
        assert!(matches!(&secret[..], [c] if c.verdict == Verdict::Failure), "{secret:?}");
        drop(listener);
        let away = of(&table(""));
        assert!(matches!(&away[..], [c] if c.verdict == Verdict::Warning), "{away:?}");
        assert_eq!(of(""), []);
    }
}
