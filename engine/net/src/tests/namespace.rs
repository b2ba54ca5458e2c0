//! Network namespaces for tests that need interfaces of their own.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

/// The programs that tests run in namespaces.
const TOOLS: &str = "command -v ip tc nft ethtool >/dev/null";

/// Where a thread finds the network namespace that it is in.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace that lasts as long as this value, or a socket in it.
pub(crate) struct Namespace(File);

/// The thread is in a namespace.
pub(crate) struct Inside(File);

impl Drop for Inside {
    fn drop(&mut self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the way back");
    }
}

impl Namespace {
    /// Makes a namespace in which loopback is up; `None`, told loudly, where that is not allowed.
    pub(crate) fn new() -> Option<Self> {
        let tools = Command::new("sh").args(["-c", TOOLS]).status();
        if !tools.expect("there is a shell").success() {
            eprintln!("SKIPPED: needs iproute2, nftables and ethtool");
            return None;
        }
        let before = File::open(OWN).expect("a thread is in a namespace");
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: no network namespace can be made ({error}); run the test as root");
            return None;
        }
        let made = Self(File::open(OWN).expect("a thread is in a namespace"));
        run("ip link set lo up");
        setns(before, CloneFlags::CLONE_NEWNET).expect("the way back");
        Some(made)
    }

    /// Moves the thread into the namespace until the value returned is dropped. What it opens stays there.
    pub(crate) fn enter(&self) -> Inside {
        let inside = Inside(File::open(OWN).expect("a thread is in a namespace"));
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace exists");
        inside
    }

    /// Does `work` in the namespace.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = self.enter();
        work()
    }

    /// Runs commands in the namespace.
    pub(crate) fn run(&self, commands: &str) {
        self.within(|| run(commands));
    }
}

/// Makes two namespaces with wires between them. On wire 0 both ends are `eth0`, with 10.9.0.1 and fd09:0::1 in the
/// first namespace and .2 and ::2 in the second; wire 1 is `eth1`, with 10.9.1.1 and fd09:1::1, and so on.
pub(crate) fn pair(wires: u8) -> Option<[Namespace; 2]> {
    let pair = [Namespace::new()?, Namespace::new()?];
    for wire in 0..wires {
        let device = format!("eth{wire}");
        pair[0].within(|| {
            // The other end is moved by a child that holds the other namespace open as its standard input.
            let other = Stdio::from(pair[1].0.try_clone().expect("a descriptor"));
            let made = Command::new("ip")
                .args(["link", "add", &device, "type", "veth", "peer", "name", &device])
                .args(["netns", "/proc/self/fd/0"])
                .stdin(other)
                .status();
            assert!(made.expect("iproute2 is installed").success(), "no wire");
        });
        for (host, number) in pair.iter().zip(1..) {
            host.run(&format!(
                "ip address add 10.9.{wire}.{number}/24 dev {device}
                 ip address add fd09:{wire}::{number}/64 dev {device} nodad
                 ip link set {device} up"
            ));
        }
    }
    Some(pair)
}

fn run(commands: &str) {
    let mut shell = Command::new("sh").args(["-e"]).stdin(Stdio::piped()).spawn().expect("there is a shell");
    let mut input = shell.stdin.take().expect("piped");
    input.write_all(commands.as_bytes()).expect("it reads");
    drop(input);
    assert!(shell.wait().expect("it runs").success(), "failed: {commands}");
}
