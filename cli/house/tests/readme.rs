//! The front page shows the example that is tested, and the exit codes that the command has.

use swarmcast_house::files;

fn text(path: &str) -> String {
    let found = files(&[path]).expect("the sources are readable").into_iter().find(|file| file.path == path);
    found.unwrap_or_else(|| panic!("{path} is missing")).text
}

/// Returns the lines of each fenced block whose first tag is one of `tags`, without those that rustdoc hides.
fn blocks(text: &str, tags: &[&str]) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Vec<String>)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(tag)) => {
                open = Some((tag.split(',').next().is_some_and(|tag| tags.contains(&tag)), Vec::new()))
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, lines)| lines))
            }
            (Some((_, lines)), None) if line != "#" && !line.starts_with("# ") => lines.push(line.to_owned()),
            _ => {}
        }
    }
    blocks
}

/// Returns the module doc of a Rust file as markdown.
fn module_doc(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_tested_one() {
    let shown = blocks(&text("README.md"), &["rust"]);
    let tested = blocks(&module_doc(&text("engine/swarmcast/src/lib.rs")), &["", "rust", "no_run"]);
    assert!(!shown.is_empty(), "the README embeds nothing");
    for block in &shown {
        assert!(
            tested.iter().any(|example| example.windows(block.len()).any(|lines| lines == block)),
            "no example of engine/swarmcast/src/lib.rs has these lines:\n{}\nbut:\n{}",
            block.join("\n"),
            tested.iter().map(|block| block.join("\n")).collect::<Vec<_>>().join("\n--\n")
        );
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = text("cli/src/failure.rs");
    let page = text("README.md").replace('`', "");
    // `  4  no such stream`, up to the quote that ends the text.
    let rows =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.trim_end_matches("\";").split_once("  "));
    let rows: Vec<_> =
        rows.filter(|(code, _)| code.len() == 1 && code.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(rows.len(), 10, "{rows:?}");
    for (code, meaning) in rows {
        assert!(
            page.contains(&format!("| {code} | {meaning} |")),
            "the README lacks exit code {code}: {meaning}"
        );
    }
}

#[test]
fn hidden_lines_and_other_languages_are_left_out() {
    let page = "```sh\nmake\n```\n```rust,no_run\n# use a;\nb();\n```\n";
    assert_eq!(blocks(page, &["rust"]), [["b();"]]);
    assert_eq!(module_doc("//! One.\n//!\n//! Two.\nuse a;\n"), "One.\n\nTwo.");
}
