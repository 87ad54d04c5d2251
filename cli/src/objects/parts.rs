//! Uploads in parts.

use std::io::Read;

use rusty_s3::{
    Method, S3Action,
    actions::{CompleteMultipartUpload, CreateMultipartUpload, ListParts, UploadPart},
};

use super::{CONTENT_TYPE, Client, ObjectUrl, VALID_FOR, unquoted};
use crate::failure::element;

/// Pages of parts read at most: 10,000 parts by 1,000, and one more.
const PAGES_MAX: usize = 11;

/// A part that the gateway has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its number, from 1.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
}

impl Client {
    /// Begins an upload in parts; returns its id.
    pub fn begin_parts(&self, to: &ObjectUrl, content_type: Option<&str>) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.create_multipart_upload(Some(&self.credentials), &to.key).sign(VALID_FOR);
        let request =
            self.agent.post(url.as_str()).header("content-type", content_type.unwrap_or(CONTENT_TYPE));
        let answer = self.text(self.accept(request.send_empty())?)?;
        Ok(CreateMultipartUpload::parse_response(&answer)?.upload_id().to_owned())
    }

    /// Keys and ids of the uploads behind a prefix that were begun and not ended, at most a page of them.
    pub fn uploads_behind(&self, at: &ObjectUrl) -> anyhow::Result<Vec<(String, String)>> {
        let query = [("max-uploads", "1000"), ("prefix", at.key.as_str()), ("uploads", "")];
        let url = self.signed(Method::Get, &format!("/{}", at.bucket), &query)?;
        let answer = self.text(self.accept(self.agent.get(url).call())?)?;
        let uploads = answer.split("<Upload>").skip(1);
        Ok(uploads
            .filter_map(|upload| Some((element(upload, "Key")?, element(upload, "UploadId")?)))
            .collect())
    }

    /// Ids of the uploads of a key that were begun and not ended, at most a page of them.
    pub fn open_uploads(&self, to: &ObjectUrl) -> anyhow::Result<Vec<String>> {
        let uploads = self.uploads_behind(to)?.into_iter();
        Ok(uploads.filter(|(key, _)| *key == to.key).map(|(_, id)| id).collect())
    }

    /// The parts that an upload has.
    pub fn parts(&self, to: &ObjectUrl, upload: &str) -> anyhow::Result<Vec<Part>> {
        let bucket = self.bucket(&to.bucket)?;
        let mut parts = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES_MAX {
            let mut action = ListParts::new(&bucket, Some(&self.credentials), &to.key, upload);
            if let Some(marker) = marker {
                action.set_part_number_marker(marker);
            }
            let answer = self.text(self.accept(self.agent.get(action.sign(VALID_FOR).as_str()).call())?)?;
            let page = ListParts::parse_response(&answer)?;
            parts.extend(page.parts.into_iter().map(|part| Part {
                number: part.number,
                size: part.size,
                etag: unquoted(&part.etag),
            }));
            marker = page.next_part_number_marker;
            if marker.is_none() {
                break;
            }
        }
        Ok(parts)
    }

    /// Stores a part; returns its ETag.
    pub fn put_part(
        &self,
        to: &ObjectUrl,
        upload: &str,
        number: u16,
        body: impl Read,
        length: u64,
    ) -> anyhow::Result<String> {
        let bucket = self.bucket(&to.bucket)?;
        let action = UploadPart::new(&bucket, Some(&self.credentials), &to.key, number, upload);
        Ok(self.put_body(action.sign(VALID_FOR).as_str(), body, length, None)?)
    }

    /// Makes an object of the parts, in order.
    pub fn finish_parts(&self, to: &ObjectUrl, upload: &str, etags: &[String]) -> anyhow::Result<()> {
        let bucket = self.bucket(&to.bucket)?;
        let etags = etags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(&bucket, Some(&self.credentials), &to.key, upload, etags);
        let url = action.sign(VALID_FOR);
        let body = action.body();
        self.late_text(self.accept(self.agent.post(url.as_str()).send(body.as_bytes()))?)?;
        Ok(())
    }

    /// Gives up an upload in parts.
    pub fn abort_parts(&self, to: &ObjectUrl, upload: &str) -> anyhow::Result<()> {
        let bucket = self.bucket(&to.bucket)?;
        let url = bucket.abort_multipart_upload(Some(&self.credentials), &to.key, upload).sign(VALID_FOR);
        self.accept(self.agent.delete(url.as_str()).call())?;
        Ok(())
    }
}
