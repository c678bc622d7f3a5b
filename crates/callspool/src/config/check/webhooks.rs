//! What is wrong with webhooks, as far as the configuration alone can tell.

use std::time::Duration;

use super::Findings;
use crate::config::values::duration_text;
use crate::config::{Config, Origin};

/// Less than a round trip round the world is a mistake; whoever takes longer than a minute hangs.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// An alarm at once would be one for every restart of a receiver.
const ALARMS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (name, webhook) in &config.tables.webhook {
        let table = ("webhook", name.as_str());
        match &webhook.url {
            // One that cannot be read was told of.
            None if *findings.origins.get_named("webhook", name, "url") != Origin::Default => {}
            None => findings.add_to_table(
                table,
                "url",
                "it says not where to",
                "give the address that events are posted to",
            ),
            Some(url) => {
                let files =
                    [("ca", &webhook.ca), ("certificate", &webhook.certificate), ("key", &webhook.key)];
                let named = files.into_iter().find(|(_, path)| !path.as_os_str().is_empty());
                if let Some((key, _)) = named.filter(|_| !url.is_tls()) {
                    let todo = "write https:// in url, or leave it out";
                    findings.add_to_table(table, key, "http:// has no certificates", todo);
                }
            }
        }
        if webhook.events.is_empty() {
            findings.add_to_table(table, "events", "nothing would be told", "name events, or leave it out");
        }
        if webhook.certificate.as_os_str().is_empty() != webhook.key.as_os_str().is_empty() {
            let missing = if webhook.key.as_os_str().is_empty() { "key" } else { "certificate" };
            findings.add_to_table(
                table,
                missing,
                "a certificate and its key go together",
                "give both, or none",
            );
        }
        for (key, value, (min, max)) in
            [("timeout", webhook.timeout, TIMEOUTS), ("alarm_after", webhook.alarm_after, ALARMS)]
        {
            if value < min || value > max {
                let why = format!("{} is out of range", duration_text(value));
                let todo = format!("give {} to {}", duration_text(min), duration_text(max));
                findings.add_to_table(table, key, why, todo);
            }
        }
    }
}
