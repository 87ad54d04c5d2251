//! What a bucket says about who may do what, and what follows from it.

use s3s::{
    S3Result,
    dto::{ObjectOwnership, OwnershipControls, PublicAccessBlockConfiguration},
    s3_error,
};

use super::{
    actions::{Need, Target},
    conditions::Facts,
    grants::Wanted,
    policy::{Policy, Question, Verdict},
    request::Caller,
};
use crate::{
    acl::{Acl, Canned},
    meta::{BucketRows, MetaError, Subresource},
    object::ObjectInfo,
    s3::{errors, stored},
};

/// Who owns objects that others write into the bucket, and whether lists count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Ownership {
    /// Whoever wrote them.
    #[default]
    Writer,
    /// The owner of the bucket, where the writer gives it full control.
    Preferred,
    /// The owner of the bucket; lists are disabled.
    Enforced,
}

impl Ownership {
    /// From a document.
    pub(crate) fn of(controls: &OwnershipControls) -> S3Result<Self> {
        match controls.rules.as_slice() {
            [rule] => Self::named(rule.object_ownership.as_str()),
            _ => Err(s3_error!(MalformedXML, "exactly one rule is expected")),
        }
    }

    /// From the name that clients know it by.
    pub(crate) fn named(name: &str) -> S3Result<Self> {
        match name {
            ObjectOwnership::OBJECT_WRITER => Ok(Self::Writer),
            ObjectOwnership::BUCKET_OWNER_PREFERRED => Ok(Self::Preferred),
            ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(Self::Enforced),
            _ => Err(s3_error!(InvalidArgument, "there is no such object ownership")),
        }
    }
}

/// Public access block of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Block {
    /// Public lists cannot be put.
    pub(crate) put_acls: bool,
    /// What lists give to everyone does not count.
    pub(crate) ignore_acls: bool,
    /// Public policies cannot be put.
    pub(crate) put_policy: bool,
    /// A public policy counts for the owner alone.
    pub(crate) restrict: bool,
}

impl Block {
    /// From a document.
    pub(crate) fn of(document: &PublicAccessBlockConfiguration) -> Self {
        Self {
            put_acls: document.block_public_acls.unwrap_or(false),
            ignore_acls: document.ignore_public_acls.unwrap_or(false),
            put_policy: document.block_public_policy.unwrap_or(false),
            restrict: document.restrict_public_buckets.unwrap_or(false),
        }
    }
}

/// What is asked of an object that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ObjectFacts {
    /// Its list.
    pub(crate) acl: Acl,
    /// Its tags.
    pub(crate) tags: Vec<(String, String)>,
}

impl ObjectFacts {
    /// Of an object's row.
    pub(crate) fn of(info: &ObjectInfo) -> S3Result<Self> {
        let properties = &info.properties;
        let acl = Acl::of_stored(&properties.owner, properties.acl.as_deref());
        let acl = acl.map_err(|_| errors::meta(MetaError::Row("objects")))?;
        Ok(Self { acl, tags: properties.tags.clone() })
    }
}

/// What a bucket says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rules {
    /// The bucket.
    pub(crate) bucket: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// Its list.
    pub(crate) acl: Acl,
    /// Its policy.
    pub(crate) policy: Option<Policy>,
    /// Its public access block.
    pub(crate) block: Block,
    /// Who owns what others write.
    pub(crate) ownership: Ownership,
}

