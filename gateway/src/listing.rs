//! Listing keys the way S3 does: in byte order, with a prefix, folded at a delimiter, in pages; also where a key has several
//! lines (versions, uploads).
//!
//! Pure: the keys come from a function that finds the first key at or behind a bound.

use crate::{meta::MetaError, object::ObjectInfo};

/// What to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Keys begin with this.
    pub prefix: String,
    /// Keys are folded behind its first appearance after the prefix; empty folds nothing.
    pub delimiter: String,
    /// Keys and folded prefixes behind this one only; empty for the beginning.
    pub after: String,
    /// Most keys and folded prefixes in the page.
    pub max: usize,
}

/// A page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T = ObjectInfo> {
    /// The keys with what they stand for.
    pub keys: Vec<(String, T)>,
    /// The folded prefixes.
    pub prefixes: Vec<String>,
    /// `after` of the next page, if there is one.
    pub next: Option<String>,
}

/// The smallest text behind all texts that begin with `prefix`; `None` if there is none.
fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Steps over the surrogates, which are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// What a key is folded into.
fn folded<'k>(prefix: &str, delimiter: &str, key: &'k str) -> Option<&'k str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key.strip_prefix(prefix)?.find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// Where the search begins.
fn first_bound(prefix: &str, delimiter: &str, after: &str) -> Option<String> {
    if after.is_empty() || after < prefix {
        return Some(prefix.to_owned());
    }
    if folded(prefix, delimiter, after).is_some_and(|fold| fold == after) {
        return behind(after);
    }
    Some(format!("{after}\0"))
}

/// Lists; `seek` gives the first key at or behind a bound.
pub fn list<T>(
    query: &Query,
    mut seek: impl FnMut(&str) -> Result<Option<(String, T)>, MetaError>,
) -> Result<Page<T>, MetaError> {
    let mut page = Page { keys: Vec::new(), prefixes: Vec::new(), next: None };
    if query.max == 0 {
        return Ok(page);
    }
    let mut last = String::new();
    let mut bound = first_bound(&query.prefix, &query.delimiter, &query.after);
    while let Some(from) = bound.take() {
        let Some((key, value)) = seek(&from)? else { break };
        if !key.starts_with(query.prefix.as_str()) {
            break;
        }
        if page.keys.len() + page.prefixes.len() == query.max {
            page.next = Some(last);
            break;
        }
        match folded(&query.prefix, &query.delimiter, &key) {
            Some(fold) => {
                last = fold.to_owned();
                bound = behind(fold);
                page.prefixes.push(last.clone());
            }
            None => {
                bound = Some(format!("{key}\0"));
                last.clone_from(&key);
                page.keys.push((key, value));
            }
        }
    }
    Ok(page)
}

/// What to list where a key has several lines, in order of their places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pairs<P> {
    /// Keys begin with this.
    pub prefix: String,
    /// Keys are folded behind its first appearance after the prefix; empty folds nothing.
    pub delimiter: String,
    /// Lines behind this one only: behind that place of the key, or behind the whole key or folded prefix.
    pub after: Option<(String, Option<P>)>,
    /// Most lines and folded prefixes in the page.
    pub max: usize,
}

/// Where the next line is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start<P> {
    /// At this key or behind it.
    Key(String),
    /// Behind this place of this key, or behind the key.
    Behind(String, P),
}

/// A page where a key has several lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairPage<P, T> {
    /// Key, place, and what is there.
    pub lines: Vec<(String, P, T)>,
    /// The folded prefixes.
    pub prefixes: Vec<String>,
    /// `after` of the next page, if there is one.
    pub next: Option<(String, Option<P>)>,
}

