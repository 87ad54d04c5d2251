//! An event that waits to be told, and what a webhook gets to read of it.

use codec::{Decode, DecodeAll, Encode};
use serde_json::{Value, json};

use super::EventName;

/// What led to an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Source {
    /// A request.
    #[default]
    #[codec(index = 0)]
    Request,
    /// An HTML form.
    #[codec(index = 1)]
    Form,
    /// A lifecycle rule.
    #[codec(index = 2)]
    Lifecycle,
}

/// Who or what led to an event.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Origin {
    /// In which way.
    pub source: Source,
    /// The account or sub-account; `anonymous` for nobody in particular.
    pub principal: String,
    /// Address that the request came from.
    pub address: String,
    /// Id of the request, as its answer has it.
    pub request: String,
}

impl Origin {
    /// The gateway itself, by a lifecycle rule.
    pub fn lifecycle() -> Self {
        Self { source: Source::Lifecycle, principal: "lifecycle".into(), ..Self::default() }
    }

    /// What it is called that an object was written so.
    pub fn written(&self) -> EventName {
        match self.source {
            Source::Form => EventName::CreatedPost,
            Source::Request | Source::Lifecycle => EventName::CreatedPut,
        }
    }

    /// What it is called that a version is gone.
    pub fn removed(&self) -> EventName {
        match self.source {
            Source::Lifecycle => EventName::ExpiredDelete,
            Source::Request | Source::Form => EventName::RemovedDelete,
        }
    }

    /// What it is called that a delete marker was made.
    pub fn hidden(&self) -> EventName {
        match self.source {
            Source::Lifecycle => EventName::ExpiredMarker,
            Source::Request | Source::Form => EventName::RemovedMarker,
        }
    }
}

/// What happened to an object.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Told {
    /// What.
    pub name: EventName,
    /// Id of the rule that tells it.
    pub rule: String,
    /// The account whose bucket it is.
    pub owner: String,
    /// The object's key.
    pub key: String,
    /// The version's id, where the bucket keeps or kept versions.
    pub version: Option<String>,
    /// Size and ETag of what was written, or is there.
    pub object: Option<(u64, String)>,
}

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum What {
    /// Rules were set that name the webhook.
    #[codec(index = 0)]
    Test,
    /// Something happened to an object.
    #[codec(index = 1)]
    Object(Told),
}

/// An event that waits to be told.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Event {
    /// Random; the same whenever it is told.
    pub id: [u8; 16],
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// In which bucket.
    pub bucket: String,
    /// Who or what led to it.
    pub origin: Origin,
    /// What it is.
    pub what: What,
}

#[derive(Encode, Decode)]
enum Stored {
    #[codec(index = 1)]
    V1(Event),
}

/// The gateway as it is told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Teller {
    /// Its region.
    pub region: String,
    /// Its node id.
    pub host: String,
}

/// As in a form: a space is `+`; letters, digits and `-_./*` stand as they are.
fn encoded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => out.push('+'),
            plain if plain.is_ascii_alphanumeric() || b"-_./*".contains(&plain) => out.push(plain.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// As S3 writes it: milliseconds, UTC.
fn time(ms: u64) -> String {
    let timestamp = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", timestamp.unwrap_or_default())
}

impl Event {
    /// A new one.
    pub fn new(bucket: String, origin: Origin, what: What, at_ms: u64) -> Self {
        Self { id: rand::random(), at_ms, bucket, origin, what }
    }

    /// The row.
    pub fn to_row(&self) -> Vec<u8> {
        Stored::V1(self.clone()).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        Stored::decode_all(&mut row).map(|Stored::V1(event)| event)
    }

    /// What a webhook is sent: `sequence` grows with each event of the gateway.
    pub fn body(&self, sequence: u64, teller: &Teller) -> Value {
        match &self.what {
            What::Test => json!({
                "Service": "Amazon S3",
                "Event": "s3:TestEvent",
                "Time": time(self.at_ms),
                "Bucket": self.bucket,
                "RequestId": self.origin.request,
                "HostId": teller.host,
            }),
            What::Object(told) => json!({ "Records": [self.record(told, sequence, teller)] }),
        }
    }

    fn record(&self, told: &Told, sequence: u64, teller: &Teller) -> Value {
        let mut object = json!({ "key": encoded(&told.key), "sequencer": format!("{sequence:016X}") });
        if let Some((size, etag)) = &told.object {
            object["size"] = json!(size);
            object["eTag"] = json!(etag);
        }
        if let Some(version) = &told.version {
            object["versionId"] = json!(version);
        }
        let is_later = matches!(
            told.name,
            EventName::ExpiredDelete
                | EventName::ExpiredMarker
                | EventName::TaggingPut
                | EventName::TaggingDelete
                | EventName::AclPut
        );
        json!({
            "eventVersion": if is_later { "2.3" } else { "2.1" },
            "eventSource": "aws:s3",
            "awsRegion": teller.region,
            "eventTime": time(self.at_ms),
            "eventName": told.name.as_str(),
            "userIdentity": { "principalId": self.origin.principal },
            "requestParameters": { "sourceIPAddress": self.origin.address },
            "responseElements": { "x-amz-request-id": self.origin.request, "x-amz-id-2": teller.host },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": told.rule,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": { "principalId": told.owner },
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": object,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What) -> Event {
        let origin = Origin {
            source: Source::Request,
            principal: "alice/backup".into(),
            address: "192.0.2.1".into(),
            request: "r1".into(),
        };
        Event { id: [7; 16], at_ms: 1_760_000_000_005, bucket: "photos".into(), origin, what }
    }

    #[test]
    fn records_are_those_of_s3() {
        let told = Told {
            name: EventName::CreatedPut,
            rule: "new".into(),
            owner: "alice".into(),
            key: "a b/ü+(1).jpg".into(),
            version: Some("null".into()),
            object: Some((5, "abc".into())),
        };
        let event = event(What::Object(told));
        assert_eq!(Event::from_row(&event.to_row()), Ok(event.clone()));
        let teller = Teller { region: "eu-1".into(), host: "h".into() };
        let expected = json!({ "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "eu-1",
            "eventTime": "2025-10-09T08:53:20.005Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "alice/backup" },
            "requestParameters": { "sourceIPAddress": "192.0.2.1" },
            "responseElements": { "x-amz-request-id": "r1", "x-amz-id-2": "h" },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "new",
                "bucket": {
                    "name": "photos",
                    "ownerIdentity": { "principalId": "alice" },
                    "arn": "arn:aws:s3:::photos",
                },
                "object": {
                    "key": "a+b/%C3%BC%2B%281%29.jpg",
                    "size": 5,
                    "eTag": "abc",
                    "versionId": "null",
                    "sequencer": "00000000000000FF",
                },
            },
        }]});
        assert_eq!(event.body(255, &teller), expected);
    }

    #[test]
    fn removals_have_neither_size_nor_etag() {
        let told = Told {
            name: EventName::ExpiredMarker,
            rule: "r".into(),
            owner: "alice".into(),
            key: "k".into(),
            version: None,
            object: None,
        };
        let body = event(What::Object(told)).body(1, &Teller::default());
        let record = &body["Records"][0];
        assert_eq!(record["eventVersion"], "2.3");
        assert_eq!(record["s3"]["object"], json!({ "key": "k", "sequencer": "0000000000000001" }));
        let test = event(What::Test).body(1, &Teller::default());
        assert_eq!((&test["Event"], &test["Bucket"]), (&json!("s3:TestEvent"), &json!("photos")));
    }
}