impl Rules {
    /// From the rows of a bucket.
    pub(crate) fn new(bucket: &str, rows: &BucketRows) -> S3Result<Self> {
        let broken = |what| {
            tracing::error!(bucket, "the {what} of a bucket does not parse: nobody is let in");
            s3_error!(InternalError, "the {what} of the bucket does not parse")
        };
        let owner = rows.info.account.clone();
        let acl = match rows.get(Subresource::Acl) {
            Some(row) => Acl::from_row(row).map_err(|_| broken("list"))?,
            None => Acl::private(&owner),
        };
        let policy = match rows.get(Subresource::Policy) {
            Some(row) => {
                let text = std::str::from_utf8(row).map_err(|_| broken("policy"))?;
                Some(Policy::parse(text, bucket).map_err(|_| broken("policy"))?)
            }
            None => None,
        };
        let block = match rows.get(Subresource::PublicAccessBlock) {
            Some(row) => Block::of(&stored::from_row(row)?),
            None => Block::default(),
        };
        let ownership = match rows.get(Subresource::Ownership) {
            Some(row) => Ownership::of(&stored::from_row(row)?)?,
            None => Ownership::default(),
        };
        Ok(Self { bucket: bucket.to_owned(), owner, acl, policy, block, ownership })
    }

    /// Whether it lets in people whom the owner does not name.
    pub(crate) fn is_public(&self) -> bool {
        let by_acl = self.ownership != Ownership::Enforced && !self.block.ignore_acls && self.acl.is_public();
        by_acl || self.policy.as_ref().is_some_and(Policy::is_public)
    }

    fn ask(&self, caller: &Caller, action: &str, resource: &str, facts: &dyn Facts) -> Verdict {
        let Some(policy) = &self.policy else { return Verdict::Silent };
        let account = caller.account();
        let user = caller.access_key.as_deref();
        let verdict = policy.evaluate(&Question { account, user, action, resource, facts });
        if verdict == Verdict::Allowed && self.block.restrict && policy.is_public() {
            return Verdict::Silent;
        }
        verdict
    }

    /// Whether the policy denies an action on an object outright.
    pub(super) fn denies(&self, caller: &Caller, action: &str, key: &str, facts: &dyn Facts) -> bool {
        self.ask(caller, action, &format!("{}/{key}", self.bucket), facts) == Verdict::Denied
    }

    /// Whether somebody may do something. `object` is what is there under the key, where the request is about that.
    pub(crate) fn allow(
        &self,
        caller: &Caller,
        need: &Need,
        (key, version): (&str, bool),
        object: Option<&ObjectFacts>,
        facts: &dyn Facts,
    ) -> bool {
        let action = if version { need.with_version } else { need.action };
        let verdict = match need.target {
            Target::Bucket => self.ask(caller, action, &self.bucket, facts),
            Target::Object => self.ask(caller, action, &format!("{}/{key}", self.bucket), facts),
        };
        let account = caller.account();
        let is_owner = account == Some(&self.owner);
        let about_policy = action.ends_with("BucketPolicy");
        // Whoever owns the bucket can always repair its policy.
        if verdict == Verdict::Denied && !(is_owner && about_policy) {
            return false;
        }
        let of_object = matches!(need.acl, Some((Target::Object, _)));
        // What others own, only they give away: neither the bucket's owner nor its policy does.
        let foreign = of_object
            && self.ownership != Ownership::Enforced
            && object.is_some_and(|object| object.acl.owner != self.owner);
        if !foreign && (is_owner || verdict == Verdict::Allowed) {
            return true;
        }
        if self.ownership == Ownership::Enforced {
            return false;
        }
        match need.acl {
            Some((Target::Bucket, permission)) => {
                self.acl.allows(account, permission, self.block.ignore_acls)
            }
            Some((Target::Object, permission)) => {
                object.is_some_and(|object| object.acl.allows(account, permission, self.block.ignore_acls))
            }
            None => {
                need.target == Target::Object
                    && account.is_some()
                    && object.is_some_and(|object| account == Some(&object.acl.owner))
            }
        }
    }

