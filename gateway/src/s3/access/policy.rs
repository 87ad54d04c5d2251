//! Bucket policies: parsed when they are put, evaluated for every request.
//!
//! Pure: what is asked and by whom is handed in as a [`Question`]. What cannot be evaluated exactly (an unknown condition
//! key, operator or action, a policy variable, another service's principal) is refused when the policy is put, so that no
//! statement is stored that has another effect than its author reads.
//!
//! # Not here
//! ACLs ([`super::grants`]); which actions a request needs (`super::actions`).

use serde::Deserialize;
use serde_json::Value;

use super::{
    actions,
    conditions::{Condition, Facts},
};

/// Longest policy, bytes (as in AWS).
pub(crate) const POLICY_BYTES_MAX: usize = 20 << 10;
/// What every resource of a policy begins with.
const ARN_PREFIX: &str = "arn:aws:s3:::";

/// Why a policy is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// More than [`POLICY_BYTES_MAX`].
    #[error("the policy is longer than {POLICY_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON of the shape of a policy.
    #[error("the policy does not parse: {0}")]
    Json(String),
    /// A version other than the two that exist.
    #[error("Version must be 2012-10-17 or 2008-10-17")]
    Version,
    /// No statement.
    #[error("the policy has no statement")]
    Empty,
    /// Neither or both of a pair were given.
    #[error("each statement needs exactly one of {0} and Not{0}")]
    OneOf(&'static str),
    /// `NotPrincipal` in a statement that allows.
    #[error("NotPrincipal can only be used with Deny")]
    NotPrincipal,
    /// A principal that cannot ask here.
    #[error("invalid principal in policy: {0}; use \"*\", {{\"AWS\": ..}} or {{\"CanonicalUser\": ..}}")]
    Principal(String),
    /// An action that no request here needs.
    #[error("invalid action in policy: {0}")]
    Action(String),
    /// A resource outside the bucket.
    #[error("invalid resource in policy: {0} is not in the bucket")]
    Resource(String),
    /// A condition that cannot be evaluated.
    #[error("invalid condition in policy: {0}")]
    Condition(String),
    /// `${..}`.
    #[error("policy variables are not offered: {0}")]
    Variable(String),
}

/// Who asks for what.
pub(crate) struct Question<'a> {
    /// The account that signed; none for anonymous requests.
    pub(crate) account: Option<&'a str>,
    /// The name within the account; the access key.
    pub(crate) user: Option<&'a str>,
    /// `s3:GetObject` and the like.
    pub(crate) action: &'a str,
    /// `bucket` or `bucket/key`.
    pub(crate) resource: &'a str,
    /// What conditions can ask about.
    pub(crate) facts: &'a dyn Facts,
}

/// What a policy says to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// A statement denies it; nothing else counts.
    Denied,
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement applies.
    Silent,
}

/// A policy that can be evaluated.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, PartialEq, Debug)]
struct Statement {
    allows: bool,
    principals: Principals,
    actions: Patterns,
    resources: Patterns,
    conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Debug)]
