//! A relay between a source and a sink, each on a thread and runtime of its own; the relay's alone is measured.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use iroh::EndpointAddr;
use nix::time::ClockId;
use swarmcast_net::PeerAddress;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::interval;

use super::{Cost, Outcome, Plan, cpu, plain, swarm};

/// When the relay's measure begins, and when it ends.
type Marks = (oneshot::Receiver<()>, oneshot::Receiver<()>);

/// What tells the relay of them.
struct Stopwatch {
    begin: oneshot::Sender<()>,
    end: oneshot::Sender<()>,
}

fn stopwatch() -> (Stopwatch, Marks) {
    let ((begin, began), (end, ended)) = (oneshot::channel(), oneshot::channel());
    (Stopwatch { begin, end }, (began, ended))
}

/// Returns the processor time of this thread between the marks.
async fn measure((began, ended): Marks) -> Outcome<Duration> {
    began.await?;
    let before = cpu(ClockId::CLOCK_THREAD_CPUTIME_ID);
    ended.await?;
    Ok(cpu(ClockId::CLOCK_THREAD_CPUTIME_ID) - before)
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| "a thread panicked")?
}

/// A bare relay: what it reads it sends on.
pub(super) fn plain(plan: Plan) -> Outcome<Cost> {
    let (watch, marks) = stopwatch();
    let ((at_relay, to_relay), (at_sink, to_sink)) = (sync_channel(1), sync_channel(1));
    thread::scope(|scope| {
        let sink = scope.spawn(move || runtime()?.block_on(plain_sink(at_sink)));
        let relay = scope.spawn(move || runtime()?.block_on(plain_relay(at_relay, to_sink, marks)));
        runtime()?.block_on(plain_source(plan, to_relay, watch))?;
        let (cpu, received) = (joined(relay)?, joined(sink)?);
        let delivered = received.saturating_sub(plan.unit_bytes * plan.warm_up as usize);
        Ok(Cost { delivered, cpu, upload: 1.0 })
    })
}

async fn plain_source(plan: Plan, relay: Receiver<EndpointAddr>, watch: Stopwatch) -> Outcome<()> {
    let endpoint = plain::endpoint().await?;
    let connection = plain::dial(&endpoint, relay.recv()?).await?;
    let units = plain::batch(plan);
    let mut pace = interval(plan.period());
    let mut begin = Some(watch.begin);
    for unit in 0..plan.warm_up + plan.units {
        pace.tick().await;
        if unit == plan.warm_up {
            begin.take().into_iter().for_each(|begin| _ = begin.send(()));
        }
        connection.send_many_datagrams(&units)?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    _ = watch.end.send(());
    connection.close(0u32.into(), b"");
    endpoint.close().await;
    Ok(())
}

async fn plain_relay(
    own: SyncSender<EndpointAddr>,
    sink: Receiver<EndpointAddr>,
    marks: Marks,
) -> Outcome<Duration> {
    let endpoint = plain::endpoint().await?;
    own.send(plain::address(&endpoint)?)?;
    let onward = plain::dial(&endpoint, sink.recv()?).await?;
    let connection = plain::accept(&endpoint).await?;
    let pass_on = async {
        let mut slots = vec![Bytes::new(); 64];
        while let Ok(count) = connection.read_many_datagrams(&mut slots).await {
            let _ = onward.send_many_datagrams(&slots[..count]);
        }
        std::future::pending().await
    };
    let spent = tokio::select! {
        spent = measure(marks) => spent,
        () = pass_on => Err("the source is gone".into()),
    };
    onward.close(0u32.into(), b"");
    endpoint.close().await;
    spent
}

async fn plain_sink(own: SyncSender<EndpointAddr>) -> Outcome<usize> {
    let endpoint = plain::endpoint().await?;
    own.send(plain::address(&endpoint)?)?;
    let connection = plain::accept(&endpoint).await?;
    Ok(plain::count(endpoint, connection).await)
}

/// A node: it verifies what it passes on, and watches the stream itself.
pub(super) fn swarmcast(plan: Plan) -> Outcome<Cost> {
    let (watch, marks) = stopwatch();
    let ((at_source, to_source), (at_relay, to_relay)) = (sync_channel(1), sync_channel(1));
    thread::scope(|scope| {
        let relay = scope.spawn(move || runtime()?.block_on(relay(plan, to_source, at_relay, marks)));
        let sink = scope.spawn(move || runtime()?.block_on(sink(plan, to_relay)));
        runtime()?.block_on(source(plan, at_source, watch))?;
        let (cpu, delivered) = (joined(relay)?, joined(sink)?);
        Ok(Cost { delivered, cpu, upload: 1.0 })
    })
}

/// Has a place for the relay only.
async fn source(plan: Plan, own: SyncSender<PeerAddress>, watch: Stopwatch) -> Outcome<()> {
    let node = swarm::node(Vec::new(), Some(1)).await?;
    let publication = swarm::publish(&node, plan).await?;
    own.send(swarm::here(&node))?;
    let mut begin = Some(watch.begin);
    let warm = || begin.take().into_iter().for_each(|begin| _ = begin.send(()));
    swarm::send(&publication, plan, warm).await?;
    _ = watch.end.send(());
    publication.end().await?;
    node.close().await;
    Ok(())
}

async fn relay(
    plan: Plan,
    source: Receiver<PeerAddress>,
    own: SyncSender<PeerAddress>,
    marks: Marks,
) -> Outcome<Duration> {
    let node = swarm::node(vec![source.recv()?], None).await?;
    let watched = tokio::spawn(swarm::count(swarm::watch(&node, plan).await?, plan));
    own.send(swarm::here(&node))?;
    let spent = measure(marks).await;
    watched.await?;
    node.close().await;
    spent
}

async fn sink(plan: Plan, relay: Receiver<PeerAddress>) -> Outcome<usize> {
    let node = swarm::node(vec![relay.recv()?], None).await?;
    let received = swarm::count(swarm::watch(&node, plan).await?, plan).await;
    node.close().await;
    Ok(received)
}
