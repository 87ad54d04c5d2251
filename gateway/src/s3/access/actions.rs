//! Which actions of policies a request needs, and which permission of an ACL would do instead.

use super::policy::matches;
use crate::{acl::Permission, scope::Reach};

/// What a request works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The bucket itself.
    Bucket,
    /// An object in it.
    Object,
}

/// What a request needs to be let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Need {
    /// Action of policies.
    pub(crate) action: &'static str,
    /// The same where the request names a version.
    pub(crate) with_version: &'static str,
    /// Resource of policies.
    pub(crate) target: Target,
    /// Whose ACL, and the permission in it, that lets it in too.
    pub(crate) acl: Option<(Target, Permission)>,
    /// How far it reaches: what the scope of an access key is asked for.
    pub(crate) reach: Reach,
}

/// Actions that a request may need besides, decided by its headers, or for each key of its body.
pub(crate) const MORE: [&str; 5] = [
    "s3:BypassGovernanceRetention",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
];

const fn bucket(action: &'static str, reach: Reach) -> Need {
    Need { action, with_version: action, target: Target::Bucket, acl: None, reach }
}

/// Tells how a bucket is set up.
const fn told(action: &'static str) -> Need {
    bucket(action, Reach::ReadBucket)
}

/// Sets a bucket up, or removes it.
const fn set(action: &'static str) -> Need {
    bucket(action, Reach::GovernBucket)
}

const fn bucket_acl(action: &'static str, permission: Permission, reach: Reach) -> Need {
    Need { acl: Some((Target::Bucket, permission)), ..bucket(action, reach) }
}

const fn object(action: &'static str, with_version: &'static str, reach: Reach) -> Need {
    Need { action, with_version, target: Target::Object, acl: None, reach }
}

const fn object_acl(
    action: &'static str,
    with_version: &'static str,
    permission: Permission,
    reach: Reach,
) -> Need {
    Need { acl: Some((Target::Object, permission)), ..object(action, with_version, reach) }
}

/// Changing what is in a bucket is what WRITE of the bucket's ACL is about.
const fn write(action: &'static str, with_version: &'static str) -> Need {
    Need { acl: Some((Target::Bucket, Permission::Write)), ..object(action, with_version, Reach::WriteKey) }
}

/// What reading a version of an object needs; also that of the source of a copy.
pub(crate) const READ: Need =
    object_acl("s3:GetObject", "s3:GetObjectVersion", Permission::Read, Reach::ReadKey);
/// What deleting an object needs; for each key of a request that deletes several.
pub(crate) const DELETE: Need = write("s3:DeleteObject", "s3:DeleteObjectVersion");
/// What listing a bucket needs.
pub(crate) const LIST: Need = bucket_acl("s3:ListBucket", Permission::Read, Reach::List);

