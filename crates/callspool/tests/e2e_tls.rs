//! SIP over TLS and WebSocket with a real server: our caller and a softphone are recorded, strangers are not let in,
//! and certificates change under a call that goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::authority::{Authority, Identity};
use support::baresip::Baresip;
use support::program::Program;
use support::secured::Secured;
use support::server::Server;
use support::{PATIENCE, audio, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Secured {
    /// Calls with these arguments; gives the report, and whether all went well.
    fn call(&self, to: &str, more: &[&str]) -> (Value, bool) {
        let length = if more.contains(&"--duration") { &[][..] } else { &["--duration", "1s"] };
        let arguments = [&["call", "--to", to, "--timeout", "4s", "--json"], length, more].concat();
        let done = self.server.callspool(&arguments);
        let line = done.text().lines().next().unwrap_or("null").to_owned();
        (serde_json::from_str(&line).unwrap_or(Value::Null), done.code == Some(0))
    }

    fn expect_recorded(&self, report: &Value) {
        let recorded = self.server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
        let received = recorded.segments.iter().flat_map(|s| &s.streams).map(|s| s.accounting.received);
        let sent = report["streams"].as_array().unwrap().iter().map(|s| s["packets"].as_u64().unwrap());
        assert_eq!(received.sum::<u64>(), sent.sum::<u64>(), "{report:#}");
    }
}

#[test]
fn our_caller_is_recorded_over_each_transport_and_address_family() {
    let secured = Secured::start(&[]);
    let ca = secured.authority.file();
    for (transport, port) in [("tls", secured.tls), ("ws", secured.ws), ("wss", secured.wss)] {
        for host in ["127.0.0.1", "[::1]"] {
            let to = format!("sip:rec@{host}:{port}");
            let (report, ok) = secured.call(&to, &["--transport", transport, "--ca", text(&ca), "--siprec"]);
            assert!(ok, "{transport} to {host}: {report:#}\n{}", secured.server.log());
            secured.expect_recorded(&report);
        }
    }
    // Held and resumed: re-INVITEs go over the same connection. And a `sips` URI is TLS by itself.
    let to = format!("sips:rec@127.0.0.1:{}", secured.tls);
    let (report, ok) = secured.call(&to, &["--ca", text(&ca), "--duration", "3s", "--hold", "1s@1s"]);
    assert!(ok, "{report:#}");
    secured.expect_recorded(&report);
}

#[test]
fn a_server_that_is_not_trusted_is_not_called_unless_one_insists() {
    let secured = Secured::start(&[]);
    let to = format!("sip:rec@127.0.0.1:{};transport=tls", secured.tls);
    let stranger = Authority::new(secured.server.directory(), "stranger");
    let (report, ok) = secured.call(&to, &["--ca", text(&stranger.file())]);
    assert!(!ok, "{report:#}");
    let (report, ok) = secured.call(&to, &["--insecure"]);
    assert!(ok, "{report:#}");
}

#[test]
fn mutual_tls_lets_in_who_has_a_certificate_and_nobody_else() {
    let secured = Secured::start(&[("TLS__CLIENT_AUTH", "require")]);
    let (server, ca) = (&secured.server, secured.authority.file());
    let sbc = secured.authority.issue("sbc.example");
    let stranger = Authority::new(server.directory(), "stranger").issue("stranger.example");
    for (transport, port) in [("tls", secured.tls), ("wss", secured.wss)] {
        let to = format!("sip:rec@127.0.0.1:{port}");
        let common = ["--transport", transport, "--ca", text(&ca)];
        let with = |identity: &Identity| {
            let (certificate, key) = (text(&identity.certificate).to_owned(), text(&identity.key).to_owned());
            let own = ["--cert", &certificate, "--key", &key];
            secured.call(&to, &[&common[..], &own[..]].concat())
        };
        let (report, ok) = with(&sbc);
        assert!(ok, "{report:#}");
        secured.expect_recorded(&report);
        assert!(!with(&stranger).1, "a certificate of another authority");
        assert!(!secured.call(&to, &common).1, "no certificate");
    }
    let log = server.log();
    assert!(log.contains("sbc.example"), "who it is, is known");
    let told = log.matches("the TLS certificate of a SIP peer is not trusted").count();
    assert_eq!(told, 1, "four refusals of one source are told once:\n{log}");
}

#[test]
fn certificates_tell_trunks_apart() {
    let secured = Secured::start(&[
        ("TLS__CLIENT_AUTH", "request"),
        ("TRUNK__BONN__TLS_NAMES", "sbc.bonn.example"),
        ("TRUNK__BONN__TENANT", "bonn"),
        ("TRUNK__KOELN__TLS_NAMES", "*.koeln.example"),
        ("TRUNK__KOELN__TENANT", "koeln"),
        ("TENANT__BONN__DISPLAY_NAME", "Bonn"),
        ("TENANT__KOELN__DISPLAY_NAME", "Köln"),
    ]);
    let (server, ca) = (&secured.server, secured.authority.file());
    let [bonn, koeln, other] = ["sbc.bonn.example", "two.koeln.example", "sbc.aachen.example"]
        .map(|name| secured.authority.issue(name));
    for (transport, port) in [("tls", secured.tls), ("wss", secured.wss)] {
        let to = format!("sip:rec@127.0.0.1:{port}");
        let common = ["--transport", transport, "--ca", text(&ca)];
        let with = |identity: &Identity| {
            let own = ["--cert", text(&identity.certificate), "--key", text(&identity.key)];
            secured.call(&to, &[&common[..], &own[..]].concat())
        };
        for (identity, name) in [(&bonn, "bonn"), (&koeln, "koeln")] {
            let (report, ok) = with(identity);
            assert!(ok, "{name}: {report:#}");
            let call = report["sip_call_id"].as_str().unwrap();
            let recorded = wait_until("the call to be sealed", PATIENCE, || match server.recorded(call) {
                Some(recorded) if recorded.sealed => Ok(recorded),
                other => Err(format!("{other:?}")),
            });
            let segment = recorded.segment();
            assert_eq!((segment.tenant.as_str(), segment.data.extra["trunk"].as_str()), (name, name));
        }
        // Another name, which the authority vouches for all the same, and none at all.
        for (report, ok) in [with(&other), secured.call(&to, &common)] {
            assert!(!ok, "{report:#}");
            assert_eq!(report["status"], 403, "{report:#}");
        }
    }
    // Where nobody can prove anything.
    let (report, _) = secured.call(&format!("sip:rec@{}", server.sip_address()), &[]);
    assert_eq!(report["status"], 403, "{report:#}");
    assert_eq!(server.recordings().len(), 4, "two of each");
}

#[test]
fn certificates_change_under_a_call_that_goes_on() {
    let secured = Secured::start(&[]);
    let (server, ca) = (&secured.server, secured.authority.file());
    let to = format!("sip:rec@127.0.0.1:{};transport=tls", secured.tls);
    let mut command = server.command();
    let arguments = ["call", "--to", &to, "--ca", text(&ca), "--duration", "5s", "--hold", "1s@3s", "--json"];
    command.args(arguments);
    let mut long = Program::start(command, &server.directory().join("long"));
    wait_until("the call to be up", PATIENCE, || match &server.calls()[..] {
        [_] => Ok(()),
        other => Err(format!("{other:?}")),
    });

    // A file that is broken: the old certificate stays.
    std::fs::write(&secured.identity.certificate, "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    server.callspool(&["reload"]);
    wait_until("the reason to be told", PATIENCE, || match server.log() {
        log if log.contains("the TLS certificates stay as they were") => Ok(()),
        log => Err(log),
    });
    assert!(secured.call(&to, &["--ca", text(&ca)]).1, "still the old certificate");
    wait_for_alarm(server, true);

    // Another authority: who trusts only the old one is refused by itself, who trusts the new one is not.
    let other = Authority::new(server.directory(), "other");
    other.issue_into("recorder.example", &secured.identity);
    server.callspool(&["reload"]).expect_ok("reload");
    assert!(!secured.call(&to, &["--ca", text(&ca)]).1, "the old certificate is gone");
    wait_for_alarm(server, false);
    let (report, ok) = secured.call(&to, &["--ca", text(&other.file())]);
    assert!(ok, "{report:#}");

    assert!(long.wait(PATIENCE).success(), "{}", long.output());
    let report: Value = serde_json::from_str(long.output().lines().next().unwrap()).unwrap();
    secured.expect_recorded(&report);
}

/// Waits until the alarm about files of certificates is raised, or is not any more.
fn wait_for_alarm(server: &Server, is_raised: bool) {
    wait_until("the alarm to be raised or cleared", PATIENCE, || {
        let alarms = server.callspool(&["alarms", "--json"]).text().to_owned();
        let is_told = alarms.lines().any(|a| {
            let alarm: Value = serde_json::from_str(a).unwrap();
            alarm["kind"] == "certificate-unusable"
                && alarm["text"].as_str().unwrap().contains("recorder.example.pem")
        });
        if is_told == is_raised { Ok(()) } else { Err(alarms) }
    });
}

#[test]
fn files_that_cannot_be_used_are_named_at_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Server::prepare(&[]);
    let authority = Authority::new(server.directory(), "authority");
    let (one, other) = (authority.issue("one.example"), authority.issue("other.example"));
    server.set("SIP__TLS", &format!("127.0.0.1:{}", server.ports().next()));
    let expect = |server: &Server, whys: &[&str]| {
        let done = server.callspool(&["serve"]);
        assert!(done.code != Some(0));
        whys.iter().for_each(|why| assert!(done.err.contains(why), "{why}: {}", done.err));
    };
    expect(&server, &["TLS needs a certificate", "tls.key"]);
    server.set("TLS__CERTIFICATE", text(&one.certificate));
    server.set("TLS__KEY", text(&other.key));
    expect(&server, &["one.example.pem", "the key that belongs to the certificate"]);
    server.set("TLS__KEY", text(&one.key));
    std::fs::set_permissions(&one.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    expect(&server, &["one.example.key", "mode 644", "chmod o="]);
}

#[test]
fn a_softphone_over_tls_is_heard() {
    let secured = Secured::start(&[]);
    let wav = secured.server.directory().join("tone.wav");
    audio::write_tones(&wav, &[(440.0, 10.0)]);
    let ca = secured.authority.file();
    let length = Duration::from_secs(4);
    let softphone =
        Baresip::call_over_tls(&secured.server, secured.tls, &ca, "4711", &wav, length, "PCMA/8000/1");
    let sent = softphone.finish();
    wait_until("the call to be complete", PATIENCE, || match &secured.server.calls()[..] {
        [call] if call.state == "complete" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let recorded = secured.server.recordings().remove(0);
    assert_eq!(recorded.stream().accounting.received, sent);
    let begin = recorded.stream().anchors[0].position_us as f64 / 1e6;
    let heard = &secured.server.export(&recorded.id(), &[])[0];
    heard.cut(begin + 0.5, begin + 2.5).expect_tone("the softphone", 440.0, &[1_000.0]);
}
