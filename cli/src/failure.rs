//! What goes wrong between the tool and a gateway, and the exit codes.
//!
//! 0: done. 1: failed, or something is not as it should be. 2: wrong usage. 3: no such bucket or object.
//! 4: not allowed. 5: nobody reached.

use std::process::ExitCode;

use arion_daemon::output::OutputClosed;

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
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    let code = match error.downcast_ref::<GatewayError>() {
        Some(GatewayError::Refused { status: 404, .. }) => 3,
        Some(GatewayError::Refused { status: 401 | 403, .. }) => 4,
        Some(GatewayError::Unreachable { .. }) => 5,
        _ if error.downcast_ref::<arion_chain::ConnectError>().is_some() => 5,
        _ => 1,
    };
    ExitCode::from(code)
}

/// The text of an element of an S3 error answer.
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
}
