use super::process::Room;

#[test]
fn a_line_that_makes_no_sense_is_refused_with_advice() {
    let key = "0".repeat(63);
    let cases: &[(&[&str], &str)] = &[
        (&["play"], "--group <GROUP>"),
        (&["play", "cam", "--group", "lobby", "--playout-delay", "49"], "50..=60000"),
        (&["play", "cam", "--group", "lobby", "--playout-delay", "60001"], "50..=60000"),
        (&["play", "cam", "--group", "lobby", "--duration", "0"], "more than 0"),
        (&["play", "cam", "--group", "lobby", "--duration", "soon"], "such as 10 or 0.5"),
        (&["play", "cam", "--group", "lobby", "--wait=-1"], "more than 0"),
        (&["play", "cam", "--group", "lobby", "--publisher", &key], "64 hexadecimal digits"),
        (&["play", "cam", "--group", "lobby", "--peer", "host:1"], "192.168.1.20:4433"),
        (&["play", "cam", "--group", "lobby", "--port", "0"], "1..=65535"),
        (&["play", "cam", "--group", "lobby", "--format", "matroska"], "--output"),
        (&["play", "cam", "--group", "lobby", "--multicast", "on"], "expected auto, off, or ADDRESS"),
        (&["play", "cam", "--group", "lobby", "--multicast", "10.0.0.1"], "no multicast address"),
        (&["play", "cam", "--group", "lobby", "--fallback", "never"], "auto, manual, off"),
        (&["play", "cam", "--group", "lobby", "--hold-down", "0.05"], "0.1 to 3600 seconds"),
        (&["play", "cam", "--group", "lobby", "--fallback-url", "-"], "give a URL or a file"),
        (
            &["play", "cam", "--group", "lobby", "--fallback", "off", "--fallback-url", "http://x/"],
            "leave --fallback out",
        ),
        (&["play", "cam", "--group", "lobby", "--colour"], "--colour"),
        (&["play", "cam", "--group", "lobby", "--headless", "--fullscreen"], "--fullscreen"),
        (&["play", "cam", "--group", "lobby", "--no-audio", "--audio-only"], "--audio-only"),
        (&["play", "cam", "--group", "lobby", "--terminal", "--output", "x.mkv"], "--output"),
        (&["play", "cam", "--group", "lobby", "--terminal", "--json"], "write one of them to a file"),
        (&["play", "cam", "--group", ""], "1 to 128 bytes"),
        (&["play", "a\nb", "--group", "lobby"], "no control characters"),
        (&["play", "cam", "--group", "lobby", "--json", "--output", "-"], "write one of them to a file"),
        (&["play", "cam", "--group", "lobby", "--data", "-", "--output", "-"], "write one of them to a file"),
        (&["play", "cam", "--group", "lobby", "--json", "--data", "-"], "write one of them to a file"),
        (
            &["publish", "-", "--group", "lobby", "--name", "cam", "--data", "-"],
            "read one of them from a file",
        ),
        (&["publish", "x.mkv", "--group", "lobby"], "--name <NAME>"),
        (&["publish", "x.mkv", "--group", "lobby", "--name", ""], "1 to 128 bytes"),
        (
            &["publish", "x.mkv", "--group", "g", "--name", "n", "--multicast-rate-max", "20Mbit"],
            "such as 800k or 20M",
        ),
        (&["publish", "x.mkv", "--group", "g", "--name", "n", "--unicast-max", "all"], "--unicast-max"),
        (&["publish", "x.mkv", "--group", "g", "--name", "n", "--unicast-max", "1001"], "0..=1000"),
        (&["publish", "x.mkv", "--camera", "--group", "g", "--name", "n"], "--camera"),
        (&["publish", "--group", "g", "--name", "n"], "--camera, --mic, --screen or --listen"),
        (&["publish", "--listen", "http://x", "--group", "g", "--name", "n"], "rtmp://"),
        (&["publish", "--camera", "--size", "big", "--group", "g", "--name", "n"], "such as 1280x720"),
        (&["publish", "x.mkv", "--fps", "25", "--group", "g", "--name", "n"], "video_size"),
        (&["list", "--group-key", "x"], "need --group"),
        (&["list", "--peer", "127.0.0.1:1"], "need --group"),
        (&["man", "dance"], "swarmcast --help"),
        (&["completions", "dos"], "bash"),
        (&["dance"], "--help"),
    ];
    let room = Room::new();
    for (line, advice) in cases {
        let finished = room.run(line);
        assert_eq!(finished.code, 2, "{line:?}: {finished:?}");
        assert!(finished.stderr.starts_with("error: "), "{line:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(advice), "{line:?}: {}", finished.stderr);
    }
}

#[test]
fn programs_hear_of_a_line_that_makes_no_sense_too() {
    let finished = Room::new().run(&["play", "cam", "--group", "", "--json"]);
    let event: serde_json::Value = serde_json::from_str(&finished.stdout).expect("one line of JSON");
    assert_eq!((finished.code, &event["event"], &event["code"]), (2, &"error".into(), &"usage".into()));
}

#[test]
fn the_help_teaches() {
    let room = Room::new();
    for subcommand in ["publish", "play", "list", "devices", "simulate", "completions", "man"] {
        let help = room.run(&[subcommand, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.stdout.contains("Example"), "{subcommand}: {}", help.stdout);
        assert!(help.stdout.contains(&format!("swarmcast {subcommand} ")), "{subcommand}: {}", help.stdout);
    }
    for line in [
        &["--help"][..],
        &["play", "--help"],
        &["publish", "--help"],
        &["list", "--help"],
        &["simulate", "--help"],
    ] {
        let help = room.run(line).stdout;
        assert!(help.contains("Exit codes:") && help.contains("  7  the port is in use"), "{line:?}: {help}");
    }
}

#[test]
fn completions_and_man_pages_know_every_flag() {
    let room = Room::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = room.run(&["completions", shell]);
        assert_eq!((completions.code, completions.stderr.as_str()), (0, ""));
        assert!(completions.stdout.contains("playout-delay"), "{shell}");
    }
    let page = room.run(&["man"]).stdout;
    assert!(page.contains(".TH") && page.contains("publish"), "{page}");
    let flags =
        [("publish", "state\\-dir"), ("play", "playout\\-delay"), ("list", "wait"), ("simulate", "peers")];
    for (subcommand, flag) in flags {
        let page = room.run(&["man", subcommand]).stdout;
        assert!(page.contains(".TH") && page.contains(flag), "{subcommand}: {page}");
    }
}
