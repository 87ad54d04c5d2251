//! Query strings.

use super::percent::form_decoded;

/// The pairs in order, percent-decoded; `None` for one that does not decode. A name without a value has an empty one.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = Option<(String, String)>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((form_decoded(name)?, form_decoded(value)?))
    })
}

/// All parameters in order, percent-decoded; those that do not decode are left out.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    pairs(query).flatten()
}

/// The value of a parameter, percent-decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query).find(|(found, _)| found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "X-Amz-Date=1&bucket=b&key=a%2Fb%20c+%C3%BC&keyx=1&acl";
        assert_eq!(parameter(query, "key").as_deref(), Some("a/b c ü"));
        assert_eq!(parameter(query, "bucket").as_deref(), Some("b"));
        assert_eq!(parameter(query, "acl").as_deref(), Some(""));
        assert_eq!(parameter("key=%zz", "key"), None);
        assert_eq!(parameter("keyx=1", "key"), None);
    }
}