/// Every operation on a bucket or an object that is offered, by the name `s3s` gives it.
///
/// An operation that is not here is refused before anything else is looked at.
pub(super) const OPERATIONS: &[(&str, Need)] = &[
    ("AbortMultipartUpload", write("s3:AbortMultipartUpload", "s3:AbortMultipartUpload")),
    ("CompleteMultipartUpload", write("s3:PutObject", "s3:PutObject")),
    ("CopyObject", write("s3:PutObject", "s3:PutObject")),
    ("CreateMultipartUpload", write("s3:PutObject", "s3:PutObject")),
    ("DeleteBucket", set("s3:DeleteBucket")),
    ("DeleteBucketCors", set("s3:PutBucketCORS")),
    ("DeleteBucketEncryption", set("s3:PutEncryptionConfiguration")),
    ("DeleteBucketLifecycle", set("s3:PutLifecycleConfiguration")),
    ("DeleteBucketOwnershipControls", set("s3:PutBucketOwnershipControls")),
    ("DeleteBucketPolicy", set("s3:DeleteBucketPolicy")),
    ("DeleteBucketTagging", set("s3:PutBucketTagging")),
    ("DeleteBucketWebsite", set("s3:DeleteBucketWebsite")),
    ("DeleteObject", DELETE),
    (
        "DeleteObjectTagging",
        object("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", Reach::WriteKey),
    ),
    ("DeletePublicAccessBlock", set("s3:PutBucketPublicAccessBlock")),
    ("GetBucketAcl", bucket_acl("s3:GetBucketAcl", Permission::ReadAcp, Reach::ReadBucket)),
    ("GetBucketCors", told("s3:GetBucketCORS")),
    ("GetBucketEncryption", told("s3:GetEncryptionConfiguration")),
    ("GetBucketLifecycleConfiguration", told("s3:GetLifecycleConfiguration")),
    ("GetBucketLocation", bucket("s3:GetBucketLocation", Reach::Enter)),
    ("GetBucketNotificationConfiguration", told("s3:GetBucketNotification")),
    ("GetBucketOwnershipControls", told("s3:GetBucketOwnershipControls")),
    ("GetBucketPolicy", told("s3:GetBucketPolicy")),
    ("GetBucketPolicyStatus", told("s3:GetBucketPolicyStatus")),
    ("GetBucketRequestPayment", told("s3:GetBucketRequestPayment")),
    ("GetBucketTagging", told("s3:GetBucketTagging")),
    ("GetBucketVersioning", told("s3:GetBucketVersioning")),
    ("GetBucketWebsite", told("s3:GetBucketWebsite")),
    ("GetObject", READ),
    (
        "GetObjectAcl",
        object_acl("s3:GetObjectAcl", "s3:GetObjectVersionAcl", Permission::ReadAcp, Reach::ReadKey),
    ),
    (
        "GetObjectAttributes",
        object_acl(
            "s3:GetObjectAttributes",
            "s3:GetObjectVersionAttributes",
            Permission::Read,
            Reach::ReadKey,
        ),
    ),
    ("GetObjectLegalHold", object("s3:GetObjectLegalHold", "s3:GetObjectLegalHold", Reach::ReadKey)),
    ("GetObjectLockConfiguration", told("s3:GetBucketObjectLockConfiguration")),
    ("GetObjectRetention", object("s3:GetObjectRetention", "s3:GetObjectRetention", Reach::ReadKey)),
    ("GetObjectTagging", object("s3:GetObjectTagging", "s3:GetObjectVersionTagging", Reach::ReadKey)),
    ("GetPublicAccessBlock", told("s3:GetBucketPublicAccessBlock")),
    ("HeadBucket", Need { reach: Reach::Enter, ..LIST }),
    ("HeadObject", READ),
    (
        "ListMultipartUploads",
        bucket_acl("s3:ListBucketMultipartUploads", Permission::Read, Reach::ListUploads),
    ),
    ("ListObjectVersions", bucket_acl("s3:ListBucketVersions", Permission::Read, Reach::List)),
    ("ListObjects", LIST),
    ("ListObjectsV2", LIST),
    ("ListParts", write("s3:ListMultipartUploadParts", "s3:ListMultipartUploadParts")),
    ("PostObject", write("s3:PutObject", "s3:PutObject")),
    ("PutBucketAcl", bucket_acl("s3:PutBucketAcl", Permission::WriteAcp, Reach::GovernBucket)),
    ("PutBucketCors", set("s3:PutBucketCORS")),
    ("PutBucketEncryption", set("s3:PutEncryptionConfiguration")),
    ("PutBucketLifecycleConfiguration", set("s3:PutLifecycleConfiguration")),
    ("PutBucketNotificationConfiguration", set("s3:PutBucketNotification")),
    ("PutBucketOwnershipControls", set("s3:PutBucketOwnershipControls")),
    ("PutBucketPolicy", set("s3:PutBucketPolicy")),
    ("PutBucketRequestPayment", set("s3:PutBucketRequestPayment")),
    ("PutBucketTagging", set("s3:PutBucketTagging")),
    ("PutBucketVersioning", set("s3:PutBucketVersioning")),
    ("PutBucketWebsite", set("s3:PutBucketWebsite")),
    ("PutObject", write("s3:PutObject", "s3:PutObject")),
    (
        "PutObjectAcl",
        object_acl("s3:PutObjectAcl", "s3:PutObjectVersionAcl", Permission::WriteAcp, Reach::GovernKey),
    ),
    ("PutObjectLegalHold", object("s3:PutObjectLegalHold", "s3:PutObjectLegalHold", Reach::GovernKey)),
    ("PutObjectLockConfiguration", set("s3:PutBucketObjectLockConfiguration")),
    ("PutObjectRetention", object("s3:PutObjectRetention", "s3:PutObjectRetention", Reach::GovernKey)),
    ("PutObjectTagging", object("s3:PutObjectTagging", "s3:PutObjectVersionTagging", Reach::WriteKey)),
    ("PutPublicAccessBlock", set("s3:PutBucketPublicAccessBlock")),
    ("UploadPart", write("s3:PutObject", "s3:PutObject")),
    ("UploadPartCopy", write("s3:PutObject", "s3:PutObject")),
];

