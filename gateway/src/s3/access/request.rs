//! What is looked at of a request before it is let in.

use std::net::IpAddr;

use hyper::{HeaderMap, Uri, header};
use s3s::{
    S3Result,
    dto::{Timestamp, TimestampFormat},
    s3_error,
};

use super::conditions::Facts;
use crate::{
    account::AccountName,
    s3::{
        input::{now_ms, timestamp},
        query::{parameter, parameters},
    },
    scope::{Reach, Scope},
};

/// Address of the client; put into requests by the HTTP server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Caller {
    /// The account that signed; none for somebody anonymous.
    pub(crate) account: Option<String>,
    /// Its access key.
    pub(crate) access_key: Option<String>,
    /// The account or sub-account that the key acts for.
    pub(crate) name: Option<AccountName>,
    /// What the key may do at most; of somebody anonymous, what the bucket allows everyone.
    pub(crate) scope: Scope,
}

impl Caller {
    /// The account.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Refuses what the access key's scope does not allow.
    pub(crate) fn require(&self, reach: Reach, bucket: &str, at: &str) -> S3Result<()> {
        match self.scope.allows(reach, bucket, at) {
            true => Ok(()),
            false => Err(s3_error!(
                AccessDenied,
                "the scope of the access key ({}) does not allow this request",
                self.scope
            )),
        }
    }

    /// Whose usage counts what the caller stores in a bucket of `owner`.
    pub(super) fn payer(&self, owner: &str) -> String {
        match &self.name {
            Some(name) if name.account() == owner => name.to_string(),
            _ => owner.to_owned(),
        }
    }
}

/// What is looked at of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Who.
    pub(crate) caller: Caller,
    /// Name of the operation.
    pub(crate) operation: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// The key; empty for requests about the bucket.
    pub(crate) key: String,
    /// Its headers; of a form, its fields under the names of headers.
    pub(crate) headers: HeaderMap,
    /// Its address.
    pub(crate) uri: Uri,
    /// From where.
    pub(crate) peer: Option<IpAddr>,
}

impl Asked {
    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.uri.query().unwrap_or(""), name)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether a header says true.
    pub(super) fn says(&self, name: &str) -> bool {
        self.header(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// What conditions of policies can ask about a request.
pub(super) struct RequestFacts<'a> {
    /// The request.
    pub(super) asked: &'a Asked,
    /// Tags of the object.
    pub(super) tags: &'a [(String, String)],
    /// Stands in for the parameter of a listing: whether a listing of just this key would be allowed.
    pub(super) prefix: Option<&'a str>,
    /// The version that is asked for.
    pub(super) version: Option<&'a str>,
}

impl RequestFacts<'_> {
    /// Tags that the request brings in a header.
    fn request_tags(&self) -> Vec<(String, String)> {
        self.asked.header("x-amz-tagging").map(|tags| parameters(tags).collect()).unwrap_or_default()
    }

    fn now(&self, format: TimestampFormat) -> Option<String> {
        let now: Timestamp = timestamp(now_ms());
        let mut text = Vec::new();
        now.format(format, &mut text).ok()?;
        String::from_utf8(text).ok()
    }

    fn signature(&self) -> (&'static str, bool) {
        let authorization = self.asked.header(header::AUTHORIZATION.as_str());
        match (self.asked.operation.as_str(), authorization) {
            ("PostObject", _) => ("POST", true),
            (_, Some(_)) => ("REST-HEADER", true),
            _ => ("REST-QUERY-STRING", self.asked.parameter("X-Amz-Signature").is_some()),
        }
    }

    fn value(&self, key: &str) -> Option<String> {
        let asked = self.asked;
        let text = |text: &str| Some(text.to_owned());
        match key {
            "aws:currenttime" => self.now(TimestampFormat::DateTime),
            "aws:epochtime" => self.now(TimestampFormat::EpochSeconds),
            "aws:principalaccount" | "aws:userid" => asked.caller.account.clone(),
            "aws:username" => asked.caller.access_key.clone(),
            "aws:principaltype" => text(if asked.caller.account.is_some() { "Account" } else { "Anonymous" }),
            "aws:referer" => asked.header("referer").and_then(text),
            "aws:useragent" => asked.header("user-agent").and_then(text),
            // TLS ends at the proxy in front of the gateway; what a client says about it proves nothing.
            "aws:securetransport" => text("false"),
            "aws:sourceip" => asked.peer.map(|peer| peer.to_canonical().to_string()),
            "s3:authtype" => asked.caller.account.as_ref().map(|_| self.signature().0.to_owned()),
            "s3:signatureversion" => {
                (asked.caller.account.is_some() && self.signature().1).then(|| "AWS4-HMAC-SHA256".to_owned())
            }
            "s3:prefix" => self.prefix.map(str::to_owned).or_else(|| asked.parameter("prefix")),
            "s3:delimiter" => asked.parameter("delimiter"),
            "s3:max-keys" => asked.parameter("max-keys"),
            "s3:versionid" => self.version.map(str::to_owned),
            "s3:x-amz-copy-source" => asked.header("x-amz-copy-source").and_then(|source| {
                let source = parameter(&format!("s={}", source.replace('+', "%2B")), "s")?;
                Some(source.trim_start_matches('/').to_owned())
            }),
            "s3:object-lock-mode" => asked.header("x-amz-object-lock-mode").and_then(text),
            "s3:object-lock-legal-hold" => asked.header("x-amz-object-lock-legal-hold").and_then(text),
            "s3:object-lock-retain-until-date" => {
                asked.header("x-amz-object-lock-retain-until-date").and_then(text)
            }
            key => {
                let name = key.strip_prefix("s3:").filter(|name| name.starts_with("x-amz-"))?;
                asked.header(name).and_then(text)
            }
        }
    }
}

