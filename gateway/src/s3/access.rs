//! Who may do what: every request is decided here, before anything of it is carried out.
//!
//! Order: the scope of the access key; an explicit denial of the bucket's policy; the owner; what the policy allows; access
//! control lists. Nobody is let in who is named by none of the last three.
//!
//! # Invariants
//! - A request on a bucket that passes carries [`Account`]: whose bucket it is, and with it whose key seals its objects.
//! - What the request makes gets the list in [`NewAcl`] and nothing else.
//!
//! # Not here
//! Signatures (`s3s`); secrets, rates ([`super::callers`]); what scopes are ([`crate::scope`]).

mod actions;
mod conditions;
mod grants;
mod judged;
mod policy;
mod request;
mod rules;

pub(crate) use grants::{Wanted, of_document, of_headers, shown};
pub(crate) use judged::Judged;
pub(crate) use policy::{Policy, PolicyError};
pub(crate) use request::{Caller, Peer};
pub(crate) use rules::{Block, Ownership, Rules};

use std::sync::Arc;

use hyper::http::Extensions;
use s3s::{
    S3Error, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    dto::{CopySource, DeleteObjectsInput, Error, ObjectIdentifier, PutObjectInput},
    s3_error,
};

use self::{
    actions::{DELETE, LIST, Need, READ, Target},
    judged::Decided,
    request::{Asked, RequestFacts},
    rules::ObjectFacts,
};
use super::{
    Account, auth,
    callers::Callers,
    copies::source_error,
    deletes::KEYS_MAX,
    errors,
    input::{now_ms, version},
    link_v2,
};
use crate::{
    acl::{Acl, Canned},
    meta::{BucketRows, Meta, MetaError},
    rate::Traffic,
    scope::Reach,
};

/// The access control list of what a request makes; put there by [`Guard`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewAcl(pub(crate) Acl);

/// The rows of the bucket that a request is about; put there by [`Guard`].
#[derive(Clone, Debug)]
pub(crate) struct Rows(pub(crate) Arc<BucketRows>);

/// The list of what a request makes.
pub(crate) fn new_acl<T>(request: &S3Request<T>) -> S3Result<Acl> {
    match request.extensions.get::<NewAcl>() {
        Some(NewAcl(acl)) => Ok(acl.clone()),
        None => Err(denied()),
    }
}

/// What the answer to a request to delete several says of keys that the caller may not delete; put there by [`Guard`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(pub(crate) Vec<Error>);

fn refusal_of(object: ObjectIdentifier, error: &S3Error) -> Error {
    Error {
        key: Some(object.key),
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        version_id: object.version_id,
    }
}

/// The account or sub-account whose usage counts what a request stores; put there by [`Guard`].
#[derive(Clone, PartialEq, Eq, Debug)]
struct Payer(String);

/// Whose usage counts what a request stores.
pub(crate) fn payer<T>(request: &S3Request<T>) -> S3Result<String> {
    match request.extensions.get::<Payer>() {
        Some(Payer(name)) => Ok(name.clone()),
        None => Err(denied()),
    }
}

/// What a request of the gateway itself carries, which nobody decides about: what it makes belongs to an account, and anybody may
/// read it.
pub(crate) fn admit_own(extensions: &mut Extensions, account: &str) {
    extensions.insert(Account(account.to_owned()));
    extensions.insert(Payer(account.to_owned()));
    extensions.insert(NewAcl(Canned::PublicRead.acl(account, account)));
    extensions.insert(Caller { account: Some(account.to_owned()), ..Caller::default() });
}

/// Says that governance is to yield.
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// A request that can only be decided once its body is known.
#[derive(Clone, Debug)]
struct Deferred(Asked);

/// What a request that is let in carries.
struct Admitted {
    owner: String,
    payer: String,
    rows: BucketRows,
    acl: Option<Acl>,
    judged: Judged,
    /// Of somebody anonymous; of others it was put there before.
    traffic: Option<Traffic>,
}

impl Admitted {
    fn note(self, extensions: &mut Extensions) {
        extensions.insert(Account(self.owner));
        extensions.insert(Payer(self.payer));
        if let Some(traffic) = self.traffic {
            extensions.insert(traffic);
        }
        extensions.insert(Rows(Arc::new(self.rows)));
        extensions.insert(self.judged);
        if let Some(acl) = self.acl {
            extensions.insert(NewAcl(acl));
        }
    }
}

/// Lets in what the bucket allows.
pub(crate) struct Guard {
    callers: Arc<Callers>,
    meta: Meta,
}

fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

