//! Tags of objects.

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store, account, errors,
    input::{now_ms, version},
    notification::origin,
    query::pairs,
};

/// Most tags of an object, and longest key and value, in characters (as in AWS).
const TAGS_MAX: usize = 10;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// The tags in `x-amz-tagging`, which is written like a query string.
pub(super) fn from_header(header: Option<&str>) -> S3Result<Vec<(String, String)>> {
    let tags: Option<Vec<_>> = pairs(header.unwrap_or("")).collect();
    let tags =
        tags.ok_or_else(|| s3_error!(InvalidArgument, "x-amz-tagging is not written like a query string"))?;
    check(tags)
}

/// Tags within the bounds.
pub(super) fn check(tags: Vec<(String, String)>) -> S3Result<Vec<(String, String)>> {
    if tags.len() > TAGS_MAX {
        return Err(s3_error!(InvalidTag, "an object has at most {TAGS_MAX} tags"));
    }
    for (position, (key, value)) in tags.iter().enumerate() {
        let key_chars = key.chars().count();
        if key_chars == 0 || key_chars > KEY_CHARS_MAX || value.chars().count() > VALUE_CHARS_MAX {
            return Err(s3_error!(
                InvalidTag,
                "keys of tags have 1 to {KEY_CHARS_MAX} characters, values up to {VALUE_CHARS_MAX}"
            ));
        }
        if tags[..position].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(InvalidTag, "a tag is given twice"));
        }
    }
    Ok(tags)
}

pub(super) async fn put_object_tagging(
    store: &Store,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<PutObjectTaggingOutput> {
    let (account, origin) = (account(&request)?, origin(&request));
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let tags = input.tagging.tag_set.into_iter();
    let tags = check(tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect())?;
    let names = (input.bucket, input.key);
    let set = store.grid.meta.set_tags(names, which, Some(tags), origin, now_ms()).await;
    let set = set.map_err(errors::lookup)?;
    Ok(PutObjectTaggingOutput { version_id: set.map(|id| id.to_string()) })
}

pub(super) async fn get_object_tagging(
    store: &Store,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<GetObjectTaggingOutput> {
    let account = account(&request)?;
    let input = request.input;
    let bucket = store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let found = store.grid.meta.object(input.bucket, input.key, which).await.map_err(errors::lookup)?;
    let tags = found.info.properties.tags.into_iter();
    Ok(GetObjectTaggingOutput {
        tag_set: tags.map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect(),
        version_id: bucket.shown(found.version).map(|id| id.to_string()),
    })
}

pub(super) async fn delete_object_tagging(
    store: &Store,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<DeleteObjectTaggingOutput> {
    let (account, origin) = (account(&request)?, origin(&request));
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let set = store.grid.meta.set_tags((input.bucket, input.key), which, None, origin, now_ms()).await;
    let set = set.map_err(errors::lookup)?;
    Ok(DeleteObjectTaggingOutput { version_id: set.map(|id| id.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_header_is_a_query_string() {
        assert_eq!(from_header(None).unwrap(), []);
        assert_eq!(from_header(Some("foo=bar&bar")).unwrap(), tags(&[("foo", "bar"), ("bar", "")]));
        assert_eq!(from_header(Some("a%20b=%C3%BC+c")).unwrap(), tags(&[("a b", "ü c")]));
        assert_eq!(from_header(Some("a=%zz")).unwrap_err().code().as_str(), "InvalidArgument");
    }

    #[test]
    fn too_many_too_long_and_double_tags_are_refused() {
        let many = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect::<Vec<_>>();
        assert!(check(many(10)).is_ok());
        let long = |key: usize, value: usize| vec![("ü".repeat(key), "ü".repeat(value))];
        assert!(check(long(128, 256)).is_ok());
        for bad in [many(11), long(129, 0), long(1, 257), long(0, 1), tags(&[("a", "1"), ("a", "2")])] {
            assert_eq!(check(bad).unwrap_err().code().as_str(), "InvalidTag");
        }
    }
}