struct Patterns {
    /// Whether it is a `Not..` element.
    inverted: bool,
    patterns: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
struct Principals {
    inverted: bool,
    who: Vec<Principal>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Principal {
    Anyone,
    Account(String),
    User { account: String, name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawPolicy {
    version: Option<String>,
    #[allow(dead_code)]
    id: Option<String>,
    statement: OneOrMany<RawStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStatement {
    #[allow(dead_code)]
    sid: Option<String>,
    effect: Effect,
    principal: Option<Value>,
    not_principal: Option<Value>,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    condition: Option<Value>,
}

#[derive(Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Whether the text fits a pattern with `*` (any characters) and `?` (one character).
///
/// Takes at most the product of both lengths in steps.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, star_from)) => {
                    at = star_at + 1;
                    from = star_from + 1;
                    star = Some((star_at, star_from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl Policy {
    /// Parses a policy of a bucket and refuses what could not be evaluated.
    pub(crate) fn parse(text: &str, bucket: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong);
        }
        let raw: RawPolicy =
            serde_json::from_str(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        if !matches!(raw.version.as_deref(), None | Some("2012-10-17" | "2008-10-17")) {
            return Err(PolicyError::Version);
        }
        let statements = raw.statement.into_vec();
        if statements.is_empty() {
            return Err(PolicyError::Empty);
        }
        let statements: Result<_, _> =
            statements.into_iter().map(|raw| Statement::parse(raw, bucket)).collect();
        Ok(Self { statements: statements? })
    }

    /// What it says to a question.
    pub(crate) fn evaluate(&self, question: &Question<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(|statement| statement.applies(question)) {
            if !statement.allows {
                return Verdict::Denied;
            }
            verdict = Verdict::Allowed;
        }
        verdict
    }

    /// Whether it lets in anybody: it allows something to everyone without a condition that names where from or who.
    pub(crate) fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let everyone = statement.principals.who.contains(&Principal::Anyone);
            statement.allows && everyone && !statement.conditions.iter().any(Condition::narrows)
        })
    }
}

impl Statement {
    fn parse(raw: RawStatement, bucket: &str) -> Result<Self, PolicyError> {
        let allows = matches!(raw.effect, Effect::Allow);
        let principals = match (raw.principal, raw.not_principal) {
            (Some(who), None) => Principals { inverted: false, who: principals(&who)? },
            (None, Some(_)) if allows => return Err(PolicyError::NotPrincipal),
            (None, Some(who)) => Principals { inverted: true, who: principals(&who)? },
            _ => return Err(PolicyError::OneOf("Principal")),
        };
        let actions = Patterns::new(raw.action, raw.not_action, "Action")?;
        if let Some(unknown) = actions.patterns.iter().find(|pattern| !actions::exists(pattern)) {
            return Err(PolicyError::Action(unknown.clone()));
        }
        let mut resources = Patterns::new(raw.resource, raw.not_resource, "Resource")?;
        for resource in &mut resources.patterns {
            let inside = resource.strip_prefix(ARN_PREFIX).filter(|path| {
                let named = path.split('/').next().unwrap_or("");
                matches(named, bucket)
            });
            let inside = inside.ok_or_else(|| PolicyError::Resource(resource.clone()))?;
            *resource = inside.to_owned();
        }
        let conditions = match raw.condition {
            None => Vec::new(),
            Some(value) => Condition::parse_all(&value)?,
        };
        Ok(Self { allows, principals, actions, resources, conditions })
    }

    fn applies(&self, question: &Question<'_>) -> bool {
        self.principals.apply(question)
            && self.actions.apply(|pattern| {
                matches(&pattern.to_ascii_lowercase(), &question.action.to_ascii_lowercase())
            })
            && self.resources.apply(|pattern| matches(pattern, question.resource))
            && self.conditions.iter().all(|condition| condition.holds(question.facts))
    }
}

impl Patterns {
    fn new(
        given: Option<OneOrMany<String>>,
        inverted: Option<OneOrMany<String>>,
        what: &'static str,
    ) -> Result<Self, PolicyError> {
        let (inverted, patterns) = match (given, inverted) {
            (Some(patterns), None) => (false, patterns.into_vec()),
            (None, Some(patterns)) => (true, patterns.into_vec()),
            _ => return Err(PolicyError::OneOf(what)),
        };
        if patterns.is_empty() {
            return Err(PolicyError::OneOf(what));
        }
        match patterns.iter().find(|pattern| pattern.contains("${")) {
            Some(variable) => Err(PolicyError::Variable(variable.clone())),
            None => Ok(Self { inverted, patterns }),
        }
    }

    fn apply(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| fits(pattern)) != self.inverted
    }
}

impl Principals {
    fn apply(&self, question: &Question<'_>) -> bool {
        let is = |principal: &Principal| match principal {
            Principal::Anyone => true,
            Principal::Account(account) => question.account == Some(account),
            Principal::User { account, name } => {
                question.account == Some(account) && question.user == Some(name)
            }
        };
        self.who.iter().any(is) != self.inverted
    }
}

fn principals(value: &Value) -> Result<Vec<Principal>, PolicyError> {
    let wrong = || PolicyError::Principal(value.to_string());
    let found = match value {
        Value::String(text) if text == "*" => vec![Principal::Anyone],
        Value::Object(kinds) => {
            let mut found = Vec::new();
            for (kind, names) in kinds {
                let names = match names {
                    Value::String(one) => vec![one.as_str()],
                    Value::Array(many) => {
                        many.iter().map(|name| name.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
                    }
                    _ => return Err(wrong()),
                };
                for name in names {
                    found.push(match kind.as_str() {
                        "AWS" => principal(name).ok_or_else(wrong)?,
                        "CanonicalUser" => Principal::Account(name.to_owned()),
                        _ => return Err(wrong()),
                    });
                }
            }
            found
        }
        _ => return Err(wrong()),
    };
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

/// `*`, an account, `arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:user/NAME` or `arn:aws:iam:::user/ACCOUNT`.
fn principal(name: &str) -> Option<Principal> {
    if name == "*" {
        return Some(Principal::Anyone);
    }
    let Some(arn) = name.strip_prefix("arn:aws:iam::") else {
        return (!name.is_empty() && !name.contains([':', '*', '/', '$']))
            .then(|| Principal::Account(name.to_owned()));
    };
    let (account, rest) = arn.split_once(':')?;
    match (account, rest.strip_prefix("user/")) {
        ("", Some(account)) if !account.is_empty() => Some(Principal::Account(account.to_owned())),
        ("", _) => None,
        (account, None) if rest == "root" => Some(Principal::Account(account.to_owned())),
        (account, Some(name)) if !name.is_empty() => {
            Some(Principal::User { account: account.to_owned(), name: name.to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::access::conditions::tests::Table;

    fn ask(
        policy: &str,
        account: Option<&str>,
        action: &str,
        resource: &str,
        facts: &[(&str, &str)],
    ) -> Verdict {
        let policy = Policy::parse(policy, "b").unwrap();
        let facts = Table::new(facts);
        policy.evaluate(&Question { account, user: Some("key"), action, resource, facts: &facts })
    }

    fn statement(effect: &str, rest: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}",{rest}}}]}}"#)
    }

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/x*y", "a/b/xzzy", true),
            ("a", "ab", false),
            ("ü*", "üx", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn statements_apply_to_whom_and_what_they_name() {
        let rest = r#""Principal":{"AWS":["arn:aws:iam::bob:root"]},"Action":"s3:Get*","Resource":"arn:aws:s3:::b/public/*""#;
        let allow = statement("Allow", rest);
        let get = "s3:GetObject";
        assert_eq!(ask(&allow, Some("bob"), get, "b/public/x", &[]), Verdict::Allowed);
        assert_eq!(ask(&allow, Some("eve"), get, "b/public/x", &[]), Verdict::Silent);
        assert_eq!(ask(&allow, None, get, "b/public/x", &[]), Verdict::Silent);
        assert_eq!(ask(&allow, Some("bob"), get, "b/private/x", &[]), Verdict::Silent);
        assert_eq!(ask(&allow, Some("bob"), "s3:PutObject", "b/public/x", &[]), Verdict::Silent);
        let both = allow.replace(
            "}]}",
            r#"},{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/public/secret"}]}"#,
        );
        assert_eq!(ask(&both, Some("bob"), get, "b/public/x", &[]), Verdict::Allowed);
        assert_eq!(ask(&both, Some("bob"), get, "b/public/secret", &[]), Verdict::Denied);
        let others = statement(
            "Deny",
            r#""NotPrincipal":{"AWS":"arn:aws:iam::bob:user/key"},"NotAction":"s3:ListBucket","NotResource":"arn:aws:s3:::b/open/*""#,
        );
        assert_eq!(ask(&others, Some("eve"), get, "b/x", &[]), Verdict::Denied);
        assert_eq!(ask(&others, Some("bob"), get, "b/x", &[]), Verdict::Silent);
        assert_eq!(ask(&others, Some("eve"), get, "b/open/x", &[]), Verdict::Silent);
        assert_eq!(ask(&others, Some("eve"), "s3:ListBucket", "b", &[]), Verdict::Silent);
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused() {
        let good = r#""Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
        let parse = |text: &str| Policy::parse(text, "b");
        let refused = |effect: &str, rest: &str| parse(&statement(effect, rest)).unwrap_err();
        assert!(parse(&statement("Allow", good)).is_ok());
        assert!(matches!(parse(&"x".repeat(POLICY_BYTES_MAX + 1)), Err(PolicyError::TooLong)));
        assert!(matches!(parse("{"), Err(PolicyError::Json(_))));
        assert!(matches!(parse(&statement("Maybe", good)), Err(PolicyError::Json(_))));
        let old = statement("Allow", good).replace("2012", "2010");
        assert!(matches!(parse(&old), Err(PolicyError::Version)));
        assert!(matches!(parse(r#"{"Statement":[]}"#), Err(PolicyError::Empty)));
        let change = |from: &str, to: &str| refused("Allow", &good.replace(from, to));
        assert_eq!(change(r#""Principal":"*","#, ""), PolicyError::OneOf("Principal"));
        assert_eq!(change("Principal", "NotPrincipal"), PolicyError::NotPrincipal);
        for wrong in [r#"{"Service":"x"}"#, r#"{"AWS":"arn:aws:iam:::root"}"#, "7", r#"{"AWS":[]}"#, r#""x""#]
        {
            let error = change(r#""Principal":"*""#, &format!(r#""Principal":{wrong}"#));
            assert!(matches!(error, PolicyError::Principal(_)), "{wrong}");
        }
        assert!(matches!(change("s3:GetObject", "s3:FetchObject"), PolicyError::Action(_)));
        assert!(matches!(change("s3:GetObject", "ec2:*"), PolicyError::Action(_)));
        assert!(matches!(change("s3:::b/*", "s3:::c/*"), PolicyError::Resource(_)));
        assert!(matches!(change("s3:::b/*", "s3:::b/${aws:username}"), PolicyError::Variable(_)));
        let condition = |text: &str| refused("Allow", &format!(r#"{good},"Condition":{text}"#));
        for wrong in [
            r#"{"StringSimilar":{"s3:prefix":"x"}}"#,
            r#"{"StringEquals":{"s3:weather":"x"}}"#,
            r#"{"StringEquals":{"s3:prefix":{}}}"#,
            r#"{"IpAddress":{"aws:SourceIp":"here"}}"#,
            "[]",
        ] {
            assert!(matches!(condition(wrong), PolicyError::Condition(_)), "{wrong}");
        }
    }

    #[test]
    fn public_is_who_lets_in_everyone() {
        let public = |rest: &str| Policy::parse(&statement("Allow", rest), "b").unwrap().is_public();
        let good = r#""Principal":{"AWS":"*"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
        assert!(public(good));
        assert!(!public(&good.replace(r#""*"}"#, r#""bob"}"#)));
        assert!(!public(&format!(r#"{good},"Condition":{{"IpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}"#)));
        assert!(public(&format!(r#"{good},"Condition":{{"IpAddress":{{"aws:SourceIp":"0.0.0.0/0"}}}}"#)));
        for condition in [
            r#"{"StringLike":{"aws:Referer":"x"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}"#,
            // These hold for somebody anonymous too.
            r#"{"StringEquals":{"aws:PrincipalType":"Anonymous"}}"#,
            r#"{"ForAllValues:StringEquals":{"aws:PrincipalAccount":"bob"}}"#,
        ] {
            assert!(public(&format!(r#"{good},"Condition":{condition}"#)), "{condition}");
        }
    }
}