/// Lists where a key has several lines; `seek` gives the first line at or behind a place.
pub fn list_pairs<P: Clone, T>(
    query: &Pairs<P>,
    mut seek: impl FnMut(&Start<P>) -> Result<Option<(String, P, T)>, MetaError>,
) -> Result<PairPage<P, T>, MetaError> {
    let mut page = PairPage { lines: Vec::new(), prefixes: Vec::new(), next: None };
    if query.max == 0 {
        return Ok(page);
    }
    let (prefix, delimiter) = (query.prefix.as_str(), query.delimiter.as_str());
    let mut start = match &query.after {
        None => Some(Start::Key(prefix.to_owned())),
        Some((key, Some(at))) if key.as_str() >= prefix => Some(Start::Behind(key.clone(), at.clone())),
        Some((key, _)) => first_bound(prefix, delimiter, key).map(Start::Key),
    };
    let mut last = (String::new(), None);
    while let Some(from) = start.take() {
        let Some((key, at, value)) = seek(&from)? else { break };
        if !key.starts_with(prefix) {
            break;
        }
        if page.lines.len() + page.prefixes.len() == query.max {
            page.next = Some(last);
            break;
        }
        match folded(prefix, delimiter, &key) {
            Some(fold) => {
                last = (fold.to_owned(), None);
                start = behind(fold).map(Start::Key);
                page.prefixes.push(fold.to_owned());
            }
            None => {
                start = Some(Start::Behind(key.clone(), at.clone()));
                last = (key.clone(), Some(at.clone()));
                page.lines.push((key, at, value));
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pages_of_several_lines_put_together_are_the_whole_listing() {
        let all: BTreeSet<(String, u32)> = (0..40u32)
            .flat_map(|n| [(format!("d{}/f{}", n % 3, n % 5), n), (format!("f{}", n % 7), n)])
            .collect();
        let page = |prefix: &str, delimiter: &str, after, max| {
            let query = Pairs { prefix: prefix.into(), delimiter: delimiter.into(), after, max };
            list_pairs(&query, |start| {
                let found = match start {
                    Start::Key(key) => all.range((key.clone(), 0)..).next(),
                    Start::Behind(key, at) => all.range((key.clone(), at + 1)..).next(),
                };
                Ok(found.map(|(key, at)| (key.clone(), *at, ())))
            })
            .unwrap()
        };
        for (prefix, delimiter) in [("", ""), ("", "/"), ("d", ""), ("d1/", "/"), ("f", "/"), ("none", "/")] {
            let whole = page(prefix, delimiter, None, 10_000);
            assert_eq!(whole.next, None);
            if delimiter.is_empty() {
                let expected = all.iter().filter(|(key, _)| key.starts_with(prefix)).count();
                assert_eq!(whole.lines.len(), expected);
            }
            for max in [1, 2, 9] {
                let (mut lines, mut prefixes, mut after) = (Vec::new(), Vec::new(), None);
                loop {
                    let part = page(prefix, delimiter, after, max);
                    assert!(part.lines.len() + part.prefixes.len() <= max);
                    lines.extend(part.lines);
                    prefixes.extend(part.prefixes);
                    match part.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                assert_eq!(
                    (&lines, &prefixes),
                    (&whole.lines, &whole.prefixes),
                    "{prefix} {delimiter} {max}"
                );
            }
        }
        // Behind a key as a whole, and from before the prefix.
        assert_eq!(page("", "", Some(("f5".into(), None)), 1).lines[0].0, "f6");
        assert_eq!(page("f", "", Some(("a".into(), Some(7))), 1).lines[0], ("f0".into(), 0, ()));
        assert_eq!(page("", "/", Some(("d1/".into(), None)), 1).prefixes, ["d2/"]);
        assert_eq!(page("", "", None, 0).lines, []);
    }

    fn names(keys: &BTreeSet<String>, query: &Query) -> (Vec<String>, Vec<String>, Option<String>) {
        let page = list(query, |from| Ok(keys.range(from.to_owned()..).next().map(|key| (key.clone(), ()))))
            .unwrap();
        (page.keys.into_iter().map(|(key, ())| key).collect(), page.prefixes, page.next)
    }

    fn keys(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|key| (*key).to_owned()).collect()
    }

    fn query(prefix: &str, delimiter: &str, after: &str, max: usize) -> Query {
        Query { prefix: prefix.into(), delimiter: delimiter.into(), after: after.into(), max }
    }

    #[test]
    fn keys_fold_at_the_delimiter_behind_the_prefix() {
        let all = keys(&["a", "a/1", "a/2/x", "a/2/y", "ab", "b/", "z\u{10ffff}", "ü/1"]);
        let (found, prefixes, next) = names(&all, &query("", "/", "", 100));
        assert_eq!(found, ["a", "ab", "z\u{10ffff}"]);
        assert_eq!(prefixes, ["a/", "b/", "ü/"]);
        assert_eq!(next, None);
        let (found, prefixes, _) = names(&all, &query("a/", "/", "", 100));
        assert_eq!((found, prefixes), (vec!["a/1".to_owned()], vec!["a/2/".to_owned()]));
        let (found, _, _) = names(&all, &query("a", "", "", 100));
        assert_eq!(found, ["a", "a/1", "a/2/x", "a/2/y", "ab"]);
    }

    #[test]
    fn pages_put_together_are_the_whole_listing() {
        let all: BTreeSet<String> =
            (0..60).flat_map(|n| [format!("d{}/f{n}", n % 7), format!("f{n}"), format!("é{n}")]).collect();
        for delimiter in ["", "/", "1"] {
            for prefix in ["", "d", "d3/", "none"] {
                let (keys_all, prefixes_all, _) = names(&all, &query(prefix, delimiter, "", 10_000));
                for max in [1, 2, 7, 50] {
                    let (mut keys_seen, mut prefixes_seen) = (Vec::new(), Vec::new());
                    let mut after = String::new();
                    loop {
                        let (found, prefixes, next) = names(&all, &query(prefix, delimiter, &after, max));
                        assert!(found.len() + prefixes.len() <= max);
                        keys_seen.extend(found);
                        prefixes_seen.extend(prefixes);
                        match next {
                            Some(next) => after = next,
                            None => break,
                        }
                    }
                    assert_eq!((&keys_seen, &prefixes_seen), (&keys_all, &prefixes_all));
                }
            }
        }
    }

    #[test]
    fn starting_inside_a_folded_prefix_still_shows_it() {
        let all = keys(&["a/1", "a/2", "b"]);
        assert_eq!(names(&all, &query("", "/", "a/1", 9)).1, ["a/"]);
        assert_eq!(names(&all, &query("", "/", "a/", 9)).1, Vec::<String>::new());
        assert_eq!(names(&all, &query("", "", "a/1", 9)).0, ["a/2", "b"]);
        assert_eq!(names(&all, &query("b", "", "a", 9)).0, ["b"]);
        assert_eq!(names(&all, &query("", "", "", 0)), (vec![], vec![], None));
    }

    #[test]
    fn the_text_behind_a_prefix() {
        assert_eq!(behind("a/"), Some("a0".into()));
        assert_eq!(behind("a\u{10ffff}"), Some("b".into()));
        assert_eq!(behind("\u{d7ff}"), Some("\u{e000}".into()));
        assert_eq!(behind("\u{10ffff}"), None);
    }
}
