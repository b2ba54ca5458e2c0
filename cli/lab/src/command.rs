//! External commands, each with a time limit.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Seconds that a set-up command may take: `ip` and `nft` need milliseconds, on a busy machine a second.
const LIMIT_SECONDS: u32 = 20;

/// Runs `program` to its end and returns what it wrote to stdout.
///
/// # Errors
/// The program cannot be started, takes more than 20 s, or fails; the message carries its stderr.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    run_within(LIMIT_SECONDS, program, arguments, "")
}

/// Runs `program` with `input` on its stdin, else as [`run`].
///
/// # Errors
/// As [`run`].
pub fn run_with_input<S: AsRef<OsStr>>(program: &str, arguments: &[S], input: &str) -> Result<String> {
    run_within(LIMIT_SECONDS, program, arguments, input)
}

/// Runs `program` with a time limit of its own, else as [`run_with_input`].
///
/// # Errors
/// As [`run`], with `seconds` for the limit.
pub fn run_within<S: AsRef<OsStr>>(
    seconds: u32,
    program: &str,
    arguments: &[S],
    input: &str,
) -> Result<String> {
    let stdout = stdout_within(seconds, program, arguments, input)?;
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs `program` with a time limit of its own and returns the bytes that it wrote to stdout.
///
/// # Errors
/// As [`run`], with `seconds` for the limit.
pub fn bytes_within<S: AsRef<OsStr>>(seconds: u32, program: &str, arguments: &[S]) -> Result<Vec<u8>> {
    stdout_within(seconds, program, arguments, "")
}

fn stdout_within<S: AsRef<OsStr>>(
    seconds: u32,
    program: &str,
    arguments: &[S],
    input: &str,
) -> Result<Vec<u8>> {
    let shown = || {
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        format!("{program} {}", words.join(" "))
    };
    let mut child = Command::new("timeout")
        .args(["--kill-after=2", &seconds.to_string(), program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails before it reads closes the pipe: its exit status tells more than this error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{}`", shown()))?;
    if output.status.code() == Some(124) {
        bail!("`{}` took more than {seconds} s", shown());
    }
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(), output.status, stderr.trim());
    }
    Ok(output.stdout)
}
