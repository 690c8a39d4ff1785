//! URLs as they may be shown, logged and kept: without what only whoever typed them should know.
//!
//! User info is a password, and a query is often the signature of an object that is shared. Neither is needed once the
//! bytes are at hand: those are known by their hash. In paths and keys `?`, `#` and `@` mean nothing, so they stay
//! there; a bucket's name has no `@`, but some tools take keys before one.

use std::borrow::Cow;
use std::ops::Range;

/// In place of what was after it.
const QUERY_WAS: &str = "?…";

/// The URL without user info, query and fragment; `?…` at its end says that there was a query.
pub fn shown_url(url: &str) -> Cow<'_, str> {
    let Some(Secrets { user_info, rest }) = Secrets::of(url) else { return Cow::Borrowed(url) };
    let query_was = if url[rest.clone()].starts_with('?') { QUERY_WAS } else { "" };
    Cow::Owned(format!("{}{}{query_was}", &url[..user_info.start], &url[user_info.end..rest.start]))
}

/// Whether a URL has lost its query to [`shown_url`], so that it can't be fetched.
pub fn lacks_query(url: &str) -> bool {
    url.ends_with(QUERY_WAS) && split(url).is_some_and(|(scheme, _)| is_web(scheme))
}

/// The same without that sign: what the name of the file is the last part of.
pub fn without_query(url: &str) -> &str {
    Secrets::of(url).map_or(url, |secrets| &url[..secrets.rest.start])
}

/// A text in which each letter of a URL's secrets is a `…`, so that everything else stays in its column. A URL ends at
/// the quotation mark that it began with, and without one at white space.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut looked) = (0, 0);
    while let Some(found) = text[looked..].find(":/") {
        let (slashes, before) = (looked + found, &text[done..looked + found]);
        let scheme = before.rfind(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let scheme = scheme.map_or(done, |at| done + at + before[at..].chars().next().map_or(0, char::len_utf8));
        if split(&text[scheme..]).is_none() {
            looked = slashes + 1;
            continue;
        }
        let quote = text[..scheme].chars().next_back().filter(|c| "\"'`".contains(*c));
        // In quotation marks that may have one within.
        let escaped =
            |at: usize| quote == Some('"') && text[..at].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
        let ends = |(at, c): &(usize, char)| {
            *c == '\n' || quote.map_or(c.is_whitespace(), |quote| *c == quote && !escaped(slashes + at))
        };
        let end = text[slashes..].char_indices().find(ends).map_or(text.len(), |(at, _)| slashes + at);
        out += &text[done..scheme];
        out += &mask(&text[scheme..end]);
        (done, looked) = (end, end);
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(out + &text[done..]),
    }
}

fn mask(url: &str) -> String {
    let Some(Secrets { user_info, rest }) = Secrets::of(url) else { return url.to_owned() };
    let dots = |range: Range<usize>| url[range].chars().map(|_| '…').collect::<String>();
    // The marks that show what it was stay.
    let marked = rest.start + usize::from(!rest.is_empty());
    let user_info_end = user_info.end - usize::from(!user_info.is_empty());
    let (before, at) = (&url[..user_info.start], &url[user_info_end..marked]);
    // What was shortened already is followed by words of ours.
    let rest = match url[rest].starts_with(QUERY_WAS) {
        true => url[marked..].to_owned(),
        false => dots(marked..url.len()),
    };
    format!("{before}{}{at}{rest}", dots(user_info.start..user_info_end))
}

/// Scheme and what is after its slashes. Some that were certainly meant are known by one slash too, or by three.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, after) = url.split_once(":/")?;
    if ["s3", "http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Some((scheme, after.trim_start_matches('/')));
    }
    Some((scheme, after.strip_prefix('/')?))
}

fn is_web(scheme: &str) -> bool {
    !["", "file", "s3", "memory"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours))
}

/// Where they are in a URL.
struct Secrets {
    /// With its `@`.
    user_info: Range<usize>,
    /// From the `?` or `#` on.
    rest: Range<usize>,
}

