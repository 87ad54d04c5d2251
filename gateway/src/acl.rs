//! Access control lists: who may do what with a bucket or an object, besides what the bucket's policy says.
//!
//! # Invariants
//! - The owner can always read and replace the list, whatever it says.
//!
//! # Not here
//! Headers and documents of S3 that make a list (`s3`); when a list counts at all (`s3::access`).

use codec::{Decode, DecodeAll, Encode};

/// Most grants of a list (as in AWS).
pub const GRANTS_MAX: usize = 100;

/// What a grant lets somebody do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Permission {
    /// List the bucket, or read the object.
    #[codec(index = 0)]
    Read,
    /// Write and delete objects of the bucket; nothing for an object.
    #[codec(index = 1)]
    Write,
    /// Read the list.
    #[codec(index = 2)]
    ReadAcp,
    /// Replace the list.
    #[codec(index = 3)]
    WriteAcp,
    /// All of that.
    #[codec(index = 4)]
    FullControl,
}

/// Whom a grant is for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Grantee {
    /// Everyone, signed or not.
    #[codec(index = 0)]
    Everyone,
    /// Everyone with a valid access key.
    #[codec(index = 1)]
    Authenticated,
    /// An account.
    #[codec(index = 2)]
    Account(String),
}

/// One line of a list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Grant {
    /// For whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// An access control list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Acl {
    /// Account that the bucket or object belongs to.
    pub owner: String,
    /// Its lines, at most [`GRANTS_MAX`].
    pub grants: Vec<Grant>,
}

/// Lists that have a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canned {
    /// The owner alone.
    Private,
    /// Everyone reads.
    PublicRead,
    /// Everyone reads and writes.
    PublicReadWrite,
    /// Everyone with an access key reads.
    AuthenticatedRead,
    /// The owner of the bucket reads.
    BucketOwnerRead,
    /// The owner of the bucket does everything.
    BucketOwnerFullControl,
}

impl Canned {
    /// From the value of `x-amz-acl`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            _ => return None,
        })
    }

    /// The list for something of `owner` in a bucket of `bucket_owner`.
    pub fn acl(self, owner: &str, bucket_owner: &str) -> Acl {
        let to = |grantee: Grantee, permission| Grant { grantee, permission };
        let account = |name: &str| Grantee::Account(name.to_owned());
        let mut grants = match self {
            Self::Private => vec![],
            Self::PublicRead => vec![to(Grantee::Everyone, Permission::Read)],
            Self::PublicReadWrite => {
                vec![to(Grantee::Everyone, Permission::Read), to(Grantee::Everyone, Permission::Write)]
            }
            Self::AuthenticatedRead => vec![to(Grantee::Authenticated, Permission::Read)],
            Self::BucketOwnerRead | Self::BucketOwnerFullControl if owner == bucket_owner => vec![],
            Self::BucketOwnerRead => vec![to(account(bucket_owner), Permission::Read)],
            Self::BucketOwnerFullControl => vec![to(account(bucket_owner), Permission::FullControl)],
        };
        grants.push(to(account(owner), Permission::FullControl));
        Acl { owner: owner.to_owned(), grants }
    }
}

#[derive(Encode, Decode)]
enum StoredAcl {
    #[codec(index = 1)]
    V1(Acl),
}

impl Acl {
    /// The owner alone.
    pub fn private(owner: &str) -> Self {
        Canned::Private.acl(owner, owner)
    }

    /// Whether it lets an account (none: somebody anonymous) do something. `private` leaves out what is for everyone.
    pub fn allows(&self, account: Option<&str>, permission: Permission, private: bool) -> bool {
        if account == Some(&self.owner) && matches!(permission, Permission::ReadAcp | Permission::WriteAcp) {
            return true;
        }
        self.grants.iter().any(|grant| {
            let fits = grant.permission == permission || grant.permission == Permission::FullControl;
            let meant = match &grant.grantee {
                Grantee::Everyone => !private,
                Grantee::Authenticated => !private && account.is_some(),
                Grantee::Account(name) => account == Some(name),
            };
            fits && meant
        })
    }

    /// Whether it lets in people whom the owner does not name.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| matches!(grant.grantee, Grantee::Everyone | Grantee::Authenticated))
    }

    /// Whether only the owner of the bucket has something of it: what a list is worth where lists are disabled.
    pub fn is_only_for(&self, owner: &str) -> bool {
        self.grants.iter().all(|grant| grant.grantee == Grantee::Account(owner.to_owned()))
    }

    /// What is kept of it beside its owner; nothing of a private one.
    pub fn to_stored(&self) -> Option<Vec<u8>> {
        (*self != Self::private(&self.owner)).then(|| self.to_row())
    }

    /// From what was kept beside its owner.
    pub fn of_stored(owner: &str, stored: Option<&[u8]>) -> Result<Self, codec::Error> {
        stored.map_or_else(|| Ok(Self::private(owner)), Self::from_row)
    }

    /// The row.
    pub fn to_row(&self) -> Vec<u8> {
        StoredAcl::V1(self.clone()).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        StoredAcl::decode_all(&mut row).map(|StoredAcl::V1(acl)| acl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_lists_let_in_whom_they_name() {
        use Permission::{Read, ReadAcp, Write, WriteAcp};
        let (alice, bob, nobody) = (Some("alice"), Some("bob"), None);
        for (name, account, permission, allowed) in [
            ("private", alice, Read, true),
            ("private", bob, Read, false),
            ("private", nobody, Read, false),
            ("public-read", nobody, Read, true),
            ("public-read", nobody, Write, false),
            ("public-read", bob, ReadAcp, false),
            ("public-read-write", nobody, Write, true),
            ("authenticated-read", bob, Read, true),
            ("authenticated-read", nobody, Read, false),
            ("bucket-owner-read", Some("carol"), Read, true),
            ("bucket-owner-read", Some("carol"), WriteAcp, false),
            ("bucket-owner-full-control", Some("carol"), WriteAcp, true),
        ] {
            let acl = Canned::parse(name).unwrap().acl("alice", "carol");
            assert_eq!(acl.allows(account, permission, false), allowed, "{name} {account:?} {permission:?}");
        }
        assert_eq!(Canned::parse("aws-exec-read"), None);
        let public = Canned::PublicReadWrite.acl("alice", "alice");
        assert!(public.is_public() && !public.allows(bob, Read, true) && public.allows(alice, Read, true));
    }

    #[test]
    fn the_owner_keeps_the_list_and_rows_round_trip() {
        let acl = Acl { owner: "alice".into(), grants: vec![] };
        assert!(acl.allows(Some("alice"), Permission::WriteAcp, true));
        assert!(!acl.allows(Some("alice"), Permission::Read, true));
        let acl = Canned::BucketOwnerRead.acl("alice", "carol");
        let mut row = acl.to_row();
        assert_eq!(Acl::from_row(&row).unwrap(), acl);
        row[0] = 2;
        assert!(Acl::from_row(&row).is_err());
    }
}
