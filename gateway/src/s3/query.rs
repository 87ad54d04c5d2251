//! Query strings.

/// Percent-decodes a part of a query string.
fn decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// All parameters in order, percent-decoded; those that do not decode are left out.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(name)?, decoded(value)?))
    })
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
