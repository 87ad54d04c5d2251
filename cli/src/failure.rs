//! What goes wrong between the tool and a gateway, what to do about it, and the exit codes.
//!
//! 0: done. 1: failed, or something is not as it should be. 2: wrong usage. 3: no such bucket or object.
//! 4: not allowed. 5: nobody reached. 6: the gateway cannot do it now. 130: interrupted.

use std::process::ExitCode;

use arion_daemon::output::OutputClosed;

use crate::settings::SettingsError;

/// The exit code after an interrupt (Ctrl-C), as shells have it.
pub const INTERRUPTED: u8 = 130;

/// A request to a gateway that brought no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Nobody there, or the connection broke.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// Refused.
    #[error("{code}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// S3 error code.
        code: String,
        /// What the gateway says.
        message: String,
    },
    /// The bytes that came are not those that were announced.
    #[error("the transfer is damaged: {0}; try again")]
    Damaged(String),
}

/// The code the process ends with.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<OutputClosed>() {
        return 0;
    }
    match error.downcast_ref::<GatewayError>() {
        Some(GatewayError::Refused { status: 404, .. }) => 3,
        Some(GatewayError::Refused { status: 401 | 403, .. }) => 4,
        Some(GatewayError::Refused { status: 500.., .. }) => 6,
        Some(GatewayError::Unreachable { .. }) => 5,
        _ if error.downcast_ref::<arion_chain::ConnectError>().is_some() => 5,
        _ => 1,
    }
}

/// What the user can do about it.
pub fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<SettingsError>() {
        return Some("see `arion --help` for where settings come from");
    }
    Some(match error.downcast_ref::<GatewayError>()? {
        GatewayError::Unreachable { .. } => {
            "is a gateway running there? Name it with --s3-endpoint, ARION_S3_ENDPOINT or s3_endpoint in a profile"
        }
        GatewayError::Damaged(_) => return None,
        GatewayError::Refused { status, code, .. } => match (code.as_str(), status) {
            ("NoSuchBucket", _) => "`arion ls` lists your buckets, `arion mb s3://BUCKET` makes one",
            ("NoSuchKey", _) | (_, 404) => "`arion ls -r s3://BUCKET` lists what is there",
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => {
                "check ARION_ACCESS_KEY and ARION_SECRET_KEY, or access_key and secret_key of the profile"
            }
            ("RequestTimeTooSkewed", _) => "set the clock of this machine",
            ("AccessDenied", _) => {
                "the key may not do this here: another account's bucket, or outside the key's scope"
            }
            ("BucketNotEmpty", _) => "`arion rm -r s3://BUCKET/` deletes what is in it",
            ("BucketAlreadyExists" | "BucketAlreadyOwnedByYou", _) => {
                "choose another name: bucket names are global"
            }
            ("InvalidBucketName", _) => {
                "3 to 63 lower-case letters, digits, `-` and `.`, letters or digits at the ends"
            }
            ("PreconditionFailed", _) => "the object was replaced meanwhile; give the command again",
            ("EntityTooLarge", _) => "5 GiB in one piece, 5 TiB in parts at most",
            (_, 500..) => "try again later; `arion status` shows what is wrong",
            _ => return None,
        },
    })
}

/// Tells standard error what went wrong, in words or as JSON.
pub fn tell(error: &anyhow::Error, json: bool) {
    if error.is::<OutputClosed>() {
        return;
    }
    let remedy = remedy(error);
    if json {
        let s3 = match error.downcast_ref::<GatewayError>() {
            Some(GatewayError::Refused { code, .. }) => Some(code.as_str()),
            _ => None,
        };
        let told = serde_json::json!({
            "error": { "message": format!("{error:#}"), "s3_code": s3, "remedy": remedy, "exit_code": code(error) }
        });
        eprintln!("{told}");
        return;
    }
    eprintln!("error: {error:#}");
    if let Some(remedy) = remedy {
        eprintln!("       {remedy}");
    }
}

/// The text of an element of an S3 answer.
pub fn element(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = xml[start..].find(&format!("</{name}>"))? + start;
    let text = &xml[start..end];
    Some(
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_error_answer() {
        let xml = "<?xml?><Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("NoSuchKey"));
        assert_eq!(element(xml, "Message").as_deref(), Some("a & b"));
        assert_eq!(element(xml, "Key"), None);
    }

    #[test]
    fn exit_codes_are_those_of_the_manual_and_context_does_not_hide_them() {
        let refused = |status, code: &str| -> anyhow::Error {
            GatewayError::Refused { status, code: code.to_owned(), message: String::new() }.into()
        };
        let unreachable = GatewayError::Unreachable { endpoint: String::new(), reason: String::new() };
        for (error, exit, has_remedy) in [
            (refused(404, "NoSuchKey"), 3, true),
            (refused(403, "AccessDenied"), 4, true),
            (refused(400, "InvalidArgument"), 1, false),
            (refused(503, "SlowDown"), 6, true),
            (unreachable.into(), 5, true),
            (anyhow::anyhow!("other"), 1, false),
        ] {
            let error = error.context("while doing something");
            assert_eq!((code(&error), remedy(&error).is_some()), (exit, has_remedy), "{error:#}");
        }
        assert_eq!(code(&OutputClosed.into()), 0);
    }
}
