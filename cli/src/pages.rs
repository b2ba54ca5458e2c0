//! `swarmcast completions` and `swarmcast man`: both are made from the same definition as `--help`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::failure::{Exit, Failure};

/// Prints the completions of a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  swarmcast completions bash > ~/.local/share/bash-completion/completions/swarmcast")]
pub(crate) struct CompletionsArgs {
    /// The shell that they are for
    shell: Shell,
}

/// Prints a manual page in roff
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  swarmcast man | man -l -
  swarmcast man publish > swarmcast-publish.1")]
pub(crate) struct ManArgs {
    /// The subcommand whose page is meant [default: the page of swarmcast itself]
    subcommand: Option<String>,
}

/// Runs `swarmcast completions`.
pub(crate) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut page = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "swarmcast", &mut page);
    print(&page)
}

/// Runs `swarmcast man`.
pub(crate) fn man(args: &ManArgs) -> ExitCode {
    let mut root = Cli::command();
    root.build();
    let page = match &args.subcommand {
        None => Some(root),
        Some(name) => root.find_subcommand(name).cloned(),
    };
    let Some(page) = page else {
        let message = "no such subcommand: take one that `swarmcast --help` lists";
        return Failure::usage(message).tell();
    };
    let mut text = Vec::new();
    match clap_mangen::Man::new(page).render(&mut text) {
        Ok(()) => print(&text),
        Err(error) => Failure::new(Exit::Unexpected, "man", error).tell(),
    }
}

/// Writes a page to standard output; a reader that went away early, such as `head`, is no failure.
pub(crate) fn print(page: &[u8]) -> ExitCode {
    match io::stdout().write_all(page) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Failure::new(Exit::Media, "output", format_args!("standard output: {error}")).tell()
        }
        _ => ExitCode::SUCCESS,
    }
}
