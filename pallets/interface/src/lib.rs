//! What clients of a pallet depend on, as text: names, indices and types of calls, events, errors, storage items and
//! constants, as the metadata has them. A pallet's tests compare it with the text that was published.
//!
//! # Invariants
//! - Equal metadata give equal text.
//! - Everything that is named has documentation; an error's says what happened and what to do.
//!
//! # Not here
//! Values of constants, encodings of single calls (the tests of the runtime).

use std::collections::BTreeMap;

use frame_support::__private::metadata_ir::{
    PalletConstantMetadataIR, PalletStorageMetadataIR, StorageEntryTypeIR,
};
use scale_info::{Field, MetaType, TypeDef, TypeInfo, form::MetaForm};

/// Crates whose records and enums are part of the text.
const OURS: [&str; 5] =
    ["arion_types", "pallet_arion", "pallet_marketplace", "pallet_registration", "pallet_snapshots"];

/// The text of a pallet, growing.
#[derive(Default)]
pub struct Interface {
    lines: Vec<String>,
    /// Our records and enums that occur, by name.
    types: BTreeMap<String, String>,
}

impl Interface {
    /// Adds the variants of an enum, of which `kind` says what they are: `call`, `event`, `error`, `hold`.
    ///
    /// # Panics
    /// When it is no enum, or when one that clients see is not documented.
    pub fn variants<T: TypeInfo>(mut self, kind: &str) -> Self {
        let TypeDef::Variant(variants) = T::type_info().type_def else { panic!("{kind} is no enum") };
        for variant in variants.variants {
            if variant.name.starts_with("__") {
                continue;
            }
            let docs = variant.docs.join(" ");
            match kind {
                "hold" => {}
                "error" => assert!(sentences(&docs) >= 2, "{} has no remedy: {docs}", variant.name),
                _ => assert!(!docs.is_empty(), "{kind} {} has no documentation", variant.name),
            }
            let fields = self.fields(&variant.fields);
            self.lines.push(format!("{kind} {} {}{fields}", variant.index, variant.name));
        }
        self
    }

    /// Adds the storage items.
    ///
    /// # Panics
    /// When one, besides counters, is not documented.
    pub fn storage(mut self, storage: PalletStorageMetadataIR) -> Self {
        for entry in storage.entries {
            let is_explained = !entry.docs.is_empty() || entry.name.starts_with("CounterFor");
            assert!(is_explained, "storage {} has no documentation", entry.name);
            let shape = match &entry.ty {
                StorageEntryTypeIR::Plain(value) => self.name(value),
                StorageEntryTypeIR::Map { hashers, key, value } => {
                    format!("{hashers:?} {} -> {}", self.name(key), self.name(value))
                }
            };
            self.lines.push(format!("storage {} {:?} {shape}", entry.name, entry.modifier));
        }
        self
    }

    /// Adds the constants.
    ///
    /// # Panics
    /// When one is not documented.
    pub fn constants(mut self, constants: Vec<PalletConstantMetadataIR>) -> Self {
        for constant in constants {
            assert!(!constant.docs.is_empty(), "constant {} has no documentation", constant.name);
            let name = self.name(&constant.ty);
            self.lines.push(format!("constant {}: {name}", constant.name));
        }
        self
    }

    /// The text: what was added, in the order in which it was, then our types by name.
    pub fn text(self) -> String {
        let types = self.types.into_iter().map(|(name, shape)| format!("type {name} = {shape}"));
        self.lines.into_iter().chain(types).map(|line| line + "\n").collect()
    }

    /// Holds the text against the one in `file`.
    ///
    /// # Panics
    /// When they differ.
    pub fn assert_published(self, published: &str, file: &str) {
        let now = self.text();
        let lacking = |lines: &str, other: &str| -> Vec<String> {
            let known = |line: &&str| other.lines().any(|other| other == *line);
            lines.lines().filter(|line| !known(line)).map(str::to_owned).collect()
        };
        let (gone, new) = (lacking(published, &now), lacking(&now, published));
        assert!(
            now == published,
            "published, but gone: {gone:#?}\nnot published: {new:#?}\nInterfaces only grow; if this one did, \
             {file} becomes:\n{now}"
        );
    }

