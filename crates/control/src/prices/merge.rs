//! Imported prices meet the book.
//!
//! A public list says what holds today and rarely since when, while the book keeps the past so that old calls keep their
//! price. So:
//!
//! - a model that the book has no price for gets the list's prices as they are;
//! - a price with a date is set at its date;
//! - a price without a date for a model that the book prices differently today holds from the import on;
//! - a price without a date that the list itself follows with a later one, already in force, is history: the book's own
//!   history stays, and the report says so;
//! - a price that the book gives already changes nothing, except that further names are added;
//! - a name that another model claims from the same instant stays with it, and the report says so.

use super::report::{Note, note};
use contracts::Timestamp;
use contracts::price::{InvalidPrice, ModelPrice, PriceBook, PriceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What to write, and what came of each imported price.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Entries that are new or differ from the book's.
    pub(super) writes: Vec<ModelPrice>,
    pub(super) added: usize,
    pub(super) changed: usize,
    pub(super) unchanged: usize,
    pub(super) partial: Vec<Note>,
}

/// Decides for each imported price what becomes of it.
pub(super) fn merge(
    book: &[ModelPrice],
    imported: Vec<ModelPrice>,
    now: Timestamp,
) -> Result<Merged, InvalidPrice> {
    let index = PriceBook::new("", book.to_vec())?;
    let mut entries: BTreeMap<PriceKey, ModelPrice> =
        book.iter().map(|entry| (entry.key(), entry.clone())).collect();
    let mut names = Names::of(book);
    let mut merged = Merged::default();
    let mut taken = BTreeSet::new();
    let newest = newest_in_force(&imported, now);
    for mut price in imported {
        let current = index.entry(&price.provider, &price.model, price.valid_from.unwrap_or(now));
        let superseded = newest.get(&(price.provider.clone(), price.model.clone()));
        if price.valid_from.is_none() && superseded.is_some() && current.is_some() {
            merged.partial.push(note(
                &price.provider,
                &price.model,
                "valid_from",
                "the earlier price without a date is left to the book's own history",
            ));
            continue;
        }
        if let Some(current) = current {
            if current.charge == price.charge {
                let known = entries.get(&current.key()).unwrap_or(current).clone();
                match with_names_of(&known, &price, &mut names, &mut merged.partial) {
                    Some(widened) => {
                        merged.changed += 1;
                        entries.insert(widened.key(), widened);
                    }
                    None => merged.unchanged += 1,
                }
                continue;
            }
            price.valid_from = price.valid_from.or(Some(now));
        }
        if !taken.insert(price.key()) {
            let first = entries.get(&price.key()).cloned().unwrap_or_else(|| price.clone());
            if first.charge != price.charge {
                let reason = "is given twice with different prices: the first is taken";
                merged.partial.push(note(&price.provider, &price.model, "", reason));
            }
            if let Some(widened) = with_names_of(&first, &price, &mut names, &mut merged.partial) {
                entries.insert(widened.key(), widened);
            }
            continue;
        }
        names.keep_free(&mut price, &mut merged.partial);
        match entries.insert(price.key(), price) {
            Some(_) => merged.changed += 1,
            None => merged.added += 1,
        }
    }
    PriceBook::new("", entries.values().cloned().collect())?;
    let before: HashMap<PriceKey, &ModelPrice> = book.iter().map(|entry| (entry.key(), entry)).collect();
    merged.writes = entries
        .into_iter()
        .filter(|(key, entry)| before.get(key) != Some(&entry))
        .map(|(_, entry)| entry)
        .collect();
    Ok(merged)
}

/// The models whose imported prices include a dated one that is in force.
fn newest_in_force(imported: &[ModelPrice], now: Timestamp) -> HashMap<(String, String), Timestamp> {
    let mut newest = HashMap::new();
    for price in imported {
        if let Some(from) = price.valid_from.filter(|from| *from <= now) {
            let latest = newest.entry((price.provider.clone(), price.model.clone())).or_insert(from);
            *latest = from.max(*latest);
        }
    }
    newest
}

/// `known` with the names that `price` adds to it; `None` when it adds none.
fn with_names_of(
    known: &ModelPrice,
    price: &ModelPrice,
    names: &mut Names,
    partial: &mut Vec<Note>,
) -> Option<ModelPrice> {
    let mut widened = known.clone();
    let mut more = price.clone();
    more.valid_from = known.valid_from;
    more.model.clone_from(&known.model);
    more.aliases.retain(|alias| !known.aliases.contains(alias) && *alias != known.model);
    more.prefixes.retain(|prefix| !known.prefixes.contains(prefix));
    names.keep_free(&mut more, partial);
    if more.aliases.is_empty() && more.prefixes.is_empty() {
        return None;
    }
    widened.aliases.append(&mut more.aliases);
    widened.prefixes.append(&mut more.prefixes);
    Some(widened)
}

/// Who claims which name, so that no two entries of one instant ever claim the same.
#[derive(Default)]
struct Names(HashMap<Claim, String>);

#[derive(PartialEq, Eq, Hash)]
struct Claim {
    provider: String,
    is_prefix: bool,
    name: String,
    from: Option<Timestamp>,
}

impl Names {
    fn of(book: &[ModelPrice]) -> Self {
        let mut names = Self::default();
        for entry in book {
            let claims = entry
                .aliases
                .iter()
                .map(|name| (false, name))
                .chain(entry.prefixes.iter().map(|name| (true, name)));
            for (is_prefix, name) in claims {
                names.0.insert(claim(entry, is_prefix, name), entry.model.clone());
            }
        }
        names
    }

    /// Claims the names of `price`, and takes from it those that another model has.
    fn keep_free(&mut self, price: &mut ModelPrice, partial: &mut Vec<Note>) {
        for is_prefix in [false, true] {
            let wanted = if is_prefix { &mut price.prefixes } else { &mut price.aliases };
            let wanted = std::mem::take(wanted);
            let mut free = Vec::new();
            for name in wanted {
                let owner =
                    self.0.entry(claim(price, is_prefix, &name)).or_insert_with(|| price.model.clone());
                if *owner == price.model {
                    free.push(name);
                } else {
                    let field = if is_prefix { "prefixes" } else { "aliases" };
                    let reason = format!("the name {name:?} stays with {owner:?}");
                    partial.push(note(&price.provider, &price.model, field, reason));
                }
            }
            *(if is_prefix { &mut price.prefixes } else { &mut price.aliases }) = free;
        }
    }
}

fn claim(price: &ModelPrice, is_prefix: bool, name: &str) -> Claim {
    Claim { provider: price.provider.clone(), is_prefix, name: name.to_owned(), from: price.valid_from }
}
