//! Percent-encoding, both ways.

/// Text written as in a query string or a form: `+` is a space. None where an escape is not two hexadecimal digits, or where
/// the bytes are not UTF-8.
pub(super) fn form_decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                bytes.extend(byte);
                rest = behind;
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Text of which ASCII letters, digits, `-`, `_`, `.`, `/` and the characters in `plain` stand as they are.
pub(super) fn encoded(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) || plain.contains(&byte) {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_whole_or_not_at_all() {
        for (raw, text) in [
            ("a%2Fb%20c+%C3%BC", Some("a/b c ü")),
            ("", Some("")),
            ("%2b+%2B", Some("+ +")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ü", None),
            ("%C3", None),
        ] {
            assert_eq!(form_decoded(raw).as_deref(), text, "{raw}");
        }
    }

    #[test]
    fn what_is_plain_is_left() {
        assert_eq!(encoded("aZ9-_./*~ +ü", b"*"), "aZ9-_./*%7E%20%2B%C3%BC");
        assert_eq!(encoded("*~", b"~"), "%2A~");
        assert_eq!(form_decoded(&encoded("a b+ü%", b"")).as_deref(), Some("a b+ü%"));
    }
}
