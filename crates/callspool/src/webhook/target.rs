//! A webhook as its table and the files in it say: where to, for which events, with which secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderValue;
use store::Event;

use super::sign::Secrets;
use crate::config::tables::WebhookConfig;
use crate::config::webhooks::WebhookUrl;
use crate::config::{Config, Problem};
use crate::net::{Certificates, ClientAuth, TlsFiles, TlsVersion};
use crate::private_text::{Wrong, private_text};

/// All that there are, by name.
pub(crate) type Targets = BTreeMap<String, Arc<Target>>;

/// One of them, ready to be used.
pub(crate) struct Target {
    pub(super) name: String,
    pub(super) url: WebhookUrl,
    pub(super) config: WebhookConfig,
    pub(super) secrets: Secrets,
    pub(super) authorization: Option<HeaderValue>,
    /// Where it is spoken to with TLS.
    pub(super) tls: Option<Certificates>,
}

/// Reads all of them, with the files that they name.
pub(crate) fn load(config: &Config) -> Result<Targets, Vec<Problem>> {
    let (mut targets, mut problems) = (Targets::new(), Vec::new());
    for (name, table) in &config.tables.webhook {
        // One without a url was refused with the configuration.
        let Some(url) = &table.url else { continue };
        match Target::read(name, url, table) {
            Ok(target) => {
                targets.insert(name.clone(), Arc::new(target));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

fn named(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

impl Target {
    fn read(name: &str, url: &WebhookUrl, table: &WebhookConfig) -> Result<Self, Problem> {
        let problem = |key: &str, path: &Path, (why, todo): Wrong| {
            Problem::new(format!("webhook.{name}.{key} {}", path.display()), why, todo)
        };
        let secrets = named(&table.secret_file).map(|path| Secrets::read(&path)).transpose();
        let secrets = secrets.map_err(|wrong| problem("secret_file", &table.secret_file, wrong))?;
        let authorization = named(&table.authorization_file).map(|path| authorization(&path)).transpose();
        let authorization =
            authorization.map_err(|wrong| problem("authorization_file", &table.authorization_file, wrong))?;
        let tls = url.is_tls().then(|| Certificates::load(tls_files(table))).transpose();
        let tls = tls.map_err(|e| {
            Problem::new(format!("webhook.{name}: {} {}", e.what, e.path.display()), e.why, e.todo)
        })?;
        Ok(Self {
            name: name.to_owned(),
            url: url.clone(),
            config: table.clone(),
            secrets: secrets.unwrap_or_default(),
            authorization,
            tls,
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, as far as may be shown.
    pub(crate) fn origin(&self) -> String {
        self.url.origin()
    }

    /// Whether nothing has changed, in the table or in its files.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let stamp = |target: &Self| target.tls.as_ref().map(Certificates::loaded_stamp);
        (&self.config, &self.secrets, &self.authorization)
            == (&other.config, &other.secrets, &other.authorization)
            && stamp(self) == stamp(other)
    }

    /// Whether it is told of an event.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let table = &self.config;
        if !(table.tenants.is_empty() || table.tenants.contains(&event.tenant)) {
            return false;
        }
        let alarm = (event.kind == "alarm").then(|| AlarmIs::of(event));
        let kind = alarm.as_ref().map(|alarm| alarm.kind.as_str());
        table.events.iter().any(|pattern| pattern.takes(&event.kind, kind))
            && alarm.is_none_or(|alarm| alarm.severity.is_none_or(|severity| severity >= table.severity))
    }
}

/// What the body of an event says of an alarm.
#[derive(Default, serde::Deserialize)]
struct AlarmIs {
    #[serde(rename = "alarm")]
    kind: String,
    severity: Option<model::Severity>,
}

impl AlarmIs {
    fn of(event: &Event) -> Self {
        serde_json::from_str(&event.body).unwrap_or_default()
    }
}

/// The value of the header. It is never shown.
fn authorization(path: &Path) -> Result<HeaderValue, Wrong> {
    let text = private_text(path)?;
    let todo = || "write what stands behind 'Authorization:', such as 'Bearer …', on one line".to_owned();
    if text.trim().is_empty() {
        return Err(("it is empty".to_owned(), todo()));
    }
    let mut value =
        HeaderValue::from_str(text.trim()).map_err(|_| ("it holds what no header can".to_owned(), todo()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls_files(table: &WebhookConfig) -> TlsFiles {
    TlsFiles {
        certificate: named(&table.certificate),
        key: named(&table.key),
        ca: named(&table.ca),
        client_auth: ClientAuth::None,
        min_version: TlsVersion::V12,
        trust_all: false,
    }
}

#[cfg(test)]
mod tests {
    use model::{EventId, TenantId, WallTime};

    use super::*;
    use crate::config::{self, Surroundings};

    fn target(table: &str) -> Arc<Target> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("callspool.toml");
        std::fs::write(&file, format!("[webhook.ops]\nurl = \"http://192.0.2.1/\"\n{table}")).unwrap();
        let around = Surroundings {
            variables: Vec::new(),
            directory: dir.path().to_owned(),
            has_ipv6: false,
            host_name: "test".to_owned(),
        };
        let loaded = config::load(Some(&file), &around).unwrap();
        Arc::clone(&load(&loaded.config).unwrap()["ops"])
    }

    fn event(kind: &str, tenant: &str, body: &str) -> Event {
        Event {
            id: EventId::from_u64(7),
            at: WallTime(0),
            tenant: tenant.parse::<TenantId>().unwrap(),
            kind: kind.to_owned(),
            call: None,
            segment: None,
            body: body.to_owned(),
        }
    }

    #[test]
    fn events_are_chosen_by_kind_severity_and_tenant() {
        let disk = event("alarm", "default", r#"{"alarm":"disk-space","severity":"critical"}"#);
        let loss = event("alarm", "acme", r#"{"alarm":"loss","severity":"warning"}"#);
        let call = event("call", "acme", "{}");
        for (table, expected) in [
            ("", [true, true, false]),
            ("events = \"*\"", [true, true, true]),
            ("severity = \"critical\"", [true, false, false]),
            ("events = [\"call\", \"alarm:loss\"]", [false, true, true]),
            ("events = \"*\"\nseverity = \"critical\"", [true, false, true]),
            ("events = \"*\"\ntenants = \"acme\"", [false, true, true]),
        ] {
            let target = target(table);
            assert_eq!([&disk, &loss, &call].map(|event| target.wants(event)), expected, "{table}");
        }
    }

    #[test]
    fn a_change_of_table_or_file_is_noticed() {
        assert!(target("").is_as(&target("")));
        assert!(!target("").is_as(&target("timeout = \"3s\"")));
    }
}
