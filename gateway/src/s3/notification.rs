//! Notifications of a bucket. [`crate::notify`] carries them out.

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Caller, Peer},
    account,
    digest::random_id,
    errors,
    front::RequestId,
    input::now_ms,
};
use crate::{
    meta::Subresource,
    notify::{Origin, Rule, Rules, RulesError, Source},
};

/// Who asks, as webhooks are told it.
pub(super) fn origin<T>(request: &S3Request<T>) -> Origin {
    let caller = request.extensions.get::<Caller>();
    let name = caller.and_then(|caller| match &caller.name {
        Some(name) => Some(name.to_string()),
        None => caller.account.clone(),
    });
    let peer = request.extensions.get::<Peer>();
    Origin {
        source: Source::Request,
        principal: name.unwrap_or_else(|| "anonymous".into()),
        address: peer.map(|Peer(address)| address.to_string()).unwrap_or_default(),
        request: request.extensions.get::<RequestId>().map(|RequestId(id)| id.clone()).unwrap_or_default(),
    }
}

/// Prefix and suffix of a filter.
fn affixes(filter: Option<NotificationConfigurationFilter>) -> S3Result<(Option<String>, Option<String>)> {
    let given = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
    let (mut prefix, mut suffix) = (None, None);
    for rule in given.unwrap_or_default() {
        let name = rule.name.as_ref().map(FilterRuleName::as_str).unwrap_or_default().to_ascii_lowercase();
        let affix = match name.as_str() {
            FilterRuleName::PREFIX => &mut prefix,
            FilterRuleName::SUFFIX => &mut suffix,
            _ => return Err(s3_error!(InvalidArgument, "filter rule name must be either prefix or suffix")),
        };
        if affix.replace(rule.value.unwrap_or_default()).is_some() {
            return Err(s3_error!(InvalidArgument, "a filter has at most one {name}"));
        }
    }
    Ok((prefix, suffix))
}

fn filter(rule: &Rule) -> Option<NotificationConfigurationFilter> {
    let given = [(FilterRuleName::PREFIX, &rule.prefix), (FilterRuleName::SUFFIX, &rule.suffix)];
    let rules = given.into_iter().filter_map(|(name, value)| {
        Some(FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value.clone()?) })
    });
    let rules: Vec<_> = rules.collect();
    (!rules.is_empty())
        .then_some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(rules) }) })
}

impl Store {
    /// A configuration as a rule, if its webhook is one that the account may name.
    fn rule(&self, account: &str, given: QueueConfiguration) -> S3Result<Rule> {
        let arn = given.queue_arn;
        let Some(webhook) = self.webhooks.find(&arn, &self.region, account) else {
            return Err(s3_error!(
                InvalidArgument,
                "there is no webhook {arn} for this account: webhooks are arn:arion:sqs::NAME:webhook, with a NAME that the operator of the gateway made"
            ));
        };
        let (prefix, suffix) = affixes(given.filter)?;
        Ok(Rule {
            id: given.id.filter(|id| !id.is_empty()).unwrap_or_else(random_id),
            webhook: webhook.name().to_owned(),
            arn,
            events: given.events.into_iter().map(String::from).collect(),
            prefix,
            suffix,
        })
    }
}

pub(super) async fn put_bucket_notification_configuration(
    store: &Store,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<PutBucketNotificationConfigurationOutput> {
    let (account, origin) = (account(&request)?, origin(&request));
    let input = request.input;
    let document = input.notification_configuration;
    if document.topic_configurations.is_some()
        || document.lambda_function_configurations.is_some()
        || document.event_bridge_configuration.is_some()
    {
        return Err(s3_error!(
            InvalidArgument,
            "this gateway has webhooks only: name one as arn:arion:sqs::NAME:webhook in a QueueConfiguration"
        ));
    }
    let given = document.queue_configurations.unwrap_or_default();
    let rules = given.into_iter().map(|given| store.rule(&account, given)).collect::<S3Result<Vec<_>>>()?;
    let rules = Rules::new(rules).map_err(|error| match error {
        RulesError::NoEvent(_) => s3_error!(MalformedXML, "{error}"),
        error => s3_error!(InvalidArgument, "{error}"),
    })?;
    let test = (!input.skip_destination_validation.unwrap_or(false)).then_some(origin);
    let done = store.grid.meta.set_notifications(input.bucket, rules, test, now_ms()).await;
    done.map_err(errors::meta)?;
    Ok(PutBucketNotificationConfigurationOutput {})
}

pub(super) async fn get_bucket_notification_configuration(
    store: &Store,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<GetBucketNotificationConfigurationOutput> {
    let row = store.grid.meta.subresource(request.input.bucket, Subresource::Notification).await;
    let Some(row) = row.map_err(errors::meta)? else { return Ok(Default::default()) };
    let rules = Rules::from_row(&row).map_err(|error| {
        tracing::error!(%error, "the notifications of a bucket do not decode");
        s3_error!(InternalError, "the notifications of the bucket do not decode")
    })?;
    let given = rules.all().iter().map(|rule| QueueConfiguration {
        events: rule.events.iter().cloned().map(Event::from).collect(),
        filter: filter(rule),
        id: Some(rule.id.clone()),
        queue_arn: rule.arn.clone(),
    });
    Ok(GetBucketNotificationConfigurationOutput {
        queue_configurations: Some(given.collect()),
        ..Default::default()
    })
}
