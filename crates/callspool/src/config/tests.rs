//! Tests of the configuration: files and variables in, what is in effect or what is told about them out; and
//! the reference in the docs against the declaration.

use std::path::PathBuf;
use std::time::Duration;

use expect_test::{expect, expect_file};
use model::NodeNumber;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::declare::Setting;
use super::source::Values;
use super::tables::{TABLES, Tables};
use super::values::{Size, duration_text, parse_duration};
use super::{Config, Loaded, Problem, Surroundings, load, print};

fn around(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        directory: PathBuf::from("/srv"),
        has_ipv6: true,
        host_name: "recorder-1".to_owned(),
    }
}

pub(in crate::config) fn load_text(toml: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, toml).unwrap();
    load(Some(&path), &around(variables)).map_err(|problems| {
        let short = |p: Problem| Problem { place: p.place.replace(&*path.to_string_lossy(), "c.toml"), ..p };
        problems.into_iter().map(short).collect()
    })
}

/// What is told about a configuration that is refused.
#[track_caller]
pub(in crate::config) fn refused(toml: &str, variables: &[(&str, &str)], expected: expect_test::Expect) {
    let problems = load_text(toml, variables).expect_err("it must be refused");
    expected.assert_eq(&problems.iter().map(|p| format!("{p}\n")).collect::<String>());
}

fn setting(config: &Config, section: &str, key: &str) -> Option<String> {
    let section = super::sections::SECTIONS.iter().find(|s| s.name == section)?;
    section.keys.iter().find(|k| k.name == key).map(|k| (k.effective)(config))
}

/// What a setting is in effect.
#[track_caller]
fn in_effect(toml: &str, variables: &[(&str, &str)], section: &str, key: &str, expected: &str) {
    let loaded = load_text(toml, variables).unwrap();
    assert_eq!(setting(&loaded.config, section, key).as_deref(), Some(expected));
}

