//! Both engines do what an ordered map does, whatever is asked in which order.

use std::{collections::BTreeMap, ops::Bound};

use proptest::prelude::*;

use super::{super::tests::on_each, table::Row, *};

type Key = (&'static str, u32);
type Model = BTreeMap<(String, u32), Vec<u8>>;

const TABLE: TableDefinition<Key, &[u8]> = TableDefinition::new("model");
/// Beside it: what is in other tables is never seen.
const OTHER: TableDefinition<Key, &[u8]> = TableDefinition::new("model-");
const NAMES: [&str; 4] = ["", "a", "a\0", "b"];

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, u32, usize),
    Remove(usize, u32),
    Take(usize, u32),
    RemoveRange(usize, u32, u32),
    Get(usize, u32),
    /// Rows from both ends of a range.
    Range(usize, u32, usize, u32, usize, usize),
    /// One row at a time, each looked for behind the one before, as listings do.
    Seek(usize, u32, usize),
    Last,
    /// The changes so far are kept, or not.
    End(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..NAMES.len();
    let number = 0..40u32;
    let step = prop_oneof![
        8 => (name.clone(), number.clone(), 0..9usize).prop_map(|(a, b, c)| Step::Insert(a, b, c)),
        2 => (name.clone(), number.clone()).prop_map(|(a, b)| Step::Remove(a, b)),
        1 => (name.clone(), number.clone()).prop_map(|(a, b)| Step::Take(a, b)),
        1 => (name.clone(), number.clone(), number.clone()).prop_map(|(a, b, c)| Step::RemoveRange(a, b, c)),
        2 => (name.clone(), number.clone()).prop_map(|(a, b)| Step::Get(a, b)),
        3 => (name.clone(), number.clone(), name.clone(), number.clone(), 0..30usize, 0..5usize)
            .prop_map(|(a, b, c, d, e, f)| Step::Range(a, b, c, d, e, f)),
        2 => (name, number, 0..60usize).prop_map(|(a, b, c)| Step::Seek(a, b, c)),
        1 => Just(Step::Last),
        1 => any::<bool>().prop_map(Step::End),
    ];
    prop::collection::vec(step, 1..120)
}

type Shown = Option<((String, u32), Vec<u8>)>;

fn shown(row: Option<Result<Row<'_, Key, &'static [u8]>, MetaError>>) -> Shown {
    let (key, value) = row?.unwrap();
    let (name, number) = key.value();
    Some(((name.to_owned(), number), value.value().to_vec()))
}

/// Asks a table and the model the same.
fn ask(table: &impl ReadableTable<Key, &'static [u8]>, model: &Model, step: &Step) {
    let owned = |name: usize, number: u32| (NAMES[name].to_owned(), number);
    let of_model =
        |row: Option<(&(String, u32), &Vec<u8>)>| row.map(|(key, value)| (key.clone(), value.clone()));
    match *step {
        Step::Get(name, number) => {
            let found = table.get((NAMES[name], number)).unwrap().map(|row| row.value().to_vec());
            assert_eq!(found.as_ref(), model.get(&owned(name, number)));
        }
        Step::Range(name, number, to, end, front, back) => {
            let (from, to) = ((NAMES[name], number), (NAMES[to], end));
            if from > to {
                return;
            }
            let mut rows = table.range(from..=to).unwrap();
            let mut expected = model.range((from.0.to_owned(), from.1)..=(to.0.to_owned(), to.1));
            for at in 0..front + back {
                match at % (front.max(1)) < back {
                    true => assert_eq!(shown(rows.next_back()), of_model(expected.next_back())),
                    false => assert_eq!(shown(rows.next()), of_model(expected.next())),
                }
            }
        }
        Step::Seek(name, number, count) => {
            let mut at = owned(name, number);
            for _ in 0..count {
                let start = (Bound::Excluded((at.0.as_str(), at.1)), Bound::Unbounded);
                let found = shown(table.range::<(&str, u32)>(start).unwrap().next());
                let start = (Bound::Excluded(at.clone()), Bound::Unbounded);
                assert_eq!(found, of_model(model.range(start).next()));
                let Some((key, _)) = found else { break };
                at = key;
            }
        }
        Step::Last => {
            assert_eq!(shown(table.last().unwrap().map(Ok)), of_model(model.last_key_value()));
            assert_eq!(table.is_empty().unwrap(), model.is_empty());
        }
        _ => {}
    }
}

fn change(table: &mut Table<'_, Key, &'static [u8]>, model: &mut Model, step: &Step) {
    let owned = |name: usize, number: u32| (NAMES[name].to_owned(), number);
    match *step {
        Step::Insert(name, number, len) => {
            let value = vec![number as u8; len];
            table.insert((NAMES[name], number), value.as_slice()).unwrap();
            model.insert(owned(name, number), value);
        }
        Step::Remove(name, number) => {
            table.remove((NAMES[name], number)).unwrap();
            model.remove(&owned(name, number));
        }
        Step::Take(name, number) => {
            let taken = table.take((NAMES[name], number)).unwrap().map(|row| row.value().to_vec());
            assert_eq!(taken, model.remove(&owned(name, number)));
        }
        Step::RemoveRange(name, from, to) if from <= to => {
            table.remove_range((NAMES[name], from)..(NAMES[name], to)).unwrap();
            model.retain(|key, _| key.0 != NAMES[name] || !(from..to).contains(&key.1));
        }
        _ => ask(table, model, step),
    }
}

#[test]
fn tables_are_ordered_maps() {
    on_each(&steps(), |steps, engine| async move {
        let meta = engine.open();
        let store = meta.store.clone();
        let work = move || {
            let (mut kept, mut session) = (Model::new(), None);
            let mut rest = steps.as_slice();
            while !rest.is_empty() {
                let end = rest.iter().position(|step| matches!(step, Step::End(_))).unwrap_or(rest.len());
                let write = store.begin_write(&mut session).unwrap();
                let mut model = kept.clone();
                {
                    let mut other = write.open_table(OTHER).unwrap();
                    other.insert(("a", 5), b"other".as_slice()).unwrap();
                    let mut table = write.open_table(TABLE).unwrap();
                    for (at, step) in rest[..end].iter().enumerate() {
                        change(&mut table, &mut model, step);
                        if at % 50 == 49 {
                            write.send().unwrap();
                        }
                    }
                }
                if matches!(rest.get(end), Some(Step::End(false))) {
                    session = write.abort().unwrap();
                } else {
                    session = write.commit().unwrap();
                    kept = model;
                    let read = store.read(|read| {
                        let table = read.open_table(TABLE)?;
                        assert_eq!(table.len()?, kept.len() as u64);
                        steps.iter().for_each(|step| ask(&table, &kept, step));
                        Ok(())
                    });
                    read.unwrap();
                }
                rest = rest.get(end + 1..).unwrap_or_default();
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    });
}
