//! What a decision was made on, so that nothing else is done by it: an object may be replaced before it is read.

use s3s::{S3Request, S3Result, s3_error};

use super::{denied, rules::ObjectFacts};
use crate::{acl::Acl, object::ObjectInfo};

/// The objects that a request was decided on; put there by [`super::Guard`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Judged {
    object: Option<Decided>,
    source: Option<Decided>,
}

/// What counted of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Decided {
    acl: Acl,
    /// Its tags, where there is a policy that may ask for them.
    tags: Option<Vec<(String, String)>>,
}

impl Decided {
    pub(super) fn new(acl: Acl, tags: Option<Vec<(String, String)>>) -> Self {
        Self { acl, tags }
    }
}

impl Judged {
    pub(super) fn new(object: Option<Decided>, source: Option<Decided>) -> Self {
        Self { object, source }
    }

    /// Of a request that was let in.
    pub(crate) fn of<T>(request: &S3Request<T>) -> Self {
        request.extensions.get().cloned().unwrap_or_default()
    }

    /// Refuses to go on with an object that others may see than the one that the decision was made on.
    pub(crate) fn check(&self, info: &ObjectInfo) -> S3Result<()> {
        unchanged(self.object.as_ref(), info)
    }

    /// The same for the source of a copy.
    pub(crate) fn check_source(&self, info: &ObjectInfo) -> S3Result<()> {
        unchanged(self.source.as_ref(), info)
    }
}

fn unchanged(decided: Option<&Decided>, info: &ObjectInfo) -> S3Result<()> {
    let Some(Decided { acl, tags }) = decided else { return Err(denied()) };
    let found = ObjectFacts::of(info)?;
    match *acl == found.acl && tags.as_ref().is_none_or(|tags| *tags == found.tags) {
        true => Ok(()),
        false => Err(s3_error!(SlowDown, "the object was replaced just now; try again")),
    }
}
