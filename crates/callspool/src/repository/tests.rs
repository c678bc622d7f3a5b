//! Which files of a directory are taken for recordings, and how several volumes are read as one.

use super::*;

fn repository() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new(dir.path());
    (dir, repository)
}

fn id(n: u64) -> CallId {
    CallId::from_u64(n)
}

#[test]
fn only_calls_are_walked_the_newest_day_first() {
    let (dir, repository) = repository();
    let (a, b, c) = (id(1), id(2), id(3));
    for path in [
        format!("default/2026-11-19/{c}"),
        format!("default/2026-11-20/{a}"),
        format!("acme/2026-11-20/{b}"),
        format!("live/2026-11-20/{b}"),
        "default/2026-11-20/no call".to_owned(),
        format!("default/no date/{a}"),
        format!("No Tenant/2026-11-20/{a}"),
    ] {
        std::fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    std::fs::write(dir.path().join(format!("default/2026-11-20/{}", id(9))), "a file").unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join(format!("default/2026-11-20/{}", id(8))))
        .unwrap();
    let found: Vec<String> = repository.call_directories().map(Result::unwrap).collect();
    let expected = [
        format!("default/2026-11-20/{a}"),
        format!("acme/2026-11-20/{b}"),
        format!("default/2026-11-19/{c}"),
    ];
    assert_eq!(found, expected);
    assert_eq!(repository.find(c).unwrap().as_deref(), Some(&*expected[2]));
    assert_eq!(repository.find(id(8)).unwrap(), None);
}

#[test]
fn nothing_outside_is_opened() {
    let (dir, repository) = repository();
    std::fs::write(dir.path().join("x"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    assert!(repository.open("x").is_ok());
    for path in ["../x", "/etc/passwd", "a/../../x", "link"] {
        assert!(repository.open(path).is_err(), "{path}");
    }
    assert_eq!(repository.list("").unwrap(), ["x"]);
}

#[test]
fn a_repository_has_one_owner() {
    let (_dir, repository) = repository();
    let lock = repository.lock().unwrap();
    let refused = repository.lock().unwrap_err().to_string();
    assert!(refused.contains("another callspool runs on it; stop that one"), "{refused}");
    drop(lock);
    assert!(repository.lock().is_ok());
}

#[test]
fn a_repository_that_is_not_there_is_told_of() {
    let repository = Repository::new(Path::new("/nonexistent/repository"));
    assert_eq!(repository.manifests("default/2026-11-20/x").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(repository.call_directories().next().unwrap().is_err());
    assert!(repository.live_markers().unwrap().markers.is_empty());
}

#[test]
fn a_call_on_two_volumes_is_one_call_and_a_volume_that_is_away_is_skipped() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let place = |n: usize| Place::new(format!("disk{n}").parse().unwrap(), dirs[n].path());
    let places = vec![place(0), place(1)];
    let away = Arc::clone(&places[1].away);
    let repository = Repository::of(places);
    let call = format!("default/2026-11-20/{}", id(1));
    for (n, name) in ["001.json", "002.json"].into_iter().enumerate() {
        std::fs::create_dir_all(dirs[n].path().join(&call)).unwrap();
        std::fs::write(dirs[n].path().join(&call).join(name), "spoiled").unwrap();
    }
    let names = || -> Vec<_> {
        let found = repository.manifests(&call).unwrap().into_iter();
        found.map(|m| format!("{} {}", m.volume, m.name)).collect()
    };
    assert_eq!(repository.call_directories().map(Result::unwrap).collect::<Vec<_>>(), [call.as_str()]);
    assert_eq!(names(), ["disk0 001.json", "disk1 002.json"]);
    assert_eq!(repository.list(&call).unwrap(), ["001.json", "002.json"]);
    assert!(repository.open(&format!("{call}/002.json")).is_ok());
    away.store(true, Ordering::Relaxed);
    assert_eq!(names(), ["disk0 001.json"]);
    assert!(repository.open(&format!("{call}/002.json")).is_err());
    assert!(repository.has(&"disk0".parse().unwrap()) && !repository.has(&"disk1".parse().unwrap()));
}
