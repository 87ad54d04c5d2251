//! Access control lists as headers, documents and answers have them.

use hyper::HeaderMap;
use s3s::{S3Result, dto, s3_error};

use crate::{
    acl::{Acl, Canned, GRANTS_MAX, Grant, Grantee, Permission},
    keys::AccessKeys,
};

const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
/// Headers of grants in the order in which they are listed.
const HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// A list that a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// By name.
    Canned(Canned),
    /// Line by line.
    Grants(Vec<Grant>),
}

impl Wanted {
    /// The list itself.
    pub(crate) fn acl(self, owner: &str, bucket_owner: &str) -> Acl {
        match self {
            Self::Canned(canned) => canned.acl(owner, bucket_owner),
            Self::Grants(grants) => Acl { owner: owner.to_owned(), grants },
        }
    }
}

/// The list that headers ask for, if they do.
pub(crate) fn of_headers(headers: &HeaderMap, keys: &AccessKeys) -> S3Result<Option<Wanted>> {
    let text = |name: &str| match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "{name} is not text")),
    };
    let mut grants = Vec::new();
    for (name, permission) in HEADERS {
        for grantee in text(name)?.unwrap_or("").split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (kind, value) = grantee.split_once('=').unwrap_or((grantee, ""));
            let value = value.trim().trim_matches('"');
            let grantee = match kind.trim().to_ascii_lowercase().as_str() {
                "id" => known(value, keys)?,
                "uri" => group(value)?,
                "emailaddress" => return Err(by_email()),
                _ => return Err(s3_error!(InvalidArgument, "{name} takes id=\"..\" and uri=\"..\"")),
            };
            grants.push(Grant { grantee, permission });
        }
    }
    if grants.len() > GRANTS_MAX {
        return Err(s3_error!(InvalidArgument, "more than {GRANTS_MAX} grants"));
    }
    match (text("x-amz-acl")?, grants.is_empty()) {
        (None, true) => Ok(None),
        (None, false) => Ok(Some(Wanted::Grants(grants))),
        (Some(name), true) => match Canned::parse(name) {
            Some(canned) => Ok(Some(Wanted::Canned(canned))),
            None if matches!(name, "aws-exec-read" | "log-delivery-write") => {
                Err(s3_error!(NotImplemented, "the ACL {name} is for services that are not here"))
            }
            None => Err(s3_error!(InvalidArgument, "there is no canned ACL of this name")),
        },
        (Some(_), false) => Err(s3_error!(InvalidRequest, "a canned ACL and grants cannot go together")),
    }
}

fn known(account: &str, keys: &AccessKeys) -> S3Result<Grantee> {
    match keys.has_account(account) {
        Ok(true) => Ok(Grantee::Account(account.to_owned())),
        Ok(false) => Err(s3_error!(InvalidArgument, "there is no account with this id")),
        Err(error) => {
            tracing::error!(%error, "access keys cannot be used");
            Err(s3_error!(ServiceUnavailable, "accounts cannot be checked now"))
        }
    }
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        EVERYONE => Ok(Grantee::Everyone),
        AUTHENTICATED => Ok(Grantee::Authenticated),
        _ => Err(s3_error!(InvalidArgument, "there is no group with this uri")),
    }
}

fn by_email() -> s3s::S3Error {
    s3_error!(UnresolvableGrantByEmailAddress, "accounts are named by id, not by e-mail address")
}

/// The lines of a document; the owner that it names must be `owner`.
pub(crate) fn of_document(
    document: dto::AccessControlPolicy,
    owner: &str,
    keys: &AccessKeys,
) -> S3Result<Wanted> {
    if let Some(named) = document.owner.and_then(|owner| owner.id)
        && named != owner
    {
        return Err(s3_error!(AccessDenied, "the owner cannot be changed"));
    }
    let grants = document.grants.unwrap_or_default();
    if grants.len() > GRANTS_MAX {
        return Err(s3_error!(MalformedACLError, "more than {GRANTS_MAX} grants"));
    }
    let grants: S3Result<Vec<_>> = grants
        .into_iter()
        .map(|grant| {
            let (Some(grantee), Some(permission)) = (grant.grantee, grant.permission) else {
                return Err(s3_error!(MalformedACLError, "each grant has a grantee and a permission"));
            };
            let permission = HEADERS.iter().find(|(_, known)| name(*known) == permission.as_str());
            let (_, permission) =
                permission.ok_or_else(|| s3_error!(MalformedACLError, "there is no such permission"))?;
            let grantee = match (grantee.id, grantee.uri, grantee.email_address) {
                (Some(id), None, None) => known(&id, keys)?,
                (None, Some(uri), None) => group(&uri)?,
                (None, None, Some(_)) => return Err(by_email()),
                _ => return Err(s3_error!(MalformedACLError, "a grantee has an ID or a URI")),
            };
            Ok(Grant { grantee, permission: *permission })
        })
        .collect();
    Ok(Wanted::Grants(grants?))
}