    /// A type in a few words; if it is ours, with its shape among the types.
    fn name(&mut self, ty: &MetaType) -> String {
        let info = ty.type_info();
        let params: Vec<String> =
            info.type_params.iter().filter_map(|param| Some(self.name(&param.ty?))).collect();
        if let Some(name) = info.path.segments.last() {
            let name = match params.is_empty() {
                true => name.to_string(),
                false => format!("{name}<{}>", params.join(", ")),
            };
            let is_ours = info.path.segments.first().is_some_and(|root| OURS.contains(root));
            if is_ours && !self.types.contains_key(&name) {
                self.types.insert(name.clone(), String::new());
                let shape = self.shape(&info.type_def);
                self.types.insert(name.clone(), shape);
            }
            return name;
        }
        match &info.type_def {
            TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
            TypeDef::Array(array) => format!("[{}; {}]", self.name(&array.type_param), array.len),
            TypeDef::Sequence(sequence) => format!("[{}]", self.name(&sequence.type_param)),
            TypeDef::Compact(compact) => format!("Compact<{}>", self.name(&compact.type_param)),
            TypeDef::Tuple(tuple) => {
                let fields: Vec<_> = tuple.fields.iter().map(|field| self.name(field)).collect();
                format!("({})", fields.join(", "))
            }
            other => panic!("a type without a name: {other:?}"),
        }
    }

    fn shape(&mut self, def: &TypeDef<MetaForm>) -> String {
        match def {
            TypeDef::Composite(record) => self.fields(&record.fields),
            TypeDef::Variant(variants) => {
                let variants: Vec<_> = variants
                    .variants
                    .iter()
                    .map(|variant| {
                        format!("{} {}{}", variant.index, variant.name, self.fields(&variant.fields))
                    })
                    .collect();
                variants.join(" | ")
            }
            other => panic!("neither a record nor an enum: {other:?}"),
        }
    }

    fn fields(&mut self, fields: &[Field<MetaForm>]) -> String {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| format!("{}: {}", field.name.unwrap_or("_"), self.name(&field.ty)))
            .collect();
        if fields.is_empty() { String::new() } else { format!("({})", fields.join(", ")) }
    }
}

/// Number of sentences of a text.
fn sentences(text: &str) -> usize {
    text.trim().trim_end_matches('.').split(". ").filter(|sentence| !sentence.trim().is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(TypeInfo)]
    #[scale_info(capture_docs = "always")]
    #[allow(dead_code)]
    enum Shouted {
        /// It is closed. Wait until it opens.
        Closed,
    }

    #[derive(TypeInfo)]
    #[scale_info(capture_docs = "always")]
    #[allow(dead_code)]
    enum Muttered {
        /// It is closed (see above).
        Closed,
    }

    #[test]
    fn a_sentence_ends_with_a_full_stop() {
        assert_eq!(["", "No.", "No (at most 1.5).", "It is over. Wait."].map(sentences), [0, 1, 1, 2]);
    }

    #[test]
    fn an_error_says_what_to_do() {
        let text = Interface::default().variants::<Shouted>("error").text();
        assert_eq!(text, "error 0 Closed\n");
    }

    #[test]
    #[should_panic(expected = "Closed has no remedy: It is closed")]
    fn an_error_that_does_not_is_found() {
        let _ = Interface::default().variants::<Muttered>("error");
    }

    #[test]
    #[should_panic(expected = "not published: [\n    \"error 0 Closed\",\n]")]
    fn what_is_new_is_found() {
        Interface::default().variants::<Shouted>("error").assert_published("", "a file");
    }
}
