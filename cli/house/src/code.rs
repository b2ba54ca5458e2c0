//! A Rust source without its comments and literals, and the names that it declares.

/// Returns `source` with every comment and every literal's inside blanked: lines and columns stay where they were.
pub fn bare(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut bare = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            bare.push(chars[at]);
            at += 1;
        } else {
            bare.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        }
    }
    bare
}

/// Returns the end of the comment or literal that starts at `at`, or `at` when none does.
fn skip(chars: &[char], at: usize) -> usize {
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let in_word = at > 0 && is_word(chars[at - 1]);
    if starts("//") {
        chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |n| at + n)
    } else if starts("/*") {
        block_comment(chars, at)
    } else if !in_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        raw_string(chars, at)
    } else if starts("\"") {
        quoted(chars, at, '"')
    } else if starts("'") && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')) {
        quoted(chars, at, '\'')
    } else {
        at
    }
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let hashes_at = at + usize::from(chars[at] == 'b') + 1;
    let hashes = chars[hashes_at..].iter().take_while(|&&c| c == '#').count();
    let open = hashes_at + hashes;
    if chars.get(open) != Some(&'"') {
        return at; // a raw identifier
    }
    (open + 1..chars.len())
        .find(|&i| {
            chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
        })
        .map_or(chars.len(), |i| i + 1 + hashes)
}

fn quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns every name that bare code brings into the world (items, fields, parameters, bindings), with its line
/// number from 1. Names that it only uses belong to others.
pub fn declared_names(bare: &str) -> Vec<(usize, &str)> {
    const MAKERS: [&str; 12] =
        ["fn", "struct", "enum", "union", "trait", "mod", "type", "const", "static", "let", "mut", "for"];
    let mut names = Vec::new();
    for (number, line) in bare.lines().enumerate() {
        let mut before = "";
        for (start, word) in words_at(line) {
            let rest = line[start + word.len()..].trim_start();
            let annotated = rest.starts_with(':') && !rest.starts_with("::");
            if MAKERS.contains(&before) || annotated {
                names.push((number + 1, word));
            }
            before = word;
        }
    }
    names
}

fn words_at(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - line.as_ptr().addr(), word))
}

/// Returns the words of a name in lower case: `BlockId`, `block_id` and `BLOCK_ID` are all `block`, `id`.
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if c == '_' || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_nothing_else_is() {
        let source = "a // b\n/* c /* d */ e */ f \"g\\\"h\" r#\"i\"j\"# 'k' '\\n' <'l> br\"m\" n!";
        let expected: Vec<&str> = vec!["a", "f", "<'l>", "n!"];
        assert_eq!(bare(source).split_whitespace().collect::<Vec<_>>(), expected);
        assert_eq!(bare(source).len(), source.len());
    }

    #[test]
    fn names_are_told_from_uses() {
        let code = "fn sum(left: u8) { let mut right = left.other(path::name); for each in all {} }";
        let names: Vec<&str> = declared_names(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["sum", "left", "mut", "right", "each"]);
    }

    #[test]
    fn names_fall_into_words() {
        for name in ["BlockId", "block_id", "BLOCK_ID", "_block_id"] {
            assert_eq!(words(name), ["block", "id"], "{name}");
        }
    }
}
