//! Events of a block, decoded with the metadata, and the errors in them.

use subxt::ext::scale_value::{Composite, Primitive, Value, ValueDef, scale::decode_as_type};

use crate::{
    client::{ChainClient, ChainError},
    interface::Interface,
    tx::DispatchFailure,
};

/// An event of a transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Pallet that deposited it.
    pub pallet: String,
    /// Its name.
    pub name: String,
    fields: Composite<u32>,
}

impl Event {
    /// Whether it is this event.
    pub fn is(&self, pallet: &str, name: &str) -> bool {
        self.pallet == pallet && self.name == name
    }

    fn field(&self, name: &str) -> Option<&Value<u32>> {
        field(&self.fields, name)
    }

    /// An integer field.
    pub fn number(&self, name: &str) -> Option<u128> {
        number(self.field(name)?)
    }

    /// The variant of a field that is an enum.
    pub fn variant(&self, name: &str) -> Option<&str> {
        Some(variant(self.field(name)?)?.0)
    }

    /// A field of bytes: a hash, a node id, an account.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        flatten_bytes(self.field(name)?, &mut bytes).then_some(bytes)
    }
}

fn field<'a>(fields: &'a Composite<u32>, name: &str) -> Option<&'a Value<u32>> {
    match fields {
        Composite::Named(fields) => fields.iter().find(|(n, _)| n == name).map(|(_, value)| value),
        Composite::Unnamed(_) => None,
    }
}

fn number(value: &Value<u32>) -> Option<u128> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => Some(*number),
        _ => None,
    }
}

/// Appends the bytes of nested byte arrays; false if there is anything else.
fn flatten_bytes(value: &Value<u32>, bytes: &mut Vec<u8>) -> bool {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(byte)) => {
            u8::try_from(*byte).map(|byte| bytes.push(byte)).is_ok()
        }
        ValueDef::Composite(fields) => fields.values().all(|value| flatten_bytes(value, bytes)),
        _ => false,
    }
}

/// Name and fields of an enum value.
fn variant(value: &Value<u32>) -> Option<(&str, &Composite<u32>)> {
    match &value.value {
        ValueDef::Variant(variant) => Some((&variant.name, &variant.values)),
        _ => None,
    }
}

fn first(fields: &Composite<u32>) -> Option<&Value<u32>> {
    fields.values().next()
}

/// An event of a block.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockEvent {
    /// Position of the transaction that deposited it; `None` for what the block does by itself.
    pub extrinsic: Option<u32>,
    /// The event.
    pub event: Event,
}

impl ChainClient {
    /// Events of the block with this hash, in their order.
    pub async fn events(&self, block: [u8; 32]) -> Result<Vec<BlockEvent>, ChainError> {
        const ITEM: &str = "Events";
        let interface = self.interface();
        let key = interface.prefix("System", ITEM)?;
        let stored = self.rpc().storage(&[key], block).await?.into_iter().next().flatten();
        let bytes = stored.unwrap_or_default();
        let type_id = interface.value_type("System", ITEM)?;
        let records = decode_as_type(&mut &bytes[..], type_id, interface.metadata().types())
            .map_err(|_| ChainError::Undecodable(ITEM))?;
        let ValueDef::Composite(records) = &records.value else { return Err(ChainError::Undecodable(ITEM)) };
        let events: Option<Vec<BlockEvent>> = records.values().map(block_event).collect();
        events.ok_or(ChainError::Undecodable(ITEM))
    }
}

fn block_event(record: &Value<u32>) -> Option<BlockEvent> {
    let ValueDef::Composite(record) = &record.value else { return None };
    let (phase, position) = variant(field(record, "phase")?)?;
    let extrinsic = match phase {
        "ApplyExtrinsic" => Some(u32::try_from(number(first(position)?)?).ok()?),
        _ => None,
    };
    let (pallet, inner) = variant(field(record, "event")?)?;
    let (name, fields) = variant(first(inner)?)?;
    let event = Event { pallet: pallet.to_owned(), name: name.to_owned(), fields: fields.clone() };
    Some(BlockEvent { extrinsic, event })
}

/// Events of the transaction at `index` in the block.
pub(crate) async fn of_extrinsic(
    client: &ChainClient,
    block: [u8; 32],
    index: u32,
) -> Result<Vec<Event>, ChainError> {
    let events = client.events(block).await?.into_iter();
    Ok(events.filter(|event| event.extrinsic == Some(index)).map(|event| event.event).collect())
}

/// Why the transaction failed, if it did: itself, or the call that sudo or a proxy made.
pub(crate) fn failure(interface: &Interface, events: &[Event]) -> Option<DispatchFailure> {
    events.iter().find_map(|event| {
        let error = match (event.pallet.as_str(), event.name.as_str()) {
            ("System", "ExtrinsicFailed") => event.field("dispatch_error"),
            ("Sudo", "Sudid" | "SudoAsDone") => event.field("sudo_result").and_then(err),
            ("Proxy", "ProxyExecuted") => event.field("result").and_then(err),
            _ => None,
        }?;
        Some(describe(interface, error))
    })
}

fn err(result: &Value<u32>) -> Option<&Value<u32>> {
    match variant(result)? {
        ("Err", fields) => first(fields),
        _ => None,
    }
}

/// A `DispatchError` in words.
fn describe(interface: &Interface, error: &Value<u32>) -> DispatchFailure {
    let Some((kind, fields)) = variant(error) else {
        return DispatchFailure { name: "Unknown".into(), docs: String::new() };
    };
    if let Some(failure) = module_error(interface, kind, fields) {
        return failure;
    }
    let name = match first(fields).and_then(variant) {
        Some((detail, _)) => format!("{kind}.{detail}"),
        None => kind.to_owned(),
    };
    DispatchFailure { name, docs: String::new() }
}

fn module_error(interface: &Interface, kind: &str, fields: &Composite<u32>) -> Option<DispatchFailure> {
    if kind != "Module" {
        return None;
    }
    let ValueDef::Composite(module) = &first(fields)?.value else { return None };
    let mut bytes = Vec::new();
    flatten_bytes(field(module, "error")?, &mut bytes);
    let pallet_index = u8::try_from(number(field(module, "index")?)?).ok()?;
    let pallet = interface.metadata().pallet_by_error_index(pallet_index)?;
    let error = pallet.error_variant_by_index(*bytes.first()?)?;
    let docs: Vec<&str> = error.docs.iter().map(|line| line.trim()).collect();
    Some(DispatchFailure { name: format!("{}.{}", pallet.name(), error.name), docs: docs.join(" ") })
}
