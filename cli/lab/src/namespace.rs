//! Network namespaces that go away with the value that stands for them.

use std::fs::File;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;

/// Where `ip netns` keeps the named namespaces.
const DIRECTORY: &str = "/run/netns";

/// Start of every name: the lab's own, followed by the process that made it.
const PREFIX: &str = "swlab";

/// A named network namespace; dropping it ends the processes in it and deletes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Creates a namespace whose name tells the process that made it, with the loopback interface up.
    ///
    /// # Errors
    /// No right to create it, or a namespace of that name exists.
    pub fn create(label: &str) -> Result<Self> {
        let name = format!("{PREFIX}-{}-{label}", std::process::id());
        command::run("ip", &["netns", "add", &name])?;
        let handle = File::open(Path::new(DIRECTORY).join(&name));
        let handle = handle.with_context(|| format!("cannot open namespace {name}"))?;
        let namespace = Self { name, handle };
        namespace.configure(&["link set lo up"])?;
        Ok(namespace)
    }

    /// The name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls `work` on a thread inside the namespace and returns its result; sockets that it opens and
    /// processes that it starts stay inside.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter namespace {}", self.name))?;
                Ok(work())
            });
            inside.join().map_err(|_| anyhow!("work inside {} panicked", self.name))?
        })
    }

    /// Runs a program to its end inside the namespace.
    ///
    /// # Errors
    /// As [`command::run_with_input`].
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        self.enter(|| command::run_with_input(program, arguments, input))?
    }

    /// Runs `ip` commands inside the namespace, in order, in one process.
    ///
    /// # Errors
    /// The first that fails; those behind it are not run.
    pub fn configure<S: AsRef<str>>(&self, commands: &[S]) -> Result<()> {
        let batch: Vec<&str> = commands.iter().map(AsRef::as_ref).collect();
        command::run_with_input("ip", &["-n", &self.name, "-batch", "-"], &batch.join("\n"))?;
        Ok(())
    }

    /// Writes a kernel setting of this namespace, named by its path under `/proc/sys`.
    ///
    /// # Errors
    /// The setting does not exist or refuses the value.
    pub fn set_kernel_parameter(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| std::fs::write(Path::new("/proc/sys").join(path), value))?
            .with_context(|| format!("cannot set {path} to {value} in {}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nobody is left to be told; what stays behind is swept by the next run.
        let _ = delete(&self.name);
    }
}

/// Deletes what runs of the lab left behind whose process lives no longer, and tells how many namespaces.
///
/// # Errors
/// A stale namespace could not be deleted.
pub fn sweep() -> Result<usize> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        // The directory appears with the first namespace.
        return Ok(0);
    };
    let mut swept = 0;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = owner(&name) else { continue };
        if !Path::new("/proc").join(owner.to_string()).exists() {
            delete(&name)?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// The process that made the namespace `name`, if it is one of the lab's.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    pid.parse().ok()
}

/// Kills the processes inside and deletes the namespace.
fn delete(name: &str) -> Result<()> {
    let pids = command::run("ip", &["netns", "pids", name])?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for pid in pids.split_whitespace().filter_map(|word| word.parse().ok()).filter(|&pid| pid != own) {
        // It may have ended by itself in between.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    command::run("ip", &["netns", "del", name])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_the_labs_own_names_have_an_owner() {
        assert_eq!(owner("swlab-4711-1-h0"), Some(4711));
        assert_eq!(owner("swlab-x-h0"), None);
        assert_eq!(owner("swlab-4711"), None);
        assert_eq!(owner("other-4711-h0"), None);
    }
}
