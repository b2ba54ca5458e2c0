//! A receiver that is too slow for its buffer.

use super::*;

/// The system frees a full buffer by quarters: so many datagrams of 1,000 bytes are more than one.
const ROOM_AGAIN: usize = 5_000;

#[tokio::test]
async fn what_a_busy_process_misses_is_counted() {
    let at = group("239.255.9.3:24603");
    let mut listener = Joined::new(multicast("lo"), &[at]).await;
    let mut sender = Joined::new(multicast("lo"), &[at]).await;
    let numbered = |number: u32| number.to_be_bytes().into_iter().cycle().take(1_000).collect::<Bytes>();
    let number_of = |datagram: &Bytes| datagram.first_chunk().copied().map(u32::from_be_bytes);
    let sent: Vec<_> = (0..20_000).map(numbered).collect();
    let (at_once, mut behind) = sent.split_at(19_900);
    sender.send(at_once).await;
    // The count comes with the next datagram that finds room.
    let (mut received, mut dropped, mut silences, mut expected) = (Vec::new(), 0, 0, 0);
    while silences < 2 {
        let wait = timeout(SILENCE, listener.multicast.next()).await;
        if let Ok(MulticastEvent::Received { datagrams, overflow, .. }) = wait {
            let numbered = datagrams.iter().filter(|(_, datagram)| datagram.len() == 1_000);
            let numbers: Vec<_> = numbered.filter_map(|(_, datagram)| number_of(datagram)).collect();
            let first = numbers.first().copied().unwrap_or(expected);
            assert!(overflow > 0 || first == expected, "a gap before {first} is not told there");
            assert!(
                numbers.is_sorted_by(|one, next| one + 1 == *next),
                "a gap between datagrams of one event"
            );
            expected = numbers.last().map_or(expected, |last| last + 1);
            received.extend(datagrams);
            dropped += overflow;
            if received.len() > ROOM_AGAIN && !behind.is_empty() {
                // The gap lies between what still waits and these.
                sender.send(std::mem::take(&mut behind)).await;
            }
        } else if wait.is_err() {
            silences += 1;
            sender.send(&[Bytes::from_static(b"the next one")]).await;
        }
    }
    let told = received.iter().filter(|(_, datagram)| datagram == "the next one").count();
    let missing = sent.len() - (received.len() - told);
    assert!(missing > 0, "all fit the buffer");
    assert!(behind.is_empty() && received.len() > ROOM_AGAIN + 100);
    assert!(
        (missing.div_ceil(64)..=missing).contains(&(dropped as usize)),
        "{missing} missing, {dropped} told"
    );
}