fn name(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "READ",
        Permission::Write => "WRITE",
        Permission::ReadAcp => "READ_ACP",
        Permission::WriteAcp => "WRITE_ACP",
        Permission::FullControl => "FULL_CONTROL",
    }
}

/// The lines as answers have them: groups first.
pub(crate) fn shown(acl: &Acl) -> Vec<dto::Grant> {
    let kind = |name| dto::Type::from_static(name);
    let (groups, accounts): (Vec<_>, Vec<_>) =
        acl.grants.iter().partition(|grant| !matches!(grant.grantee, Grantee::Account(_)));
    let line = |grant: &Grant| {
        let group = |uri: &str| dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: kind(dto::Type::GROUP),
            uri: Some(uri.to_owned()),
        };
        let grantee = match &grant.grantee {
            Grantee::Everyone => group(EVERYONE),
            Grantee::Authenticated => group(AUTHENTICATED),
            Grantee::Account(account) => dto::Grantee {
                display_name: Some(account.clone()),
                email_address: None,
                id: Some(account.clone()),
                type_: kind(dto::Type::CANONICAL_USER),
                uri: None,
            },
        };
        let permission = dto::Permission::from_static(name(grant.permission));
        dto::Grant { grantee: Some(grantee), permission: Some(permission) }
    };
    groups.into_iter().chain(accounts).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, AccessKeys) {
        let directory = tempfile::tempdir().unwrap();
        let keys = AccessKeys::new(directory.path().join("keys.toml"));
        keys.add("bob", None, None).unwrap();
        (directory, keys)
    }

    #[test]
    fn headers_name_a_list_or_its_lines() {
        let (_directory, keys) = keys();
        let ask = |headers: &[(&'static str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (hyper::header::HeaderName::from_static(name), value.parse().unwrap()));
            of_headers(&headers.collect(), &keys)
        };
        assert_eq!(ask(&[]).unwrap(), None);
        assert_eq!(ask(&[("x-amz-acl", "private")]).unwrap(), Some(Wanted::Canned(Canned::Private)));
        let line = |grantee, permission| Grant { grantee, permission };
        let all = format!("id=\"bob\", uri={EVERYONE}");
        let wanted = ask(&[("x-amz-grant-full-control", "id=bob"), ("x-amz-grant-read", &all)]).unwrap();
        let bob = Grantee::Account("bob".into());
        assert_eq!(
            wanted,
            Some(Wanted::Grants(vec![
                line(bob.clone(), Permission::Read),
                line(Grantee::Everyone, Permission::Read),
                line(bob, Permission::FullControl)
            ]))
        );
        for (headers, code) in [
            (vec![("x-amz-acl", "open")], "InvalidArgument"),
            (vec![("x-amz-acl", "aws-exec-read")], "NotImplemented"),
            (vec![("x-amz-acl", "private"), ("x-amz-grant-read", "id=bob")], "InvalidRequest"),
            (vec![("x-amz-grant-read", "id=eve")], "InvalidArgument"),
            (vec![("x-amz-grant-read", "name=bob")], "InvalidArgument"),
            (vec![("x-amz-grant-read", "uri=http://x")], "InvalidArgument"),
            (vec![("x-amz-grant-read", "emailAddress=a@b")], "UnresolvableGrantByEmailAddress"),
        ] {
            assert_eq!(ask(&headers).unwrap_err().code().as_str(), code, "{headers:?}");
        }
    }

    #[test]
    fn documents_come_back_as_they_were_put() {
        let (_directory, keys) = keys();
        let acl = Canned::PublicRead.acl("bob", "bob");
        let document = |owner: &str| dto::AccessControlPolicy {
            grants: Some(shown(&acl)),
            owner: Some(dto::Owner { id: Some(owner.to_owned()), display_name: None }),
        };
        let wanted = of_document(document("bob"), "bob", &keys).unwrap();
        assert_eq!(wanted.acl("bob", "bob"), acl);
        assert_eq!(of_document(document("eve"), "bob", &keys).unwrap_err().code().as_str(), "AccessDenied");
        let mut broken = document("bob");
        broken.grants.as_mut().unwrap()[0].grantee = None;
        assert_eq!(of_document(broken, "bob", &keys).unwrap_err().code().as_str(), "MalformedACLError");
    }
}