    /// The list that an object gets whose writer wants `wanted`.
    pub(crate) fn object_acl(&self, writer: Option<&str>, wanted: Option<Wanted>) -> S3Result<Acl> {
        // Nobody can be asked for what is written anonymously: it belongs to the bucket.
        let writer = writer.unwrap_or(&self.owner);
        let acl = match self.ownership {
            Ownership::Enforced => {
                let fits = match &wanted {
                    None | Some(Wanted::Canned(Canned::BucketOwnerFullControl)) => true,
                    Some(Wanted::Canned(_)) => false,
                    Some(Wanted::Grants(grants)) => {
                        Acl { owner: String::new(), grants: grants.clone() }.is_only_for(&self.owner)
                    }
                };
                if !fits {
                    return Err(s3_error!(AccessControlListNotSupported, "the bucket does not allow ACLs"));
                }
                Acl::private(&self.owner)
            }
            Ownership::Preferred if wanted == Some(Wanted::Canned(Canned::BucketOwnerFullControl)) => {
                Acl::private(&self.owner)
            }
            Ownership::Preferred | Ownership::Writer => {
                wanted.unwrap_or(Wanted::Canned(Canned::Private)).acl(writer, &self.owner)
            }
        };
        self.check_acl(&acl)?;
        Ok(acl)
    }

