//! The published object in S3: a stable key, replaced only by who knows what it holds.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use nodeweir_control::edges::{EdgeError, Etag, Looked, PublishedObject};

use crate::connect::why;

/// The published object's key.
pub const KEY: &str = "revision.conf";

/// The object in its bucket, which keeps every version.
#[derive(Debug, Clone)]
pub struct S3Object {
    client: Client,
    bucket: String,
}

impl S3Object {
    /// The object in `bucket`.
    pub fn new(sdk: &SdkConfig, bucket: String) -> Self {
        // Another endpoint than AWS's own knows no host name for each bucket.
        let config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(sdk.endpoint_url().is_some()).build();
        Self { client: Client::from_conf(config), bucket }
    }

    fn error(&self, verb: &str, error: &impl ToString) -> EdgeError {
        EdgeError::new(format!("{verb} s3://{}/{KEY}", self.bucket), error)
    }
}

impl PublishedObject for S3Object {
    async fn get(&self) -> Result<Option<(Etag, String)>, EdgeError> {
        Ok(match self.look(None).await? {
            Looked::New(etag, text) => Some((etag, text)),
            Looked::Nothing | Looked::Same => None,
        })
    }

    async fn look(&self, seen: Option<&Etag>) -> Result<Looked, EdgeError> {
        let get = self.client.get_object().bucket(&self.bucket).key(KEY);
        let got = match get.set_if_none_match(seen.map(|Etag(etag)| etag.clone())).send().await {
            Ok(got) => got,
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => return Ok(Looked::Nothing),
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 304) => {
                return Ok(Looked::Same);
            }
            Err(error) => return Err(self.error("reading", &why(&error))),
        };
        let etag = got.e_tag.ok_or_else(|| self.error("reading", &"the answer has no ETag"))?;
        let body = got.body.collect().await.map_err(|error| self.error("reading", &error))?;
        // Bytes that are no text are shown as such to the reader, who finds that they are no revision.
        Ok(Looked::New(Etag(etag), String::from_utf8_lossy(&body.into_bytes()).into_owned()))
    }

    async fn put(&self, seen: Option<&Etag>, text: &str) -> Result<bool, EdgeError> {
        let put = self.client.put_object().bucket(&self.bucket).key(KEY).content_type("text/plain; charset=utf-8");
        let put = put.body(ByteStream::from(text.as_bytes().to_vec()));
        let put = match seen {
            Some(Etag(etag)) => put.if_match(etag),
            None => put.if_none_match("*"),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            // 412: it is another by now. 409: somebody writes at this moment. 404: it was removed.
            Err(error) if matches!(error.raw_response().map(|raw| raw.status().as_u16()), Some(412 | 409)) => Ok(false),
            Err(error) if seen.is_some() && error.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => {
                Ok(false)
            }
            Err(error) => Err(self.error("writing", &why(&error))),
        }
    }
}