impl Secrets {
    fn of(url: &str) -> Option<Self> {
        let (scheme, after) = split(url)?;
        let is_s3 = scheme.eq_ignore_ascii_case("s3");
        if !is_web(scheme) && !is_s3 {
            return None;
        }
        let start = url.len() - after.len();
        let authority = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
        if is_s3 {
            // A key may have slashes in it; a bucket's name has no colon.
            let keys = if authority.contains(':') && !authority.contains('@') { after } else { authority };
            let end = start + keys.rfind('@')? + 1;
            return Some(Self { user_info: start..end, rest: url.len()..url.len() });
        }
        let no_port = || authority.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit()));
        let at = match authority.rfind('@') {
            // Perhaps a password with a letter in it that should have been written otherwise.
            None if no_port() => after.rfind('@'),
            at => at,
        };
        let host = at.map_or(start, |at| start + at + 1);
        let rest = url[host..].find(['?', '#']).map_or(url.len(), |at| host + at);
        (host > start || rest < url.len()).then_some(Self { user_info: start..host, rest: rest..url.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_url_is_not_shown() {
        for (url, shown) in [
            ("https://example.org/w.onnx", "https://example.org/w.onnx"),
            ("https://user:hunter2@example.org/w.onnx?X-Amz-Signature=ab/c@d#e", "https://example.org/w.onnx?…"),
            ("https://token@example.org:8080", "https://example.org:8080"),
            ("https://example.org?sig=1", "https://example.org?…"),
            ("https://example.org/w#sig?1", "https://example.org/w"),
            ("https://example.org/@scope/w@1?v", "https://example.org/@scope/w@1?…"),
            ("https://u:a@b@example.org/w", "https://example.org/w"),
            ("https://u:a/b?c#d@example.org/w?e", "https://example.org/w?…"),
            ("https://[::1]:80/w?e", "https://[::1]:80/w?…"),
            ("HTTPS://u:p@h/w", "HTTPS://h/w"),
            ("ftp://u:p@h/w", "ftp://h/w"),
            ("https:/u:p@h/w?e", "https:/h/w?…"),
            ("S3://AKIA:hunter2@bucket/a", "S3://bucket/a"),
            ("s3:/AKIA:hunter2@bucket/a", "s3:/bucket/a"),
            ("s3://AKIA:hun/ter2@bucket/a", "s3://bucket/a"),
            ("https:///u:p@h/w", "https:///h/w"),
            // Here they are letters like others.
            ("s3://bucket/a?b#c@d", "s3://bucket/a?b#c@d"),
            ("s3://AKIA:hunter2@bucket/a@b?c", "s3://bucket/a@b?c"),
            ("file:///a?b#c@d:e", "file:///a?b#c@d:e"),
            ("memory://n/a?b", "memory://n/a?b"),
            ("FILE:///a?b#c@d:e", "FILE:///a?b#c@d:e"),
            ("a:/b?c@d", "a:/b?c@d"),
            ("a?b@c", "a?b@c"),
            ("", ""),
        ] {
            assert_eq!(shown_url(url), shown);
            assert_eq!(shown_url(shown), shown, "and nothing more happens to it");
            assert_eq!(lacks_query(&shown_url(url)), shown.ends_with('…'), "{url}");
        }
        assert_eq!(without_query("https://u:p@h/list.csv?sig"), "https://u:p@h/list.csv");
        assert_eq!(without_query("https://h/list.csv?…"), "https://h/list.csv");
        assert_eq!(without_query("file:///list.csv?…"), "file:///list.csv?…");
        assert!(!lacks_query("s3://bucket/what?…") && !lacks_query("what?…"));
    }

    #[test]
    fn secrets_are_masked_where_they_stand_in_a_text() {
        for (text, shown) in [
            ("nothing here: a/b?c", "nothing here: a/b?c"),
            ("w = \"https://u:p w@h/w?sig=ü\" # why?", "w = \"https://……………@h/w?……………\" # why?"),
            ("w = 'https://h/w?a\"b'", "w = 'https://h/w?………'"),
            (r#"w = "https://h/w?a\"b" # c"#, r#"w = "https://h/w?…………" # c"#),
            (r#"w = "https://h/w?a\\" # c"#, r#"w = "https://h/w?………" # c"#),
            ("fetching https://h/w?…: status 403", "fetching https://h/w?…: status 403"),
            ("fetching https://u@h/w?ab, and", "fetching https://…@h/w?……… and"),
            ("--set a=https://h/?b c=http://p@h", "--set a=https://h/?… c=http://…@h"),
            (
                "[\"https://h/?a\", \"s3://b/c?d\", \"https://h/?e\"]",
                "[\"https://h/?…\", \"s3://b/c?d\", \"https://h/?…\"]",
            ),
            ("über://u:p@h\nx?y", "über://………@h\nx?y"),
            ("C:/x?y --input https:/u:p@h b:/c", "C:/x?y --input https:/………@h b:/c"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).chars().count(), text.chars().count(), "columns stay");
        }
    }
}
