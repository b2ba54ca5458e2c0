//! A node that dies without a word is noticed within the idle time of a path.
//!
//! The node that dies is this test program again, started with a role in its environment.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use swarmcast_core::group::GroupSpec;
use swarmcast_net::{NetConfig, PeerAddress, bind, now};
use tokio::time::timeout;

const ROLE: &str = "SWARMCAST_TEST_DIES";

/// The 3 s of the path's idle time, and the scheduling of a busy machine.
const NOTICED_MAX: Duration = Duration::from_millis(4500);

/// A process that is killed when its test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config() -> NetConfig {
    let mut config = NetConfig::new(GroupSpec::open("killed").expect("valid"));
    config.discovery = false;
    config.interfaces = vec!["lo".into()];
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_neighbour_is_noticed_within_seconds() {
    let program = std::env::current_exe().expect("a test program has a path");
    let child = Command::new(program)
        .args(["--exact", "node_of_another_test", "--nocapture"])
        .env(ROLE, "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut other = Running(child.expect("this program runs"));
    let told = BufReader::new(other.0.stdout.take().expect("piped")).lines();
    let port = told.map_while(Result::ok).find_map(|line| line.split_once("port ")?.1.parse::<u16>().ok());
    let port = port.expect("it tells its port");

    let mut config = config();
    config.peers = vec![PeerAddress { peer: None, addresses: vec![([127, 0, 0, 1], port).into()] }];
    let (handle, driver) = bind(config).await.expect("sockets");
    let running = tokio::spawn(driver.run());
    let mut neighbours = handle.watch_neighbours();
    let wait = timeout(NOTICED_MAX, neighbours.wait_for(|neighbours| neighbours.len() == 1));
    wait.await.expect("it connects").expect("the node runs");

    other.0.kill().expect("it runs");
    let killed = now();
    let wait = timeout(NOTICED_MAX, neighbours.wait_for(Vec::is_empty));
    wait.await.expect("it is noticed in time").expect("the node runs");
    println!("noticed after {:?}", now().since(killed));
    handle.close().await;
    running.await.expect("no panic");
}

/// Does nothing by itself: a process that the other test started and will kill.
#[tokio::test]
async fn node_of_another_test() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let (handle, driver) = bind(config()).await.expect("sockets");
    println!("port {}", handle.port());
    // Ends when it is killed, or by itself if its test cannot.
    let _ = timeout(Duration::from_secs(30), driver.run()).await;
}
