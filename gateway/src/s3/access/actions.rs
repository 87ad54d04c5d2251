//! Which actions of policies a request needs, and which permission of an ACL would do instead.

use super::policy::matches;
use crate::acl::Permission;

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
}

/// Actions that a request may need besides, decided by its headers, or for each key of its body.
pub(crate) const MORE: [&str; 5] = [
    "s3:BypassGovernanceRetention",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
];

const fn bucket(action: &'static str) -> Need {
    Need { action, with_version: action, target: Target::Bucket, acl: None }
}

const fn bucket_acl(action: &'static str, permission: Permission) -> Need {
    Need { action, with_version: action, target: Target::Bucket, acl: Some((Target::Bucket, permission)) }
}

const fn object(action: &'static str, with_version: &'static str) -> Need {
    Need { action, with_version, target: Target::Object, acl: None }
}

const fn object_acl(action: &'static str, with_version: &'static str, permission: Permission) -> Need {
    Need { action, with_version, target: Target::Object, acl: Some((Target::Object, permission)) }
}

/// Changing what is in a bucket is what WRITE of the bucket's ACL is about.
const fn write(action: &'static str, with_version: &'static str) -> Need {
    Need { action, with_version, target: Target::Object, acl: Some((Target::Bucket, Permission::Write)) }
}

/// What reading a version of an object needs; also that of the source of a copy.
pub(crate) const READ: Need = object_acl("s3:GetObject", "s3:GetObjectVersion", Permission::Read);
/// What deleting an object needs; for each key of a request that deletes several.
pub(crate) const DELETE: Need = write("s3:DeleteObject", "s3:DeleteObjectVersion");
/// What listing a bucket needs.
pub(crate) const LIST: Need = bucket_acl("s3:ListBucket", Permission::Read);

