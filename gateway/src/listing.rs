//! Listing keys the way S3 does: in byte order, with a prefix, folded at a delimiter, in pages.
//!
//! Pure: the keys come from a function that finds the first key at or behind a bound.

use crate::{manifest::ObjectInfo, meta::MetaError};

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
fn folded<'k>(query: &Query, key: &'k str) -> Option<&'k str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(query.prefix.as_str())?;
    let at = rest.find(query.delimiter.as_str())?;
    Some(&key[..query.prefix.len() + at + query.delimiter.len()])
}

/// Where the search begins.
fn first_bound(query: &Query) -> Option<String> {
    if query.after.is_empty() || query.after.as_str() < query.prefix.as_str() {
        return Some(query.prefix.clone());
    }
    if folded(query, &query.after).is_some_and(|fold| fold == query.after) {
        return behind(&query.after);
    }
    Some(format!("{}\0", query.after))
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
    let mut bound = first_bound(query);
    while let Some(from) = bound.take() {
        let Some((key, value)) = seek(&from)? else { break };
        if !key.starts_with(query.prefix.as_str()) {
            break;
        }
        if page.keys.len() + page.prefixes.len() == query.max {
            page.next = Some(last);
            break;
        }
        match folded(query, &key) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
