//! Notifications: what happens to objects is told to webhooks, as the rules of their bucket say.
//!
//! An event is entered in the transaction that changes the object ([`crate::meta`]): neither is there without the other. For
//! each webhook a sender posts its events one by one, in order, and removes what was taken ([`sender`]).
//!
//! # Invariants
//! - Only addresses in the operator's configuration are ever called. Redirects are not followed.
//! - An event goes when its webhook has answered 2xx, or when it is beyond the bounds of what is kept, which is counted.
//! - What is told never waits for a webhook, nor does a write.
//!
//! # Not here
//! Documents of rules (`s3`); the table of events (`meta`).

pub mod event;
pub mod rules;
pub mod sender;
pub mod webhook;

pub use event::{Event, Origin, Source, What};
pub use rules::{EventName, Rule, Rules, RulesError};
pub use sender::{SenderOptions, Senders};
pub use webhook::{Webhook, WebhookConfig, WebhookError, Webhooks};
