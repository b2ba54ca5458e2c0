//! Recordings made by ffmpeg alone: what the comparison with the source finds in real files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use swarmcast_lab::Lab;
use swarmcast_lab::clip::Clip;
use swarmcast_lab::command;
use swarmcast_lab::compare::{Comparison, Source};

/// Copies 25 s of the looped clip, with further arguments before the name of the output.
fn copy(clip: &Path, output: &Path, more: &[&str]) -> Result<()> {
    let (clip, output) = (clip.to_string_lossy(), output.to_string_lossy());
    let mut arguments = vec!["-v", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", &clip];
    arguments.extend(["-map", "0", "-c", "copy", "-t", "25"]);
    arguments.extend(more);
    arguments.push(&output);
    command::run_within(60, "ffmpeg", &arguments, "").map(drop)
}

fn compared(lab: &Lab, name: &str, more: &[&str]) -> Result<Comparison> {
    let clip = Clip::SLOW.file(lab)?;
    let output: PathBuf = lab.scratch(name)?.join("copy.mkv");
    copy(&clip, &output, more)?;
    Source::read(&clip)?.compare(&output)
}

#[test]
fn a_clip_keeps_to_its_rate_and_its_random_access_points() -> Result<()> {
    let Some(lab) = Lab::open_or_skip(module_path!()) else { return Ok(()) };
    let clip = Clip::SLOW;
    let file = clip.file(&lab)?;
    let rate = Source::read(&file)?.bitrate();
    assert!((rate / f64::from(clip.bitrate) - 1.0).abs() < 0.1, "{rate} bit/s");
    let points = swarmcast_lab::recording::random_access_points(&file)?;
    let keys: Vec<usize> =
        points[0].iter().enumerate().filter(|(_, key)| **key).map(|(index, _)| index).collect();
    assert_eq!(keys, (0..10).map(|second| second * 25).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_copy_of_the_looped_clip_is_perfect() -> Result<()> {
    let Some(lab) = Lab::open_or_skip(module_path!()) else { return Ok(()) };
    let comparison = compared(&lab, "recordings-perfect", &[])?;
    assert_eq!((comparison.missing(), comparison.wrong()), (0, 0), "{comparison:?}");
    assert!(comparison.track("video").is_some_and(|video| video.starts_at_random_access));
    assert!((24.5..=25.5).contains(&comparison.seconds()), "{comparison:?}");
    assert!(comparison.time_error < 0.005, "{comparison:?}");
    Ok(())
}

#[test]
fn a_damaged_copy_is_found_out() -> Result<()> {
    let Some(lab) = Lab::open_or_skip(module_path!()) else { return Ok(()) };
    // ffmpeg's `noise` filter drops 20 access units of video, and changes bytes of the audio now and then.
    let damage = ["-bsf:v", "noise=drop='between(n,100,119)'", "-bsf:a", "noise=amount='if(eq(n,50),1,0)'"];
    let comparison = compared(&lab, "recordings-damaged", &damage)?;
    let video = comparison.track("video").cloned().unwrap_or_default();
    assert_eq!((video.missing, video.extra, video.double), (20, 0, 0), "{comparison:?}");
    assert!((0.75..0.85).contains(&video.longest_gap), "{comparison:?}");
    let audio = comparison.track("audio").cloned().unwrap_or_default();
    assert_eq!((audio.missing, audio.extra), (1, 1), "{comparison:?}");
    Ok(())
}