impl Facts for RequestFacts<'_> {
    fn values(&self, key: &str) -> Vec<String> {
        let of = |tags: &[(String, String)], name: &str| {
            tags.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()).collect()
        };
        if let Some(name) = key.strip_prefix("s3:existingobjecttag/") {
            return of(self.tags, name);
        }
        if let Some(name) = key.strip_prefix("s3:requestobjecttag/") {
            return of(&self.request_tags(), name);
        }
        if key == "s3:requestobjecttagkeys" {
            return self.request_tags().into_iter().map(|(name, _)| name).collect();
        }
        self.value(key).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_headers_query_and_tags() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-amz-copy-source", "/b/public/a%20b"),
            ("x-amz-acl", "private"),
            ("x-amz-tagging", "class=open&b"),
            ("referer", "http://here/"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let asked = Asked {
            caller: Caller {
                account: Some("alice".into()),
                access_key: Some("K".into()),
                ..Caller::default()
            },
            operation: "CopyObject".into(),
            bucket: "b".into(),
            key: "k".into(),
            headers,
            uri: "/b/k?prefix=x%2F&x-amz-storage-class=STANDARD&X-Amz-Signature=1".parse().unwrap(),
            peer: Some("::ffff:10.0.0.1".parse().unwrap()),
        };
        let tags = [("class".to_owned(), "secret".to_owned())];
        let facts = RequestFacts { asked: &asked, tags: &tags, prefix: None, version: Some("v") };
        for (key, value) in [
            ("s3:x-amz-copy-source", "b/public/a b"),
            ("s3:x-amz-acl", "private"),
            ("s3:requestobjecttag/class", "open"),
            ("s3:existingobjecttag/class", "secret"),
            ("s3:prefix", "x/"),
            ("s3:versionid", "v"),
            ("s3:authtype", "REST-QUERY-STRING"),
            ("aws:referer", "http://here/"),
            ("aws:sourceip", "10.0.0.1"),
            ("aws:username", "K"),
            ("aws:principaltype", "Account"),
        ] {
            assert_eq!(facts.values(key), [value], "{key}");
        }
        assert_eq!(facts.values("s3:requestobjecttagkeys"), ["class", "b"]);
        // A parameter that does nothing satisfies nothing.
        assert!(facts.values("s3:x-amz-storage-class").is_empty());
        assert!(facts.values("s3:delimiter").is_empty());
    }
}
