//! Events that wait to be told to webhooks: entered with what they tell of, in one transaction.
//!
//! # Invariants
//! - Numbers of events grow, over all webhooks, also when none waits: their order is that of the changes they tell of.

use std::collections::BTreeMap;

use super::{
    BucketInfo, Meta, MetaError, ReadableTable, SETTINGS, Subresource, TableDefinition, WriteTransaction,
    buckets, subresources,
};
use crate::{
    notify::{Event, EventName, Origin, Rules, What, event::Told},
    object::VersionId,
};

/// Webhook and number - event.
pub(super) const EVENTS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("events");
/// Where the number of the last event is among the settings.
const LAST: &str = "event";
/// Bits of a number below the milliseconds of the clock.
const NUMBER_BITS: u32 = 20;
/// Most events that are dropped at once.
const DROPPED_AT_ONCE: usize = 4_096;

/// What happened to a version of a key.
pub(super) struct Happened<'a> {
    /// What.
    pub(super) name: EventName,
    /// Who or what led to it.
    pub(super) origin: &'a Origin,
    /// To which version.
    pub(super) version: VersionId,
    /// Size and ETag of what was written, or is there.
    pub(super) object: Option<(u64, &'a str)>,
}

/// What waits, and what does no more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Events that wait for all webhooks together.
    pub queued: u64,
    /// By webhook, events that were dropped.
    pub dropped: BTreeMap<String, u64>,
}

fn number(transaction: &WriteTransaction, now_ms: u64) -> Result<u64, MetaError> {
    let mut settings = transaction.open_table(SETTINGS)?;
    let last = settings.get(LAST)?.map(|row| <[u8; 8]>::try_from(row.value())).transpose();
    let last = last.map_err(|_| MetaError::Row("settings"))?.map_or(0, u64::from_le_bytes);
    let next = now_ms.saturating_mul(1 << NUMBER_BITS).max(last.saturating_add(1));
    settings.insert(LAST, next.to_le_bytes().as_slice())?;
    Ok(next)
}

fn enter(transaction: &WriteTransaction, webhook: &str, event: &Event, now_ms: u64) -> Result<(), MetaError> {
    let number = number(transaction, now_ms)?;
    transaction.open_table(EVENTS)?.insert((webhook, number), event.to_row().as_slice())?;
    Ok(())
}

/// Enters an event of an object if a rule of its bucket tells of it.
pub(super) fn happened(
    transaction: &WriteTransaction,
    (bucket, info): (&str, &BucketInfo),
    key: &str,
    Happened { name, origin, version, object }: Happened<'_>,
    now_ms: u64,
) -> Result<(), MetaError> {
    let Some(row) = subresources::get(transaction, bucket, Subresource::Notification)? else { return Ok(()) };
    let rules = Rules::from_row(&row).map_err(|_| MetaError::Row("subresources"))?;
    let Some(rule) = rules.find(name, key) else { return Ok(()) };
    let told = Told {
        name,
        rule: rule.id.clone(),
        owner: info.account.clone(),
        key: key.to_owned(),
        version: info.shown(version).map(|id| id.to_string()),
        object: object.map(|(size, etag)| (size, etag.to_owned())),
    };
    let event = Event::new(bucket.to_owned(), origin.clone(), What::Object(told), now_ms);
    enter(transaction, &rule.webhook, &event, now_ms)
}

