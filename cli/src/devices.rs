//! `swarmcast devices`: what this machine can capture.

use std::process::ExitCode;

use clap::Args;
use swarmcast::DeviceKind;

use crate::failure::EXIT_CODES;
use crate::report::{DeviceLine, FormatLine, Line};
use crate::run::block_on;

const EXAMPLES: &str = "\
Examples:
  What can be published from here?
    swarmcast devices
  Publish the second camera with a microphone:
    swarmcast publish --camera=/dev/video2 --mic=plughw:1,0 --group lobby --name cam";

/// Lists the cameras, microphones and screens of this machine, and in which formats they capture
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct DevicesArgs {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Runs `swarmcast devices`.
pub(crate) fn run(args: &DevicesArgs) -> ExitCode {
    block_on(args.json, |reporter| async move {
        let devices = swarmcast::devices();
        if devices.is_empty() {
            reporter.say("no camera, microphone or X display was found");
        }
        for device in devices {
            let kind = match device.kind {
                DeviceKind::Camera => "camera",
                DeviceKind::Microphone => "microphone",
                DeviceKind::Screen => "screen",
            };
            let formats = device.formats.iter().map(FormatLine::from).collect();
            let line = DeviceLine { kind, input: device.input, name: device.name, formats };
            reporter.tell(Line::Device(line), None);
        }
        Ok(())
    })
}
