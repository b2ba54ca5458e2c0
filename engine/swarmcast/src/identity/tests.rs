use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use super::*;

struct Fixture {
    _root: tempfile::TempDir,
    state: StateDir,
    group: GroupId,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path().join("state"));
        Self { _root: root, state, group: Group::open("lobby").unwrap().id() }
    }

    fn begin(&self, wall_ms: u64) -> Result<Identity, IdentityError> {
        self.state.identity_at(self.group, "cam/1", wall_ms)
    }

    fn path(&self) -> PathBuf {
        self.state.0.join("streams").join(file_name(self.group, "cam/1"))
    }
}

#[test]
fn the_key_stays_and_the_epoch_only_rises() {
    let fixture = Fixture::new();
    let first = fixture.begin(1_000).unwrap();
    assert_eq!(first.epoch, Epoch(1_000));
    let clock_set_back = fixture.begin(500).unwrap();
    assert_eq!((clock_set_back.seed, clock_set_back.epoch), (first.seed, Epoch(1_001)));
    assert_eq!(fixture.begin(5_000).unwrap().epoch, Epoch(5_000));
}

#[test]
fn each_group_and_name_has_its_own_key() {
    let fixture = Fixture::new();
    let other_group = Group::open("hall").unwrap().id();
    let seeds = [
        fixture.begin(1).unwrap().seed,
        fixture.state.identity_at(fixture.group, "cam/2", 1).unwrap().seed,
        fixture.state.identity_at(other_group, "cam/1", 1).unwrap().seed,
    ];
    assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2] && seeds[1] != seeds[2]);
}

#[test]
fn only_the_owner_can_read_it() {
    let fixture = Fixture::new();
    fixture.begin(1).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(&fixture.state.0.join("streams")), 0o700);

    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let refused = fixture.begin(2).unwrap_err();
    assert!(matches!(refused, IdentityError::TooOpen { mode: 0o640, .. }), "{refused}");
}

#[test]
fn every_damaged_byte_is_noticed_and_the_file_kept() {
    let fixture = Fixture::new();
    fixture.begin(1_000).unwrap();
    let sound = fs::read(fixture.path()).unwrap();
    for at in 0..sound.len() {
        let mut text = sound.clone();
        text[at] ^= 1;
        fs::write(fixture.path(), &text).unwrap();
        assert!(matches!(fixture.begin(2_000), Err(IdentityError::Damaged { .. })), "byte {at}");
        assert_eq!(fs::read(fixture.path()).unwrap(), text);
    }
    for length in [0, 1, sound.len() - 1] {
        fs::write(fixture.path(), &sound[..length]).unwrap();
        assert!(matches!(fixture.begin(2_000), Err(IdentityError::Damaged { .. })), "{length} bytes");
    }
}

#[test]
fn the_last_epoch_is_refused_rather_than_used_twice() {
    let fixture = Fixture::new();
    fixture.begin(u64::MAX).unwrap();
    assert!(matches!(fixture.begin(1), Err(IdentityError::Damaged { .. })));
}

#[test]
fn a_run_that_died_while_writing_leaves_the_old_record() {
    let fixture = Fixture::new();
    let first = fixture.begin(1_000).unwrap();
    fs::write(fixture.path().with_extension("new"), b"swarmcast stream k").unwrap();
    let second = fixture.begin(1_000).unwrap();
    assert_eq!((second.seed, second.epoch), (first.seed, Epoch(1_001)));
}

#[test]
fn the_record_of_another_stream_is_refused() {
    let fixture = Fixture::new();
    fixture.begin(1).unwrap();
    let other = fixture.path().with_file_name(file_name(fixture.group, "cam/2"));
    fs::copy(fixture.path(), other).unwrap();
    let refused = fixture.state.identity_at(fixture.group, "cam/2", 2);
    assert!(matches!(refused, Err(IdentityError::Damaged { .. })));
}

#[test]
fn runs_that_start_together_get_different_epochs_and_one_key() {
    let fixture = Fixture::new();
    let start = Barrier::new(8);
    let mut runs: Vec<Identity> = std::thread::scope(|scope| {
        let run = || {
            start.wait();
            fixture.begin(1_000).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    runs.sort_by_key(|run| run.epoch);
    let epochs: Vec<u64> = runs.iter().map(|run| run.epoch.0).collect();
    assert_eq!(epochs, (1_000..1_008).collect::<Vec<_>>());
    assert!(runs.iter().all(|run| run.seed == runs[0].seed));
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let state = StateDir::at(file.path());
    let refused = state.identity_at(GroupId([0; 16]), "cam", 1).unwrap_err();
    assert!(refused.to_string().contains(file.path().to_str().unwrap()), "{refused}");
}