fn not_offered(operation: &str) -> S3Error {
    s3_error!(NotImplemented, "this gateway does not offer {operation}")
}

impl Guard {
    /// For this gateway.
    pub(crate) fn new(callers: Arc<Callers>, meta: Meta) -> Self {
        Self { callers, meta }
    }

    /// Who asks; notes whose traffic it is.
    fn caller(&self, request: &mut S3AccessContext<'_>) -> S3Result<Caller> {
        let Some(credentials) = request.credentials().cloned() else { return Ok(Caller::default()) };
        // Policies of forms are signed, not requests: there the older signature proves as much.
        let operation = request.s3_op().name();
        if operation != "PostObject" {
            match link_v2::is_link(request.uri()) {
                true => link_v2::check(operation, request.uri(), now_ms())?,
                false => {
                    auth::require_v4(request.headers(), request.uri())?;
                    auth::require_signed(request.headers(), request.uri())?;
                }
            }
        }
        let (caller, traffic) = self.callers.admit(&credentials.access_key)?;
        request.extensions_mut().insert(traffic);
        Ok(caller)
    }

    /// What a request carries that is let in, if it is not one too many.
    fn admitted(
        &self,
        caller: &Caller,
        (owner, rows): (String, BucketRows),
        acl: Option<Acl>,
        judged: Judged,
    ) -> S3Result<Admitted> {
        let traffic = match caller.account() {
            Some(_) => None,
            None => self.callers.admit_anonymous(&owner)?,
        };
        Ok(Admitted { payer: caller.payer(&owner), owner, rows, acl, judged, traffic })
    }

    async fn rules(&self, bucket: &str) -> S3Result<(Rules, BucketRows)> {
        let rows = self.meta.bucket_rows(bucket.to_owned()).await.map_err(errors::meta)?;
        let rows = rows.ok_or_else(|| s3_error!(NoSuchBucket, "the bucket does not exist"))?;
        Ok((Rules::new(bucket, &rows)?, rows))
    }

    /// What is there under a key, or why there is nothing.
    async fn object(
        &self,
        rules: &Rules,
        key: &str,
        which: Option<&str>,
        absent: fn(MetaError) -> S3Error,
    ) -> S3Result<Result<ObjectFacts, S3Error>> {
        let which = match version(which) {
            Ok(which) => which,
            Err(error) => return Ok(Err(error)),
        };
        match self.meta.object(rules.bucket.clone(), key.to_owned(), which).await {
            Ok(found) => ObjectFacts::of(&found.info).map(Ok),
            Err(
                error @ (MetaError::NoSuchKey
                | MetaError::NoSuchVersion
                | MetaError::Deleted(_)
                | MetaError::IsMarker(_)),
            ) => Ok(Err(absent(error))),
            Err(error) => Err(errors::meta(error)),
        }
    }

    /// Decides about one object or bucket. Returns the object if the decision was made on it.
    ///
    /// What is not there is answered here rather than where the request is carried out: by then it might be there, and
    /// nobody would have asked whether it may be seen.
    async fn decide(
        &self,
        asked: &Asked,
        rules: &Rules,
        need: &Need,
        (key, version): (&str, Option<&str>),
        absent: fn(MetaError) -> S3Error,
    ) -> S3Result<Option<Decided>> {
        let at = match need.reach {
            Reach::List | Reach::ListUploads => asked.parameter("prefix").unwrap_or_default(),
            _ => key.to_owned(),
        };
        asked.caller.require(need.reach, &rules.bucket, &at)?;
        let about_object = need.target == Target::Object && !matches!(need.acl, Some((Target::Bucket, _)));
        let with_tags = need.target == Target::Object && rules.policy.is_some();
        let looked = match about_object || with_tags {
            true => Some(self.object(rules, key, version, absent).await?),
            false => None,
        };
        let (allowed, told) = {
            let object = looked.as_ref().and_then(|looked| looked.as_ref().ok());
            let tags = object.map(|object| object.tags.as_slice()).unwrap_or_default();
            let named = version.is_some();
            let facts = RequestFacts { asked, tags, prefix: None, version };
            let allowed = rules.allow(&asked.caller, need, (key, named), object, &facts);
            let action = if named { need.with_version } else { need.action };
            let listing = RequestFacts { prefix: Some(key), ..facts };
            let told = object.is_none()
                && !rules.denies(&asked.caller, action, key, &facts)
                && rules.allow(&asked.caller, &LIST, ("", false), None, &listing);
            (allowed, told)
        };
        match looked {
            // Who may list learns that there is nothing, others do not.
            Some(Err(absent)) if about_object => Err(if told { absent } else { denied() }),
            _ if !allowed => Err(denied()),
            Some(Ok(ObjectFacts { acl, tags })) if about_object => {
                Ok(Some(Decided::new(acl, with_tags.then_some(tags))))
            }
            _ => Ok(None),
        }
    }

