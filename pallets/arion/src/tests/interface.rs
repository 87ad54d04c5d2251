//! Names, indices and types that clients depend on never change: `interface.txt` lists them as the metadata
//! has them.

use std::{collections::BTreeMap, fmt::Write};

use frame_support::__private::metadata_ir::StorageEntryTypeIR;
use scale_info::{MetaType, TypeDef, TypeInfo, form::MetaForm};

use crate::{Call, mock::*};

/// Records and enums of ours, by name.
type Types = BTreeMap<String, String>;

/// A type in a few words; what is ours is added to `types`.
fn describe(ty: &MetaType, types: &mut Types) -> String {
    let info = ty.type_info();
    let params: Vec<String> =
        info.type_params.iter().filter_map(|param| Some(describe(&param.ty?, types))).collect();
    if let Some(name) = info.path.segments.last() {
        let ours = matches!(info.path.segments.first(), Some(&"arion_types" | &"pallet_arion"));
        let name = match params.is_empty() {
            true => name.to_string(),
            false => format!("{name}<{}>", params.join(", ")),
        };
        if ours && !types.contains_key(&name) {
            types.insert(name.clone(), String::new());
            let shape = shape(&info.type_def, types);
            types.insert(name.clone(), shape);
        }
        return name;
    }
    match &info.type_def {
        TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
        TypeDef::Array(array) => format!("[{}; {}]", describe(&array.type_param, types), array.len),
        TypeDef::Sequence(sequence) => format!("[{}]", describe(&sequence.type_param, types)),
        TypeDef::Tuple(tuple) => {
            let fields: Vec<_> = tuple.fields.iter().map(|field| describe(field, types)).collect();
            format!("({})", fields.join(", "))
        }
        other => panic!("a type without a name: {other:?}"),
    }
}

fn shape(def: &TypeDef<MetaForm>, types: &mut Types) -> String {
    match def {
        TypeDef::Composite(record) => fields(&record.fields, types),
        TypeDef::Variant(variants) => {
            let variants: Vec<_> = variants
                .variants
                .iter()
                .map(|variant| {
                    format!("{} {}{}", variant.index, variant.name, fields(&variant.fields, types))
                })
                .collect();
            variants.join(" | ")
        }
        other => panic!("neither a record nor an enum: {other:?}"),
    }
}

fn fields(fields: &[scale_info::Field<MetaForm>], types: &mut Types) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|field| format!("{}: {}", field.name.unwrap_or("_"), describe(&field.ty, types)))
        .collect();
    if fields.is_empty() { String::new() } else { format!("({})", fields.join(", ")) }
}

fn variants<T: TypeInfo>(kind: &str, types: &mut Types, out: &mut String) {
    let TypeDef::Variant(enumeration) = T::type_info().type_def else { panic!("{kind} is no enum") };
    for variant in enumeration.variants {
        if variant.name.starts_with("__") {
            continue;
        }
        assert!(!variant.docs.is_empty() || kind == "hold", "{kind} {} has no documentation", variant.name);
        let fields = fields(&variant.fields, types);
        writeln!(out, "{kind} {} {}{fields}", variant.index, variant.name).unwrap();
    }
}

fn interface() -> String {
    let (mut out, mut types) = (String::new(), Types::new());
    variants::<Call<Test>>("call", &mut types, &mut out);
    variants::<crate::Event<Test>>("event", &mut types, &mut out);
    variants::<crate::Error<Test>>("error", &mut types, &mut out);
    variants::<crate::HoldReason>("hold", &mut types, &mut out);
    for entry in Arion::storage_metadata().entries {
        assert!(!entry.docs.is_empty() || entry.name.starts_with("CounterFor"), "{}: no docs", entry.name);
        let shape = match &entry.ty {
            StorageEntryTypeIR::Plain(value) => describe(value, &mut types),
            StorageEntryTypeIR::Map { hashers, key, value } => {
                format!("{hashers:?} {} -> {}", describe(key, &mut types), describe(value, &mut types))
            }
        };
        writeln!(out, "storage {} {:?} {shape}", entry.name, entry.modifier).unwrap();
    }
    for constant in Arion::pallet_constants_metadata() {
        assert!(!constant.docs.is_empty(), "{} has no documentation", constant.name);
        writeln!(out, "constant {}: {}", constant.name, describe(&constant.ty, &mut types)).unwrap();
    }
    for (name, shape) in types {
        writeln!(out, "type {name} = {shape}").unwrap();
    }
    out
}

#[test]
fn names_indices_and_types_are_those_that_were_published() {
    let (now, published) = (interface(), include_str!("interface.txt"));
    let changed: Vec<_> = published.lines().filter(|line| !now.lines().any(|other| other == *line)).collect();
    let new: Vec<_> = now.lines().filter(|line| !published.lines().any(|other| other == *line)).collect();
    assert!(
        now == published,
        "published, but gone: {changed:#?}\nnot published: {new:#?}\nInterfaces only grow; if this one did, \
         pallets/arion/src/tests/interface.txt becomes:\n{now}"
    );
}
