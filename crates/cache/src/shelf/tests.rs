//! What a shelf holds, and what goes when it is full.

use super::*;
use crate::testing::{NOW, entry};
use proptest::prelude::*;

fn key(number: u8) -> ExactKey {
    ExactKey([number; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)
}

fn put(shelf: &Shelf, number: u8, most: usize) {
    shelf.insert(key(number), Some(Arc::new(entry("acme", key(number), "x"))), at(10), None, most);
}

fn one() -> usize {
    let shelf = Shelf::default();
    put(&shelf, 0, usize::MAX);
    shelf.bytes()
}

fn holds(shelf: &Shelf, number: u8) -> bool {
    shelf.lock().places.contains_key(&key(number))
}

#[test]
fn what_was_used_is_spared_and_what_is_new_and_unused_goes() {
    let shelf = Shelf::default();
    let most = 3 * one();
    (1..=3).for_each(|number| put(&shelf, number, most));
    assert!(shelf.get(&key(1), NOW).is_some());
    put(&shelf, 4, most);
    assert!(holds(&shelf, 1) && !holds(&shelf, 2) && holds(&shelf, 3) && holds(&shelf, 4));
    // The hand goes on from where it was.
    put(&shelf, 5, most);
    assert!(holds(&shelf, 1) && !holds(&shelf, 3));
    assert_eq!(shelf.counts(), (3, 2));
}

#[test]
fn what_is_too_old_is_not_given() {
    let shelf = Shelf::default();
    put(&shelf, 1, usize::MAX);
    assert!(shelf.get(&key(1), at(9)).is_some());
    assert!(shelf.get(&key(1), at(10)).is_none());
    assert_eq!(shelf.bytes(), 0);
    put(&shelf, 2, usize::MAX);
    shelf.sweep(at(11));
    assert_eq!(shelf.counts().0, 0);
}

#[test]
fn a_closed_shelf_takes_nothing() {
    let shelf = Shelf::default();
    put(&shelf, 1, usize::MAX);
    shelf.close();
    put(&shelf, 2, usize::MAX);
    assert_eq!((shelf.bytes(), shelf.counts().0), (0, 0));
}

#[test]
fn what_goes_is_not_found_by_meaning_either() {
    let shelf = Shelf::default();
    let partition = Partition([7; 32]);
    let vector = Vector::new(&[1.0, 0.0]).unwrap();
    let bearing = Bearing { partition, vector: vector.clone(), facts: Arc::default(), most: 2 };
    for number in 1..=3 {
        let kept = Some(Arc::new(entry("acme", key(number), "x")));
        shelf.insert(key(number), kept, at(10), Some(&bearing), usize::MAX);
    }
    // The partition holds two.
    assert_eq!(shelf.counts().0, 2);
    assert_eq!(shelf.nearest(&partition, &vector, 0.9, NOW).len(), 2);
    shelf.shrink(0);
    assert!(shelf.nearest(&partition, &vector, 0.9, NOW).is_empty());
    assert!(shelf.lock().indexes.is_empty());
}

proptest! {
    #[test]
    fn it_never_holds_more_than_it_may_and_its_books_balance(
        steps in prop::collection::vec((0_u8..20, 0_u8..6, any::<bool>()), 0..200),
        room in 0_usize..8,
    ) {
        let shelf = Shelf::default();
        let most = room * one() + one() / 2;
        let vector = Vector::new(&[1.0, 0.5]).unwrap();
        for (number, step, near) in steps {
            let partition = Partition([number % 2; 32]);
            let bearing = Bearing { partition, vector: vector.clone(), facts: Arc::default(), most: 3 };
            match step {
                0 => shelf.remove(&key(number)),
                1 => drop(shelf.get(&key(number), NOW)),
                2 => shelf.insert(key(number), None, at(5), Some(&bearing), most),
                _ => shelf.insert(
                    key(number),
                    Some(Arc::new(entry("acme", key(number), "x"))),
                    at(10),
                    near.then_some(&bearing),
                    most,
                ),
            }
            let state = shelf.lock();
            prop_assert!(state.bytes <= most);
            let held: Vec<&Slot> = state.places.values().map(|place| &state.slots[*place as usize]).collect();
            prop_assert_eq!(state.bytes, held.iter().map(|slot| slot.bytes).sum::<usize>());
            let mut linked = 0;
            let mut place = state.oldest;
            while place != NONE {
                linked += 1;
                place = state.slots[place as usize].newer;
            }
            prop_assert_eq!(linked, held.len());
            let indexed: usize = state.indexes.values().map(|index| index.len()).sum();
            prop_assert_eq!(indexed, held.iter().filter(|slot| slot.partition.is_some()).count());
            prop_assert!(state.hand == NONE || state.places.values().any(|place| *place == state.hand));
        }
    }
}