    /// Refuses a list that the public access block does not let be put.
    pub(crate) fn check_acl(&self, acl: &Acl) -> S3Result<()> {
        if self.block.put_acls && acl.is_public() {
            return Err(s3_error!(AccessDenied, "public ACLs are blocked for this bucket"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::access::{
        actions::{DELETE, LIST, OPERATIONS, READ, need},
        conditions::tests::Table,
    };

    fn caller(account: Option<&str>) -> Caller {
        let name = account.map(str::to_owned);
        Caller { account: name.clone(), access_key: name, ..Caller::default() }
    }

    fn rules(acl: Canned, policy: Option<&str>) -> Rules {
        Rules {
            bucket: "b".into(),
            owner: "alice".into(),
            acl: acl.acl("alice", "alice"),
            policy: policy.map(|text| Policy::parse(text, "b").unwrap()),
            block: Block::default(),
            ownership: Ownership::Writer,
        }
    }

    fn allow(rules: &Rules, account: Option<&str>, need: &Need, object: Option<Acl>) -> bool {
        let object = object.map(|acl| ObjectFacts { acl, tags: vec![] });
        rules.allow(&caller(account), need, ("k", false), object.as_ref(), &Table::new(&[]))
    }

    fn policy(effect: &str, action: &str) -> String {
        format!(
            r#"{{"Statement":{{"Effect":"{effect}","Principal":"*","Action":"{action}",
            "Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}}}}"#
        )
    }

    #[test]
    fn nobody_is_let_in_who_is_not_named() {
        let rules = rules(Canned::Private, None);
        let own = || Some(Acl::private("alice"));
        for need in [&READ, &LIST, &DELETE, &need("PutBucketPolicy").unwrap()] {
            assert!(allow(&rules, Some("alice"), need, own()));
            assert!(!allow(&rules, Some("bob"), need, own()));
            assert!(!allow(&rules, None, need, own()));
        }
        let public = Canned::PublicRead.acl("alice", "alice");
        assert!(allow(&rules, None, &READ, Some(public.clone())));
        assert!(!allow(&rules, None, &LIST, Some(public.clone())));
        let blocked = Rules { block: Block { ignore_acls: true, ..Default::default() }, ..rules.clone() };
        assert!(!allow(&blocked, None, &READ, Some(public.clone())));
        let enforced = Rules { ownership: Ownership::Enforced, ..rules };
        assert!(!allow(&enforced, None, &READ, Some(public)));
    }

    #[test]
    fn policies_deny_before_anything_allows() {
        let denied = rules(Canned::PublicRead, Some(&policy("Deny", "s3:ListBucket")));
        assert!(!allow(&denied, Some("alice"), &LIST, None));
        assert!(!allow(&denied, None, &LIST, None));
        let locked_out = rules(Canned::Private, Some(&policy("Deny", "*")));
        assert!(!allow(&locked_out, Some("alice"), &READ, Some(Acl::private("alice"))));
        assert!(allow(&locked_out, Some("alice"), &need("DeleteBucketPolicy").unwrap(), None));
        assert!(!allow(&locked_out, Some("bob"), &need("DeleteBucketPolicy").unwrap(), None));
        let open = rules(Canned::Private, Some(&policy("Allow", "s3:GetObject")));
        assert!(open.is_public());
        assert!(allow(&open, None, &READ, Some(Acl::private("alice"))));
        assert!(!allow(&open, None, &DELETE, Some(Acl::private("alice"))));
        let restricted = Rules { block: Block { restrict: true, ..Default::default() }, ..open };
        assert!(!allow(&restricted, None, &READ, Some(Acl::private("alice"))));
        assert!(allow(&restricted, Some("alice"), &READ, Some(Acl::private("alice"))));
    }

    #[test]
    fn every_operation_is_its_owners_until_it_is_denied_or_given_away() {
        let unless = |deny: &str| rules(Canned::Private, Some(&policy("Deny", deny)));
        let given = |allow: &str| rules(Canned::Private, Some(&policy("Allow", allow)));
        let private = rules(Canned::Private, None);
        let own = || Some(Acl::private("alice"));
        for (operation, need) in OPERATIONS {
            for somebody in [Some("bob"), None] {
                assert!(!allow(&private, somebody, need, own()), "{operation} {somebody:?}");
                assert!(allow(&given(need.action), somebody, need, own()), "{operation} {somebody:?}");
                assert!(!allow(&given("s3:BypassGovernanceRetention"), somebody, need, own()), "{operation}");
            }
            assert!(allow(&private, Some("alice"), need, own()), "{operation}");
            let repairs = need.action.ends_with("BucketPolicy");
            assert_eq!(allow(&unless(need.action), Some("alice"), need, own()), repairs, "{operation}");
        }
    }

    #[test]
    fn what_others_own_only_they_give_away() {
        let open = rules(Canned::Private, Some(&policy("Allow", "*")));
        let of_bob = || Some(Acl::private("bob"));
        for account in [Some("alice"), Some("eve"), None] {
            assert!(!allow(&open, account, &READ, of_bob()), "{account:?}");
        }
        assert!(allow(&open, Some("bob"), &READ, of_bob()));
        assert!(allow(&open, Some("alice"), &DELETE, of_bob()));
        let tagging = need("GetObjectTagging").unwrap();
        let closed = rules(Canned::Private, None);
        assert!(allow(&closed, Some("bob"), &tagging, of_bob()));
        assert!(!allow(&closed, Some("eve"), &tagging, of_bob()));
    }

    #[test]
    fn new_objects_belong_to_whom_the_bucket_says() {
        let mut rules = rules(Canned::Private, None);
        let full = || Some(Wanted::Canned(Canned::BucketOwnerFullControl));
        let owner = |rules: &Rules, wanted| rules.object_acl(Some("bob"), wanted).map(|acl| acl.owner);
        assert_eq!(owner(&rules, None).unwrap(), "bob");
        assert_eq!(owner(&rules, full()).unwrap(), "bob");
        assert_eq!(rules.object_acl(None, None).unwrap().owner, "alice");
        rules.ownership = Ownership::Preferred;
        assert_eq!(owner(&rules, None).unwrap(), "bob");
        assert_eq!(owner(&rules, full()).unwrap(), "alice");
        rules.ownership = Ownership::Enforced;
        assert_eq!(owner(&rules, None).unwrap(), "alice");
        assert_eq!(owner(&rules, full()).unwrap(), "alice");
        let private = Some(Wanted::Canned(Canned::Private));
        let refused = owner(&rules, private).unwrap_err();
        assert_eq!(refused.code().as_str(), "AccessControlListNotSupported");
        rules.ownership = Ownership::Writer;
        rules.block.put_acls = true;
        let public = Some(Wanted::Canned(Canned::PublicRead));
        assert_eq!(owner(&rules, public).unwrap_err().code().as_str(), "AccessDenied");
    }
}