    /// Decides about what a request asks for with headers besides its operation.
    fn decide_more(
        &self,
        asked: &Asked,
        rules: &Rules,
        (key, version): (&str, Option<&str>),
    ) -> S3Result<()> {
        let facts = RequestFacts { asked, tags: &[], prefix: None, version };
        let has = |name: &str| asked.headers.contains_key(name);
        let grants = || asked.headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
        // Lists and tags are the writer's to choose unless that is denied.
        for (action, wanted) in
            [("s3:PutObjectAcl", has("x-amz-acl") || grants()), ("s3:PutObjectTagging", has("x-amz-tagging"))]
        {
            if wanted && !key.is_empty() && rules.denies(&asked.caller, action, key, &facts) {
                return Err(denied());
            }
        }
        if asked.says(BYPASS) {
            asked.caller.require(Reach::GovernBucket, &rules.bucket, key)?;
        }
        // What binds the bucket's owner needs a permission of its own.
        for (action, wanted) in [
            ("s3:PutObjectRetention", has("x-amz-object-lock-mode")),
            ("s3:PutObjectRetention", has("x-amz-object-lock-retain-until-date")),
            ("s3:PutObjectLegalHold", has("x-amz-object-lock-legal-hold")),
            ("s3:BypassGovernanceRetention", asked.says(BYPASS)),
        ] {
            let need = Need { action, with_version: action, acl: None, ..READ };
            if wanted && !rules.allow(&asked.caller, &need, (key, false), None, &facts) {
                return Err(denied());
            }
        }
        Ok(())
    }

    fn expected(asked: &Asked, header: &str, owner: &str) -> S3Result<()> {
        match asked.header(header) {
            Some(expected) if expected != owner => Err(denied()),
            _ => Ok(()),
        }
    }

    /// Decides about the source of a copy.
    async fn decide_source(&self, asked: &Asked) -> S3Result<Option<Decided>> {
        if !matches!(asked.operation.as_str(), "CopyObject" | "UploadPartCopy") {
            return Ok(None);
        }
        let source = asked.header("x-amz-copy-source").unwrap_or("");
        let Ok(CopySource::Bucket { bucket, key, version_id }) = CopySource::parse(source) else {
            return Err(s3_error!(InvalidArgument, "x-amz-copy-source is bucket/key"));
        };
        let (rules, _) = self.rules(&bucket).await?;
        Self::expected(asked, "x-amz-source-expected-bucket-owner", &rules.owner)?;
        self.decide(asked, &rules, &READ, (&key, version_id.as_deref()), source_error).await
    }

    async fn admit(&self, asked: &Asked) -> S3Result<Admitted> {
        let (rules, rows) = self.rules(&asked.bucket).await?;
        let need = actions::need(&asked.operation).ok_or_else(|| not_offered(&asked.operation))?;
        Self::expected(asked, "x-amz-expected-bucket-owner", &rules.owner)?;
        let version = asked.parameter("versionId");
        let at = (asked.key.as_str(), version.as_deref());
        let object = self.decide(asked, &rules, &need, at, errors::lookup).await?;
        self.decide_more(asked, &rules, at)?;
        let source = self.decide_source(asked).await?;
        let makes = matches!(
            asked.operation.as_str(),
            "PutObject" | "PostObject" | "CopyObject" | "CreateMultipartUpload"
        );
        let acl = match makes {
            true => {
                let wanted = grants::of_headers(&asked.headers, self.callers.keys())?;
                Some(rules.object_acl(asked.caller.account(), wanted)?)
            }
            false => None,
        };
        self.admitted(&asked.caller, (rules.owner, rows), acl, Judged::new(object, source))
    }

