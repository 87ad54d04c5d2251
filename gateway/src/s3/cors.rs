//! CORS: which answers browsers may show to pages of other origins.

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use s3s::{
    S3Result,
    dto::{CORSConfiguration, CORSRule},
    s3_error,
};

/// Most rules of a bucket (as in AWS).
const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// Refuses rules that S3 would.
pub(super) fn check(document: &CORSConfiguration) -> S3Result<()> {
    let rules = &document.cors_rules;
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(s3_error!(MalformedXML, "1 to {RULES_MAX} rules"));
    }
    let one_star = |text: &String| text.matches('*').count() <= 1;
    for rule in rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(s3_error!(MalformedXML, "each rule has methods and origins"));
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(s3_error!(InvalidRequest, "Found unsupported HTTP method in CORS config: {method}"));
        }
        if !rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten()).all(one_star) {
            return Err(s3_error!(InvalidRequest, "an origin or header can have at most one wildcard"));
        }
        if rule.expose_headers.iter().flatten().any(|name| name.contains('*')) {
            return Err(s3_error!(InvalidRequest, "exposed headers have no wildcards"));
        }
    }
    Ok(())
}

/// Whether the text fits a pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, behind)) => {
            text.len() >= before.len() + behind.len() && text.starts_with(before) && text.ends_with(behind)
        }
    }
}

/// What a page asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Page {
    origin: String,
    method: String,
    headers: Vec<String>,
}

impl Page {
    /// From the headers of a request; `method` is the request's own. None where no other origin is involved.
    pub(super) fn new(headers: &HeaderMap, method: Option<&str>) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN)?.to_owned();
        let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).or(method)?.to_owned();
        let wanted = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or("");
        let wanted = wanted.split(',').map(|name| name.trim().to_ascii_lowercase());
        Some(Self { origin, method, headers: wanted.filter(|name| !name.is_empty()).collect() })
    }

    fn allowed_origin<'a>(&self, rule: &'a CORSRule) -> Option<&'a String> {
        rule.allowed_origins.iter().find(|origin| fits(origin, &self.origin))
    }

    fn allowed_by(&self, rule: &CORSRule) -> bool {
        let header = |name: &String| {
            let allowed = rule.allowed_headers.iter().flatten();
            allowed.map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| fits(&pattern, name))
        };
        self.allowed_origin(rule).is_some()
            && rule.allowed_methods.contains(&self.method)
            && self.headers.iter().all(header)
    }

    /// The headers of an answer, by the first rule that allows it; none if no rule does.
    pub(super) fn answer(&self, rules: &[CORSRule]) -> Option<HeaderMap> {
        let rule = rules.iter().find(|rule| self.allowed_by(rule))?;
        let origin = if self.allowed_origin(rule)? == "*" { "*" } else { self.origin.as_str() };
        let mut answer = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert(name, value);
            }
        };
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
        if origin != "*" {
            set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if !self.headers.is_empty() {
            set(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(", "));
        }
        if let Some(exposed) = rule.expose_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
            set(header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed.join(", "));
        }
        if let Some(seconds) = rule.max_age_seconds {
            set(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        set(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CORSRule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        CORSRule {
            allowed_headers: Some(own(headers)),
            allowed_methods: own(methods),
            allowed_origins: own(origins),
            expose_headers: Some(vec!["etag".into()]),
            id: None,
            max_age_seconds: Some(60),
        }
    }

    fn page(origin: &str, method: &str, headers: &[&str]) -> Page {
        Page {
            origin: origin.into(),
            method: method.into(),
            headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        }
    }

    #[test]
    fn the_first_rule_that_allows_everything_answers() {
        let rules =
            [rule(&["GET"], &["https://*.example.org"], &["x-amz-*"]), rule(&["GET", "PUT"], &["*"], &[])];
        let answer = page("https://a.example.org", "GET", &["x-amz-date"]).answer(&rules).unwrap();
        assert_eq!(answer["access-control-allow-origin"], "https://a.example.org");
        assert_eq!(answer["access-control-allow-headers"], "x-amz-date");
        assert_eq!(answer["access-control-max-age"], "60");
        let answer = page("http://b", "PUT", &[]).answer(&rules).unwrap();
        assert_eq!(answer["access-control-allow-origin"], "*");
        assert_eq!(answer["access-control-allow-methods"], "GET, PUT");
        assert!(answer.get("access-control-allow-credentials").is_none());
        assert_eq!(page("http://b", "DELETE", &[]).answer(&rules), None);
        assert_eq!(page("http://b", "GET", &["x-amz-date"]).answer(&rules), None);
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let code = |rules: Vec<CORSRule>| {
            check(&CORSConfiguration { cors_rules: rules }).map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(code(vec![rule(&["GET"], &["*"], &["*"])]), Ok(()));
        for (rules, expected) in [
            (vec![], "MalformedXML"),
            (vec![rule(&[], &["*"], &[])], "MalformedXML"),
            (vec![rule(&["PATCH"], &["*"], &[])], "InvalidRequest"),
            (vec![rule(&["GET"], &["*.a.*"], &[])], "InvalidRequest"),
        ] {
            assert_eq!(code(rules), Err(expected.to_owned()));
        }
    }
}