#[test]
fn what_is_not_declared_is_refused_with_the_nearest_name() {
    refused(
        "[sip]\n\nudpp = []\n",
        &[],
        expect![[r#"
        c.toml:3: [sip] has no key 'udpp'; did you mean 'udp'?
    "#]],
    );
    refused(
        "[spi]\nudp = []\n",
        &[],
        expect![[r#"
        c.toml:1: there is no section 'spi'; did you mean [sip]?
    "#]],
    );
    refused(
        "[media]\nlinger = \"3s\"\n",
        &[],
        expect![[r#"
        c.toml:2: [media] has no key 'linger'; it belongs into [recording]
    "#]],
    );
    refused(
        "data_dir = \"/x\"\n",
        &[],
        expect![[r#"
        c.toml:1: 'data_dir' stands outside its section; move it below [node]
    "#]],
    );
    refused(
        "[log]\nquite_something_else = 1\n",
        &[],
        expect![[r#"
        c.toml:2: [log] has no key 'quite_something_else'; remove it, or see docs/configuration.md for what [log] has
    "#]],
    );
    refused(
        "",
        &[("CALLSPOOL_SIP__LISTEN", "x"), ("CALLSPOOL_MEDIA_TICK", "5ms")],
        expect![[r#"
        CALLSPOOL_SIP__LISTEN: no setting has this variable; did you mean CALLSPOOL_API__LISTEN?
        CALLSPOOL_MEDIA_TICK: no setting has this variable; did you mean CALLSPOOL_MEDIA__TICK?
    "#]],
    );
}

#[test]
fn named_tables_are_read_from_file_and_environment() {
    let file = "[tenant.acme]\nmax_calls = 5\n\n[trunk.sbc-1]\nfrom = [\"192.0.2.0/24\", \"2001:db8::1\"]\ntenant = \"acme\"\n[trunk.sbc-2]\n";
    let loaded = load_text(
        file,
        &[("CALLSPOOL_TRUNK__SBC_2__FROM", "10.0.0.1, 10.1.0.0/16"), ("CALLSPOOL_TENANT__B__MAX_CALLS", "7")],
    )
    .unwrap();
    let shown: Vec<String> = print::effective_toml(&loaded)
        .replace(&loaded.file.as_ref().unwrap().display().to_string(), "c.toml")
        .lines()
        .skip_while(|line| *line != "[trunk.sbc-1]")
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(str::to_owned)
        .filter(|line| ["from", "tenant =", "max_c", "["].iter().any(|s| line.starts_with(s)))
        .collect();
    expect![[r#"
        [trunk.sbc-1]
        from = ["192.0.2.0/24", "2001:db8::1"]  # c.toml:5
        tenant = "acme"  # c.toml:6
        max_calls = 0
        max_calls_per_second = 0
        [trunk.sbc-2]
        from = ["10.0.0.1", "10.1.0.0/16"]  # CALLSPOOL_TRUNK__SBC_2__FROM
        tenant = ""
        max_calls = 0
        max_calls_per_second = 0
        [tenant.acme]
        max_calls = 5  # c.toml:2
        [tenant.b]
        max_calls = 7  # CALLSPOOL_TENANT__B__MAX_CALLS"#]]
    .assert_eq(&shown.join("\n"));
    let json = print::effective_json(&loaded);
    assert_eq!(json["tenant"]["b"]["max_calls"]["value"], 7);
    assert_eq!(load_text(&print::effective_toml(&loaded), &[]).unwrap().config, loaded.config);
}

#[test]
fn what_is_wrong_with_a_named_table_is_told_with_its_line() {
    refused(
        "[trunk]\nfrom = []\n[trunk.a]\nform = []\n[trunk.B_1]\n[trunk.c]\nfrom = [\"192.0.2.7/24\"]\n\n[tenant.acme]\n[trunk.d]\nfrom = \"10.0.0.1\"\ntenant = \"acne\"\n[trunks.e]\n",
        &[("CALLSPOOL_TRUNK__F__FORM", "x"), ("CALLSPOOL_TRUNK__G!__FROM", "x")],
        expect![[r#"
            c.toml:5: 'B_1' cannot be the name of a trunk; give 1 to 63 of a-z, 0-9 and '-', beginning and ending with a-z or 0-9
            c.toml:4: [trunk.a] has no key 'form'; did you mean 'from'?
            c.toml:2: each 'trunk' has a name; write [trunk.NAME], with a name of your own, and the keys below
            c.toml:13: there is no section 'trunks'; did you mean [trunk.NAME]?
            CALLSPOOL_TRUNK__F__FORM: no setting has this variable; did you mean CALLSPOOL_TRUNK__F__FROM?
            CALLSPOOL_TRUNK__G!__FROM: 'g!' cannot be the name of a trunk; give 1 to 63 of a-z, 0-9 and '-', beginning and ending with a-z or 0-9
            c.toml:7 trunk.c.from: '192.0.2.7/24' has bits beyond its length; the range is 192.0.2.0/24; give an IP address, or a range such as "192.0.2.0/24" or "2001:db8::/32"
            c.toml:12 trunk.d.tenant: there is no tenant 'acne'; did you mean 'acme'? Else write [tenant.acne]
            c.toml:3 trunk.a.from: it says not who may send; name the addresses that its calls come from, or tls_names; everybody is [trunk.default]
            c.toml:7 trunk.c.from: it says not who may send; name the addresses that its calls come from, or tls_names; everybody is [trunk.default]
        "#]],
    );
    let many: String = (0..1_001).map(|n| format!("[tenant.t{n}]\n")).collect();
    refused(
        &many,
        &[],
        expect![[r#"
            [tenant.NAME]: there are 1001 tables of this kind, and at most 1000 are taken; join or remove some
        "#]],
    );
}

#[test]
fn what_is_wrong_with_a_webhook_is_told() {
    refused(
        "[webhook.a]\n[webhook.b]\nurl = \"alerts.example.com\"\n[webhook.c]\nurl = \"http://a.example/\"\n\
         events = [\"calls\", \"alarm:disk-*\"]\nseverity = \"bad\"\ntimeout = \"2m\"\nca = \"ca.pem\"\nkey = \"x\"\n\
         [webhook.d]\nurl = \"https://a.example/\"\nevents = []\nalarm_after = \"0s\"\ncertificate = \"c\"\n",
        &[],
        expect![[r#"
            c.toml:3 webhook.b.url: it begins with neither http:// nor https://; give an address such as "https://alerts.example.com/callspool"
            c.toml:6 webhook.c.events: 'calls' is no kind of event; give call, segment, copy, tag, metadata, joined, sides, alarm, "alarm:disk-*" for some of them, or "*" for all
            c.toml:7 webhook.c.severity: 'bad' is no severity; give notice, warning or critical
            c.toml:1 webhook.a.url: it says not where to; give the address that events are posted to
            c.toml:9 webhook.c.ca: http:// has no certificates; write https:// in url, or leave it out
            c.toml:4 webhook.c.certificate: a certificate and its key go together; give both, or none
            c.toml:8 webhook.c.timeout: 2m is out of range; give 500ms to 1m
            c.toml:13 webhook.d.events: nothing would be told; name events, or leave it out
            c.toml:11 webhook.d.key: a certificate and its key go together; give both, or none
            c.toml:14 webhook.d.alarm_after: 0s is out of range; give 1s to 1d
        "#]],
    );
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    assert!(load_text("", &[("CALLSPOOL_TEST_DIR", "x"), ("SIP__UDP", "x"), ("CALLSPOOL", "x")]).is_ok());
}

#[test]
fn values_that_cannot_be_read_are_refused_with_line_reason_and_cure() {
    refused(
        "[sip]\nudp = [\"localhost:5060\"]\ntcp = 5060\n[media]\nport_min = 70000\ntick = \"5\"\n[recording]\nmin_free_space = \"1 gig\"\ninactive_means = \"stop\"\n",
        &[("CALLSPOOL_NODE__NUMBER", "1024")],
        expect![[r#"
            CALLSPOOL_NODE__NUMBER: 1024 is out of range; give a number from 0 to 1023
            c.toml:2 sip.udp: 'localhost:5060' is no IP address with a port; give an IP address with a port, such as "0.0.0.0:5060" or "[::]:5060"
            c.toml:3 sip.tcp: an integer is no list; give an IP address with a port, such as "0.0.0.0:5060" or "[::]:5060"
            c.toml:5 media.port_min: '70000' is no number from 0 to 65535; give a number from 0 to 65535
            c.toml:6 media.tick: '5' is no time with a unit; give a time with a unit (ms, s, m, h, d), such as "20s"
            c.toml:9 recording.inactive_means: 'stop' is not known; give one of: hold pause
            c.toml:8 recording.min_free_space: '1 gig' is no size with a unit; give a size with a unit (B, KiB, MiB, GiB, TiB), such as "4MiB"
        "#]],
    );
    refused(
        "[sip\nudp = []",
        &[],
        expect![[r#"
        c.toml:1: not valid TOML: unclosed table, expected `]`; correct the line
    "#]],
    );
}

#[test]
fn settings_that_cannot_work_together_are_refused() {
    refused(
        "[media]\nport_min = 5001\nport_max = 6000\ntick = \"2s\"\n[sip]\nmin_se = \"1h\"\nmax_sessions = 0\n",
        &[],
        expect![[r#"
            c.toml:4 media.tick: 2s is out of range; give 1ms to 50ms
            c.toml:7 sip.max_sessions: 0 would refuse everything; give 1 or more
            c.toml:6 sip.min_se: it is longer than session_expires; give at most session_expires
            c.toml:2 media.port_min: 5001 cannot begin the range; give an even port from 1024 on
            c.toml:3 media.port_max: 6000 cannot end the range; give an odd port
            sip.udp: 0.0.0.0:5060 lies within the media ports 5001 to 6000; choose another port, or another range
        "#]],
    );
    refused(
        "[media]\nstreams_per_port = 65\n",
        &[],
        expect![[r#"
            c.toml:2 media.streams_per_port: 65 streams; give 1 to 64
        "#]],
    );
    refused(
        "[api]\nlisten = \"0.0.0.0:8080\"\n",
        &[],
        expect![[r#"
        c.toml:2 api.listen: 0.0.0.0:8080 can be reached from other machines; listen on 127.0.0.1, or name in allowed_hosts the host names that may be used
    "#]],
    );
    refused(
        "[log]\nlevel = \"callspool=loud\"\n",
        &[],
        expect![[r#"
        c.toml:2 log.level: 'callspool=loud' is no filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5; give error, warn, info, debug or trace
    "#]],
    );
    refused(
        "[node]\nroles = []\n[sip]\nadvertised_v4 = \"::1\"\nudp = [\"1.2.3.4:20000\"]\n",
        &[],
        expect![[r#"
            c.toml:4 sip.advertised_v4: ::1 is of the other family; use the other key
            c.toml:5 sip.udp: 1.2.3.4:20000 lies within the media ports 16384 to 32767; choose another port, or another range
            c.toml:2 node.roles: a node without a role does nothing; name proxy, recorder, api, link-protector or several
        "#]],
    );
    refused(
        "[recording]\ntenant = \"live\"\n",
        &[],
        expect![[r#"
            c.toml:2 recording.tenant: 'live' is the directory of what is being recorded; choose another name
        "#]],
    );
    assert!(
        load_text("[api]\nlisten = \"0.0.0.0:8080\"\nallowed_hosts = [\"rec.example.com\"]\n", &[]).is_ok()
    );
}

#[test]
fn a_record_server_gathers_from_peers_and_what_cannot_be_is_told() {
    let nodes = "[cluster]\nlisten = [\"192.0.2.1:5070\"]\nca = \"/ca\"\ncertificate = \"/c\"\nkey = \"/k\"\n\
        [media]\nlisten_v4 = \"192.0.2.1\"\nlisten_v6 = \"\"\n[peer.rec2]\naddress = \"192.0.2.2:5070\"\n";
    let node = |roles: &str, rest: &str| format!("[node]\nnumber = 1\nroles = [{roles}]\n{nodes}{rest}");
    assert!(load_text(&node("\"recorder\"", ""), &[]).is_ok());
    refused(
        &node("\"recorder\"", "[gathering]\nmode = \"off\"\nwindow = \"22-05\"\nrate = \"0B\"\n"),
        &[],
        expect![[r#"
        c.toml:16 gathering.window: '22' is no time of a day; give hours of a day, such as "22:00-05:00", or nothing for all of it
        c.toml:15 gathering.mode: there are peers to gather from, and this record server does not gather; give gather or virtual, or remove [peer.NAME]
        c.toml:17 gathering.rate: nothing would ever be fetched; give 1MiB or more; gathering.mode = "virtual" fetches nothing
    "#]],
    );
    // The page of a node that does nothing else plays what they have.
    let api = node("\"api\"", "").replace("listen = [\"192.0.2.1:5070\"]\n", "");
    assert!(load_text(&api, &[]).is_ok());
    refused(
        &format!("{api}[elsewhere]\nrate = \"0B\"\n"),
        &[],
        expect![[r#"
        c.toml:14 elsewhere.rate: nothing would ever be fetched to be played; give 1MiB or more; elsewhere.cache = "0B" fetches nothing
    "#]],
    );
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_default() {
    let file = "[sip]\nudp = [\"127.0.0.1:5070\"]\n[recording]\nlinger = \"1m\"\n";
    in_effect(file, &[], "sip", "udp", r#"["127.0.0.1:5070"]"#);
    in_effect(
        file,
        &[("CALLSPOOL_SIP__UDP", "[::1]:5080,127.0.0.1:5080")],
        "sip",
        "udp",
        r#"["[::1]:5080", "127.0.0.1:5080"]"#,
    );
    in_effect(file, &[("CALLSPOOL_SIP__UDP", r#"["[::1]:5080"]"#)], "sip", "udp", r#"["[::1]:5080"]"#);
    in_effect(file, &[("CALLSPOOL_SIP__UDP", "")], "sip", "udp", "[]");
    in_effect(file, &[("CALLSPOOL_NODE__NAME", "123")], "node", "name", r#""123""#);
    in_effect(
        file,
        &[("CALLSPOOL_SIP__LARGE_REQUESTS_OVER_UDP", "false")],
        "sip",
        "large_requests_over_udp",
        "false",
    );
    in_effect(file, &[], "recording", "linger", r#""1m""#);
    in_effect(file, &[], "recording", "flush", r#""100ms""#);
}

#[test]
fn what_follows_from_other_settings_is_filled_in() {
    in_effect("", &[], "node", "name", r#""recorder-1""#);
    in_effect("", &[], "recording", "repository", r#""/srv/.state/repository""#);
    let moved = "[node]\ndata_dir = \"/data\"\n[catalog]\npath = \"other.db\"\n";
    in_effect(moved, &[], "api", "token_file", r#""/data/token""#);
    in_effect(moved, &[], "catalog", "path", r#""/srv/other.db""#);
}

#[test]
fn a_machine_without_ipv6_is_not_asked_for_it_unless_somebody_said_so() {
    let without = Surroundings { has_ipv6: false, ..around(&[]) };
    let config = Config::embedded(&without).unwrap();
    assert!(config.media.listen_v6.is_none() && config.sip.udp.iter().all(|a| a.is_ipv4()));
    assert!(Config::embedded(&around(&[])).unwrap().sip.udp.iter().any(|a| a.is_ipv6()));
    let asked = Surroundings { has_ipv6: false, ..around(&[("CALLSPOOL_SIP__UDP", "[::]:5060")]) };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.toml"), "").unwrap();
    assert_eq!(load(Some(&dir.path().join("c.toml")), &asked).unwrap().config.sip.udp.len(), 1);
}

#[test]
fn files_that_cannot_be_read_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let tell = |path: PathBuf| {
        load(Some(&path), &around(&[])).unwrap_err()[0]
            .to_string()
            .replace(&*dir.path().to_string_lossy(), "D")
    };
    std::fs::write(dir.path().join("latin1"), b"[node]\nname = \"\xe9\"").unwrap();
    expect!["D/none: there is no such file; name an existing file, or leave --config out"]
        .assert_eq(&tell(dir.path().join("none")));
    expect!["D/latin1: it is not UTF-8 text; save it as UTF-8"].assert_eq(&tell(dir.path().join("latin1")));
    expect!["D: it is a directory; name the file in it"]
        .assert_eq(&tell(dir.path().to_owned()).replace("D/.", "D"));
}

#[test]
fn what_check_config_prints_means_the_same() {
    let loaded = load_text(
        "[sip]\nudp = [\"127.0.0.1:5070\"]\nadvertised_v4 = \"192.0.2.1:5060\"\n[log]\nlevel = \"info,callspool=debug\"\n",
        &[("CALLSPOOL_MEDIA__MEDIA_TIMEOUT", "1h30m"), ("CALLSPOOL_NODE__NUMBER", "7")],
    )
    .unwrap();
    let again = load_text(&print::effective_toml(&loaded), &[]).unwrap();
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.config.node.number, NodeNumber::new(7).unwrap());
    let embedded =
        Loaded { config: Config::embedded(&around(&[])).unwrap(), file: None, origins: Default::default() };
    assert_eq!(load_text(&print::effective_toml(&embedded), &[]).unwrap().config, embedded.config);
}

#[test]
fn every_default_is_valid() {
    assert!(load_text("", &[]).is_ok());
    for section in super::sections::SECTIONS {
        for key in section.keys {
            let line = format!("[{}]\n{} = {}\n", section.name, key.name, (key.default)());
            assert!(load_text(&line, &[]).is_ok(), "{line}");
            assert!(!key.doc.trim().is_empty() && !key.doc.contains('\n'), "{}", key.name);
        }
    }
}

#[test]
fn every_default_of_a_table_can_be_read() {
    for kind in TABLES {
        assert!(kind.doc.trim().ends_with('.'), "{}", kind.doc);
        for key in kind.keys {
            let line = format!("[{}.some-name]\n{} = {}\n", kind.name, key.name, (key.default)());
            let mut values = Values::default();
            values.add_file(std::path::Path::new("c.toml"), &line);
            let tables = Tables::read(&mut values).unwrap();
            assert_eq!((values.finish().1, (kind.names)(&tables)), (vec![], vec!["some-name"]), "{line}");
            assert!(!key.doc.trim().is_empty() && !key.doc.contains('\n'), "{}", key.name);
        }
    }
}

/// `UPDATE_EXPECT=1 cargo test -p callspool reference` writes the document anew.
#[test]
fn the_reference_in_the_docs_is_the_declaration() {
    const BEGIN: &str = "<!-- reference: generated -->\n\n";
    let document = include_str!("../../../../docs/configuration.md");
    let (head, _) =
        document.split_once(BEGIN).expect("docs/configuration.md marks where the reference begins");
    let expected = format!("{head}{BEGIN}{}", print::reference_markdown());
    expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")].assert_eq(&expected);
}

proptest! {
    #[test]
    fn times_and_sizes_round_trip(ms in any::<u32>(), octets in any::<u64>()) {
        let time = Duration::from_millis(ms.into());
        prop_assert_eq!(parse_duration(&duration_text(time)), Ok(time));
        prop_assert_eq!(Size::from_text(&Size(octets).to_string()), Ok(Size(octets)));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", lines in "[a-z\\[\\]=\"\\n .0-9]{0,60}") {
        let _ = (parse_duration(&text), Size::from_text(&text));
        let _ = load_text(&text, &[("CALLSPOOL_SIP__UDP", &text), ("CALLSPOOL_RECORDING__FLUSH", &text)]);
        let with_unknown = format!("[sip]\n{lines}\nnope = 1");
        let refused = load_text(&with_unknown, &[]).is_err();
        prop_assert!(refused);
    }
}