    /// The list of a bucket that is to be made.
    fn new_bucket(&self, request: &S3AccessContext<'_>, account: &str) -> S3Result<Acl> {
        let wanted = grants::of_headers(request.headers(), self.callers.keys())?;
        let enforced = request.headers().get("x-amz-object-ownership").is_some_and(|value| {
            value
                .to_str()
                .is_ok_and(|name| Ownership::named(name).is_ok_and(|named| named == Ownership::Enforced))
        });
        let acl = wanted.map_or_else(|| Acl::private(account), |wanted| wanted.acl(account, account));
        if enforced && !acl.is_only_for(account) {
            return Err(s3_error!(
                InvalidBucketAclWithObjectOwnership,
                "a bucket whose owner is enforced has no ACL"
            ));
        }
        Ok(acl)
    }
}

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let caller = self.caller(request)?;
        let operation = request.s3_op().name().to_owned();
        request.extensions_mut().insert(caller.clone());
        let Some(bucket) = request.s3_path().get_bucket_name().map(str::to_owned) else {
            let account = caller.account.ok_or_else(denied)?;
            if operation != "ListBuckets" {
                return Err(not_offered(&operation));
            }
            request.extensions_mut().insert(Account(account));
            return Ok(());
        };
        if operation == "CreateBucket" {
            caller.require(Reach::GovernBucket, &bucket, "")?;
            let account = caller.account.ok_or_else(denied)?;
            let acl = self.new_bucket(request, &account)?;
            request.extensions_mut().insert(NewAcl(acl));
            request.extensions_mut().insert(Account(account));
            return Ok(());
        }
        let peer = request.extensions_mut().get::<Peer>().map(|Peer(address)| *address);
        let asked = Asked {
            caller,
            operation,
            bucket,
            key: request.s3_path().get_object_key().unwrap_or("").to_owned(),
            headers: request.headers().clone(),
            uri: request.uri().clone(),
            peer,
        };
        if matches!(asked.operation.as_str(), "DeleteObjects" | "PostObject") {
            request.extensions_mut().insert(Deferred(asked));
            return Ok(());
        }
        self.admit(&asked).await?.note(request.extensions_mut());
        Ok(())
    }

    async fn put_object(&self, request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
        let Some(Deferred(mut asked)) = request.extensions.remove() else { return Ok(()) };
        let input = &request.input;
        asked.key.clone_from(&input.key);
        // What a form says in fields is what other requests say in headers.
        for (name, value) in [
            ("x-amz-acl", input.acl.as_ref().map(|value| value.as_str())),
            ("x-amz-grant-full-control", input.grant_full_control.as_deref()),
            ("x-amz-grant-read", input.grant_read.as_deref()),
            ("x-amz-grant-read-acp", input.grant_read_acp.as_deref()),
            ("x-amz-grant-write-acp", input.grant_write_acp.as_deref()),
            ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(|value| value.as_str())),
            (
                "x-amz-object-lock-legal-hold",
                input.object_lock_legal_hold_status.as_ref().map(|value| value.as_str()),
            ),
            (
                "x-amz-server-side-encryption",
                input.server_side_encryption.as_ref().map(|value| value.as_str()),
            ),
            ("x-amz-server-side-encryption-customer-algorithm", input.sse_customer_algorithm.as_deref()),
            ("x-amz-storage-class", input.storage_class.as_ref().map(|value| value.as_str())),
            ("x-amz-tagging", input.tagging.as_deref()),
            ("x-amz-website-redirect-location", input.website_redirect_location.as_deref()),
        ] {
            asked.headers.remove(name);
            if let Some(value) = value {
                let value = value.parse();
                let value = value.map_err(|_| s3_error!(InvalidArgument, "the field {name} is not text"))?;
                asked.headers.insert(name, value);
            }
        }
        self.admit(&asked).await?.note(&mut request.extensions);
        Ok(())
    }

    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let Some(Deferred(asked)) = request.extensions.remove() else { return Err(denied()) };
        let (rules, rows) = self.rules(&asked.bucket).await?;
        Self::expected(&asked, "x-amz-expected-bucket-owner", &rules.owner)?;
        if request.input.delete.objects.len() > KEYS_MAX {
            return Err(s3_error!(MalformedXML, "1 to {KEYS_MAX} keys can be deleted at once"));
        }
        let mut refused = Vec::new();
        let mut left = Vec::new();
        for object in std::mem::take(&mut request.input.delete.objects) {
            let at = (object.key.as_str(), object.version_id.as_deref());
            let decided = self.decide(&asked, &rules, &DELETE, at, errors::lookup).await;
            match decided.and_then(|_| self.decide_more(&asked, &rules, at)) {
                Ok(()) => left.push(object),
                Err(error) if *error.code() == s3s::S3ErrorCode::AccessDenied => {
                    refused.push(refusal_of(object, &error));
                }
                Err(error) => return Err(error),
            }
        }
        request.input.delete.objects = left;
        request.extensions.insert(Refused(refused));
        let admitted = self.admitted(&asked.caller, (rules.owner, rows), None, Judged::default())?;
        admitted.note(&mut request.extensions);
        Ok(())
    }
}
