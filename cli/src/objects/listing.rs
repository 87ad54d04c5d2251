//! What is there: buckets, and objects page by page.

use rusty_s3::{Method, S3Action, actions::ListObjectsV2};

use super::{Client, ObjectUrl, VALID_FOR, unquoted};
use crate::failure::element;

/// Pages of one listing read at most: 100 million objects.
const PAGES_MAX: usize = 100_000;

/// A line of a listing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// The key, or the folded prefix.
    pub key: String,
    /// Bytes; none for a prefix.
    pub size: Option<u64>,
    /// When it was written; none for a prefix.
    pub modified: Option<String>,
    /// ETag without quotes; none for a prefix.
    pub etag: Option<String>,
}

/// A bucket of the account.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct BucketLine {
    /// Its name.
    pub bucket: String,
    /// When it was made.
    pub created: Option<String>,
}

impl Client {
    /// Lists keys behind a prefix, folded at `/` unless `recursive`, and hands over each page as it comes.
    pub fn list_pages(
        &self,
        at: &ObjectUrl,
        recursive: bool,
        mut page_of: impl FnMut(Vec<Line>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let bucket = self.bucket(&at.bucket)?;
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut action = ListObjectsV2::new(&bucket, Some(&self.credentials));
            action.with_prefix(at.key.as_str());
            if !recursive {
                action.with_delimiter("/");
            }
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let answer = self.text(self.accept(self.agent.get(action.sign(VALID_FOR).as_str()).call())?)?;
            let page = ListObjectsV2::parse_response(&answer)?;
            let prefixes = page.common_prefixes.into_iter().map(|prefix| Line {
                key: prefix.prefix,
                size: None,
                modified: None,
                etag: None,
            });
            let objects = page.contents.into_iter().map(|object| Line {
                key: object.key,
                size: object.size,
                modified: object.last_modified,
                etag: object.etag.map(|etag| unquoted(&etag)),
            });
            page_of(prefixes.chain(objects).collect())?;
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(());
            }
        }
        anyhow::bail!("{at} has more than {PAGES_MAX} pages: name a longer prefix")
    }

    /// All lines of a listing.
    pub fn list(&self, at: &ObjectUrl, recursive: bool) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        self.list_pages(at, recursive, |page| {
            lines.extend(page);
            Ok(())
        })?;
        Ok(lines)
    }

    /// The buckets of the account.
    pub fn list_buckets(&self) -> anyhow::Result<Vec<BucketLine>> {
        let url = self.signed(Method::Get, "/", &[])?;
        let answer = self.text(self.accept(self.agent.get(url).call())?)?;
        let buckets = answer.split("<Bucket>").skip(1).filter_map(|bucket| {
            Some(BucketLine { bucket: element(bucket, "Name")?, created: element(bucket, "CreationDate") })
        });
        Ok(buckets.collect())
    }
}