/// Every operation on a bucket or an object that is offered, by the name `s3s` gives it.
///
/// An operation that is not here is refused before anything else is looked at.
pub(super) const OPERATIONS: &[(&str, Need)] = &[
    ("AbortMultipartUpload", write("s3:AbortMultipartUpload", "s3:AbortMultipartUpload")),
    ("CompleteMultipartUpload", write("s3:PutObject", "s3:PutObject")),
    ("CopyObject", write("s3:PutObject", "s3:PutObject")),
    ("CreateMultipartUpload", write("s3:PutObject", "s3:PutObject")),
    ("DeleteBucket", bucket("s3:DeleteBucket")),
    ("DeleteBucketCors", bucket("s3:PutBucketCORS")),
    ("DeleteBucketEncryption", bucket("s3:PutEncryptionConfiguration")),
    ("DeleteBucketLifecycle", bucket("s3:PutLifecycleConfiguration")),
    ("DeleteBucketOwnershipControls", bucket("s3:PutBucketOwnershipControls")),
    ("DeleteBucketPolicy", bucket("s3:DeleteBucketPolicy")),
    ("DeleteBucketTagging", bucket("s3:PutBucketTagging")),
    ("DeleteBucketWebsite", bucket("s3:DeleteBucketWebsite")),
    ("DeleteObject", DELETE),
    ("DeleteObjectTagging", object("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging")),
    ("DeletePublicAccessBlock", bucket("s3:PutBucketPublicAccessBlock")),
    ("GetBucketAcl", bucket_acl("s3:GetBucketAcl", Permission::ReadAcp)),
    ("GetBucketCors", bucket("s3:GetBucketCORS")),
    ("GetBucketEncryption", bucket("s3:GetEncryptionConfiguration")),
    ("GetBucketLifecycleConfiguration", bucket("s3:GetLifecycleConfiguration")),
    ("GetBucketLocation", bucket("s3:GetBucketLocation")),
    ("GetBucketNotificationConfiguration", bucket("s3:GetBucketNotification")),
    ("GetBucketOwnershipControls", bucket("s3:GetBucketOwnershipControls")),
    ("GetBucketPolicy", bucket("s3:GetBucketPolicy")),
    ("GetBucketPolicyStatus", bucket("s3:GetBucketPolicyStatus")),
    ("GetBucketRequestPayment", bucket("s3:GetBucketRequestPayment")),
    ("GetBucketTagging", bucket("s3:GetBucketTagging")),
    ("GetBucketVersioning", bucket("s3:GetBucketVersioning")),
    ("GetBucketWebsite", bucket("s3:GetBucketWebsite")),
    ("GetObject", READ),
    ("GetObjectAcl", object_acl("s3:GetObjectAcl", "s3:GetObjectVersionAcl", Permission::ReadAcp)),
    (
        "GetObjectAttributes",
        object_acl("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", Permission::Read),
    ),
    ("GetObjectLegalHold", object("s3:GetObjectLegalHold", "s3:GetObjectLegalHold")),
    ("GetObjectLockConfiguration", bucket("s3:GetBucketObjectLockConfiguration")),
    ("GetObjectRetention", object("s3:GetObjectRetention", "s3:GetObjectRetention")),
    ("GetObjectTagging", object("s3:GetObjectTagging", "s3:GetObjectVersionTagging")),
    ("GetPublicAccessBlock", bucket("s3:GetBucketPublicAccessBlock")),
    ("HeadBucket", LIST),
    ("HeadObject", READ),
    ("ListMultipartUploads", bucket_acl("s3:ListBucketMultipartUploads", Permission::Read)),
    ("ListObjectVersions", bucket_acl("s3:ListBucketVersions", Permission::Read)),
    ("ListObjects", LIST),
    ("ListObjectsV2", LIST),
    ("ListParts", write("s3:ListMultipartUploadParts", "s3:ListMultipartUploadParts")),
    ("PostObject", write("s3:PutObject", "s3:PutObject")),
    ("PutBucketAcl", bucket_acl("s3:PutBucketAcl", Permission::WriteAcp)),
    ("PutBucketCors", bucket("s3:PutBucketCORS")),
    ("PutBucketEncryption", bucket("s3:PutEncryptionConfiguration")),
    ("PutBucketLifecycleConfiguration", bucket("s3:PutLifecycleConfiguration")),
    ("PutBucketNotificationConfiguration", bucket("s3:PutBucketNotification")),
    ("PutBucketOwnershipControls", bucket("s3:PutBucketOwnershipControls")),
    ("PutBucketPolicy", bucket("s3:PutBucketPolicy")),
    ("PutBucketRequestPayment", bucket("s3:PutBucketRequestPayment")),
    ("PutBucketTagging", bucket("s3:PutBucketTagging")),
    ("PutBucketVersioning", bucket("s3:PutBucketVersioning")),
    ("PutBucketWebsite", bucket("s3:PutBucketWebsite")),
    ("PutObject", write("s3:PutObject", "s3:PutObject")),
    ("PutObjectAcl", object_acl("s3:PutObjectAcl", "s3:PutObjectVersionAcl", Permission::WriteAcp)),
    ("PutObjectLegalHold", object("s3:PutObjectLegalHold", "s3:PutObjectLegalHold")),
    ("PutObjectLockConfiguration", bucket("s3:PutBucketObjectLockConfiguration")),
    ("PutObjectRetention", object("s3:PutObjectRetention", "s3:PutObjectRetention")),
    ("PutObjectTagging", object("s3:PutObjectTagging", "s3:PutObjectVersionTagging")),
    ("PutPublicAccessBlock", bucket("s3:PutBucketPublicAccessBlock")),
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

    #[test]
    fn actions_are_known_by_pattern_and_in_any_case() {
        assert!(exists("*") && exists("s3:*") && exists("S3:getobject") && exists("s3:Put*Acl"));
        assert!(!exists("s3:FetchObject") && !exists("ec2:*") && !exists("GetObject"));
        assert_eq!(need("HeadObject"), Some(READ));
        assert_eq!(need("SelectObjectContent"), None);
    }
}