/// What an operation needs; none if it is not one of a bucket or object here.
pub(crate) fn need(operation: &str) -> Option<Need> {
    OPERATIONS.iter().find(|(name, _)| *name == operation).map(|(_, need)| *need)
}

/// Whether a pattern of a policy names an action that some request needs.
pub(crate) fn exists(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let fits = |action: &str| matches(&pattern, &action.to_ascii_lowercase());
    MORE.iter().any(|action| fits(action))
        || OPERATIONS.iter().any(|(_, need)| fits(need.action) || fits(need.with_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_is_offered_needs_something() {
        for name in crate::s3::OFFERED {
            let camel: String =
                name.split('_').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
            // Of no bucket, of one that is to be made, and decided for each key.
            let others = ["ListBuckets", "CreateBucket", "DeleteObjects"];
            assert!(
                need(&camel).is_some() || others.contains(&camel.as_str()),
                "{camel} is decided by nobody"
            );
        }
    }

    /// A new operation has to be put into one of these lists.
    #[test]
    fn every_operation_reaches_as_far_as_it_says_and_no_scope_forgets_one() {
        use crate::scope::{Access, Scope};
        let allowed = |access, place: &str, at: &str| -> Vec<&str> {
            let scope = Scope { access, places: vec![place.parse().unwrap()] };
            let allowed = OPERATIONS.iter().filter(|(_, need)| scope.allows(need.reach, "first", at));
            allowed.map(|(name, _)| *name).collect()
        };
        let (all, both) = (OPERATIONS.iter().map(|(name, _)| *name), Access::ReadWrite);
        assert_eq!(allowed(both, "second", "k"), [""; 0]);
        assert_eq!(allowed(both, "first", "k"), all.clone().collect::<Vec<_>>());
        let enters = ["GetBucketLocation", "HeadBucket"];
        assert_eq!(allowed(both, "first/other*", "k"), enters);
        let writes = [
            "AbortMultipartUpload",
            "CompleteMultipartUpload",
            "CopyObject",
            "CreateMultipartUpload",
            "DeleteObject",
            "DeleteObjectTagging",
            "ListParts",
            "PostObject",
            "PutObject",
            "PutObjectTagging",
            "UploadPart",
            "UploadPartCopy",
        ];
        let reads = |name: &str| ["Get", "Head", "List"].iter().any(|verb| name.starts_with(verb));
        let read_only: Vec<_> = all.clone().filter(|name| reads(name) && *name != "ListParts").collect();
        assert_eq!(allowed(Access::ReadOnly, "first", "k"), read_only);
        let mut write_only = [&enters[..], &["ListMultipartUploads"], &writes].concat();
        write_only.sort_unstable();
        assert_eq!(allowed(Access::WriteOnly, "first", "k"), write_only);
        // Below a prefix: whatever is about objects, and nothing about how the bucket is set up.
        let about_bucket = |name: &str| {
            name.contains("Bucket")
                || name.contains("PublicAccess")
                || name.ends_with("ObjectLockConfiguration")
        };
        let below: Vec<_> = all.filter(|name| !about_bucket(name) || enters.contains(name)).collect();
        assert_eq!(allowed(both, "first/k*", "k"), below);
    }

    #[test]
    fn actions_are_known_by_pattern_and_in_any_case() {
        assert!(exists("*") && exists("s3:*") && exists("S3:getobject") && exists("s3:Put*Acl"));
        assert!(!exists("s3:FetchObject") && !exists("ec2:*") && !exists("GetObject"));
        assert_eq!(need("HeadObject"), Some(READ));
        assert_eq!(need("SelectObjectContent"), None);
    }
}
