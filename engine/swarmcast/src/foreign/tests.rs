use std::path::Path;
use std::thread;

use super::*;

fn clip() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/clip.mkv").to_string_lossy().into_owned()
}

#[tokio::test]
async fn it_plays_from_a_random_access_point_until_it_is_stopped_and_again_when_asked() {
    let mut switch = ForeignSwitch::new(clip());
    let source = switch.take().unwrap();
    assert!(switch.take().is_none());
    let running = thread::spawn(move || source.run());
    for _ in 0..2 {
        switch.start();
        let Some(Brought::Opened(tracks)) = switch.next().await else { panic!("it opens") };
        let Some(Brought::Unit(unit)) = switch.next().await else { panic!("it plays") };
        assert!(unit.key && lead(&tracks) == Some(unit.track));
        switch.stop();
    }
    drop(switch);
    tokio::task::spawn_blocking(move || running.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_url_that_cannot_be_opened_is_told_with_its_cause() {
    let mut switch = ForeignSwitch::new("none.ts".to_owned());
    let source = switch.take().unwrap();
    thread::spawn(move || source.run());
    switch.start();
    let lost = switch.next().await;
    assert!(matches!(lost, Some(Brought::Lost(Some(SourceError::Missing { .. })))), "{lost:?}");
    assert!(switch.next().await.is_none());
}

#[tokio::test]
async fn without_a_thread_nothing_comes_of_it() {
    let mut switch = ForeignSwitch::new(clip());
    switch.start();
    assert!(switch.next().await.is_none());
}