impl Meta {
    /// Sets the rules of a bucket, or takes them away; each webhook that they name is told so, unless `origin` is none.
    pub async fn set_notifications(
        &self,
        bucket: String,
        rules: Rules,
        origin: Option<Origin>,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &bucket)?;
            if let Some(origin) = &origin {
                let mut webhooks: Vec<&str> = rules.all().iter().map(|rule| rule.webhook.as_str()).collect();
                webhooks.sort_unstable();
                webhooks.dedup();
                for webhook in webhooks {
                    let event = Event::new(bucket.clone(), origin.clone(), What::Test, now_ms);
                    enter(transaction, webhook, &event, now_ms)?;
                }
            }
            let row = (!rules.all().is_empty()).then(|| rules.to_row());
            subresources::put(transaction, &bucket, Subresource::Notification, row)
        })
        .await
    }

    /// The first events that wait for a webhook, with their numbers. One that does not decode is passed over.
    pub async fn events_of(&self, webhook: String, limit: usize) -> Result<Vec<(u64, Event)>, MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let mut found = Vec::new();
            let events = transaction.open_table(EVENTS)?;
            for row in events.range((webhook.as_str(), 0)..=(webhook.as_str(), u64::MAX))? {
                let (key, row) = row?;
                let (_, number) = key.value();
                let event = Event::from_row(row.value()).map_err(|_| MetaError::Row("events"));
                found.extend(unreadable.readable(event, number)?.map(|event| (number, event)));
                if found.len() == limit {
                    break;
                }
            }
            Ok(found)
        })
        .await
    }

    /// Removes events that a webhook has taken.
    pub async fn events_taken(&self, webhook: String, numbers: Vec<u64>) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut events = transaction.open_table(EVENTS)?;
            for number in &numbers {
                events.remove((webhook.as_str(), *number))?;
            }
            Ok(())
        })
        .await
    }

    /// Drops events that were entered before a time, and of each webhook the oldest beyond `max`.
    pub async fn drop_events(&self, before_ms: u64, max: u64) -> Result<Left, MetaError> {
        let mut waiting: BTreeMap<String, u64> = self
            .read(|transaction| {
                let mut waiting = BTreeMap::new();
                for row in transaction.open_table(EVENTS)?.iter()? {
                    let key = row?.0;
                    let (webhook, _) = key.value();
                    match waiting.get_mut(webhook) {
                        Some(count) => *count += 1,
                        None => drop(waiting.insert(webhook.to_owned(), 1)),
                    }
                }
                Ok(waiting)
            })
            .await?;
        let mut dropped = BTreeMap::new();
        for (webhook, count) in &mut waiting {
            let gone = self.drop_oldest(webhook, before_ms, count.saturating_sub(max)).await?;
            *count = count.saturating_sub(gone);
            dropped.insert(webhook.clone(), gone);
        }
        Ok(Left { queued: waiting.values().sum(), dropped })
    }

    /// Drops the first `many` events of a webhook, and those behind them that are too old; how many there were.
    async fn drop_oldest(&self, webhook: &str, before_ms: u64, many: u64) -> Result<u64, MetaError> {
        let mut gone = 0u64;
        loop {
            let (webhook, left) = (webhook.to_owned(), many.saturating_sub(gone));
            let dropped = self.write(move |transaction| {
                let mut events = transaction.open_table(EVENTS)?;
                let mut going = Vec::new();
                for row in events.range((webhook.as_str(), 0)..=(webhook.as_str(), u64::MAX))? {
                    let (_, number) = row?.0.value();
                    let is_old = number >> NUMBER_BITS < before_ms;
                    if going.len() == DROPPED_AT_ONCE || (going.len() as u64 >= left && !is_old) {
                        break;
                    }
                    going.push(number);
                }
                for number in &going {
                    events.remove((webhook.as_str(), *number))?;
                }
                Ok(going.len())
            });
            let dropped = dropped.await?;
            gone += dropped as u64;
            if dropped < DROPPED_AT_ONCE {
                return Ok(gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::bucket_of, *};
    use crate::notify::Rule;

    async fn open(directory: &tempfile::TempDir) -> Meta {
        Meta::open(&directory.path().join("m.redb")).unwrap()
    }

    fn rules(webhook: &str) -> Rules {
        let rule = Rule {
            id: "r".into(),
            webhook: webhook.into(),
            arn: "arn".into(),
            events: vec!["s3:ObjectRemoved:*".into()],
            prefix: None,
            suffix: None,
        };
        Rules::new(vec![rule]).unwrap()
    }

    async fn remove(meta: &Meta, key: &str, now_ms: u64) {
        let key = key.to_owned();
        let entered = meta.write(move |transaction| {
            let info = buckets::require(transaction, "b")?;
            let (origin, version) = (Origin::default(), VersionId::Null);
            let gone = Happened { name: origin.removed(), origin: &origin, version, object: None };
            happened(transaction, ("b", &info), &key, gone, now_ms)
        });
        entered.await.unwrap();
    }

    async fn keys(meta: &Meta, webhook: &str) -> Vec<(u64, String)> {
        let events = meta.events_of(webhook.into(), 100).await.unwrap().into_iter();
        let key = |what| match what {
            What::Test => "test".to_owned(),
            What::Object(told) => told.key,
        };
        events.map(|(number, event)| (number, key(event.what))).collect()
    }

    #[tokio::test]
    async fn numbers_grow_although_the_clock_and_the_table_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let meta = open(&directory).await;
        bucket_of(&meta, "b", "alice").await;
        remove(&meta, "untold", 1_000).await;
        meta.set_notifications("b".into(), rules("w"), Some(Origin::default()), 1_000).await.unwrap();
        let first = keys(&meta, "w").await;
        assert_eq!(first, [(1_000 << 20, "test".to_owned())]);
        meta.events_taken("w".into(), vec![first[0].0]).await.unwrap();
        remove(&meta, "one", 500).await;
        assert_eq!(keys(&meta, "w").await, [((1_000 << 20) + 1, "one".to_owned())]);
        meta.set_notifications("b".into(), rules("other"), None, 1).await.unwrap();
        remove(&meta, "two", 2_000).await;
        assert_eq!(keys(&meta, "other").await, [(2_000 << 20, "two".to_owned())]);
        meta.set_notifications("b".into(), Rules::default(), Some(Origin::default()), 1).await.unwrap();
        remove(&meta, "three", 3_000).await;
        assert_eq!((keys(&meta, "w").await.len(), keys(&meta, "other").await.len()), (1, 1));
        assert_eq!(meta.subresource("b".into(), Subresource::Notification).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_old_or_too_much_goes_the_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let meta = open(&directory).await;
        bucket_of(&meta, "b", "alice").await;
        for webhook in ["few", "many"] {
            meta.set_notifications("b".into(), rules(webhook), None, 1).await.unwrap();
            for at in 1..=if webhook == "few" { 3 } else { 9 } {
                remove(&meta, &at.to_string(), at * 1_000).await;
            }
        }
        // Numbers of `many` begin behind those of `few`: 3,000 and the next milliseconds.
        let left = meta.drop_events(2_000, 5).await.unwrap();
        assert_eq!((left.queued, left.dropped["few"], left.dropped["many"]), (7, 1, 4));
        let named: Vec<_> = keys(&meta, "many").await.into_iter().map(|(_, key)| key).collect();
        assert_eq!(named, ["5", "6", "7", "8", "9"]);
        let left = meta.drop_events(u64::MAX, 5).await.unwrap();
        assert_eq!((left.queued, left.dropped["few"]), (0, 2));
        assert_eq!(meta.drop_events(u64::MAX, 5).await.unwrap(), Left::default());
    }

    #[tokio::test]
    async fn an_event_that_does_not_decode_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let meta = open(&directory).await;
        bucket_of(&meta, "b", "alice").await;
        meta.set_notifications("b".into(), rules("w"), None, 1).await.unwrap();
        remove(&meta, "one", 1_000).await;
        remove(&meta, "two", 2_000).await;
        let spoilt = meta.write(|transaction| {
            transaction.open_table(EVENTS)?.insert(("w", 1_000 << 20), [0xff].as_slice())?;
            Ok(())
        });
        spoilt.await.unwrap();
        assert_eq!(keys(&meta, "w").await, [(2_000 << 20, "two".to_owned())]);
        assert_eq!(meta.unreadable_rows(), 1);
    }
}
