//! The `swarmcast` command: publishes, plays and lists live streams on a LAN.

mod args;
mod board;
mod clock;
mod devices;
mod failure;
mod list;
mod live_line;
mod pages;
mod play;
mod publish;
mod report;
mod run;
mod simulate;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::EXIT_CODES;

/// Packets come and go in buffers of up to 64 KiB, for which the system's allocator takes longer, and which it hands
/// back to the kernel and faults in anew. Without huge pages: to clear one takes longer than a picture does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  On one host, publish a file over and over:
    swarmcast publish clip.mkv --loop --group lobby --name cam
  On every other host of the LAN, watch it in a window, or record ten seconds:
    swarmcast play cam --group lobby
    swarmcast play cam --group lobby --output cam.mkv --duration 10
  See what there is:
    swarmcast list
  Or try it with 500 viewers that exist in virtual time only:
    swarmcast simulate office";

/// Sends live video, sound and data to any number of hosts on a LAN; viewers pass it on to each other.
#[derive(Parser, Debug)]
#[command(name = "swarmcast", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Publish(publish::PublishArgs),
    Play(play::PlayArgs),
    List(list::ListArgs),
    Devices(devices::DevicesArgs),
    Simulate(simulate::SimulateArgs),
    Completions(pages::CompletionsArgs),
    Man(pages::ManArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Publish(args) => publish::run(&args),
        Command::Play(args) => play::run(&args),
        Command::List(args) => list::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    }
}
