//! Rust source with comments, strings and characters blanked out, so that a word in a comment is not taken for code. Lines
//! stay where they are.

/// Whether `word` stands in the code as a word of its own, and on which line (from 1) first.
pub fn find_word(code: &str, word: &str) -> Option<usize> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).find_map(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(inside);
        let after = code[at + word.len()..].chars().next().is_some_and(inside);
        (!before && !after).then(|| code[..at].matches('\n').count() + 1)
    })
}

/// The code alone.
pub fn blank(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest, code.chars().next_back());
        let (taken, blanked) = if skipped > 0 { (skipped, true) } else { (first.len_utf8(), false) };
        if blanked {
            code.push(' ');
            code.extend(rest[..taken].chars().filter(|c| *c == '\n'));
        } else {
            code.push(first);
        }
        rest = &rest[taken..];
    }
    code
}

/// How many bytes of comment, string or character `rest` starts with. `before` tells a raw string from a name in `r`.
fn skip(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest);
    }
    if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_') {
        return raw_string(rest);
    }
    if rest.starts_with('\'') { character(rest) } else { 0 }
}

/// They nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let from = hashes + 2;
    rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |at| 3 + at + 1),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{blank, find_word};

    #[test]
    fn words_in_comments_and_strings_are_not_code() {
        for source in [
            "// unsafe\n",
            "/* unsafe /* nested */ unsafe */",
            "\"unsafe \\\" unsafe\"",
            "r#\"unsafe \" unsafe\"#",
            "br\"unsafe\"",
            "//! unsafe",
            "let a = ['\"', 'x']; // unsafe",
            "let c = '\\''; // unsafe",
            "#![forbid(unsafe_code)]",
        ] {
            assert_eq!(find_word(&blank(source), "unsafe"), None, "{source}");
        }
    }

    #[test]
    fn words_in_code_are_found_on_their_line() {
        for (source, line) in [
            ("unsafe {}", 1),
            ("/* a\nb */ \"c\nd\" unsafe", 3),
            ("fn f<'a>(x: &'a str) -> char { '\"' }\nunsafe fn g() {}", 2),
            ("let s = r\"\\\"; unsafe {}", 1),
            ("for r in \"a\".chars() { unsafe {} }", 1),
        ] {
            assert_eq!(find_word(&blank(source), "unsafe"), Some(line), "{source}");
        }
    }
}
