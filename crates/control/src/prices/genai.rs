//! `data.json` of pydantic/genai-prices, version 2.
//!
//! The file is a list of providers; each has models; each model has a `match` expression over names and one price or a
//! list of prices with conditions. What becomes of it:
//!
//! | in the file | in the book |
//! |---|---|
//! | `equals` | an alias |
//! | `starts_with`, `contains`, `ends_with` X | the name X and, but for `ends_with`, its dated snapshots; noted, as the file's rule takes in more |
//! | `regex` of a literal and digits (`^x-\d{8}$`) | the literal's dated snapshots; any other is noted |
//! | `or` | each of its clauses |
//! | `*_mtok` as number | the rate in USD per million tokens |
//! | `*_mtok` as `{base, tiers}` | cards by length; the whole call pays the tier, as the file defines it |
//! | `requests_kcount` | the fee per request (USD per thousand) |
//! | `start_date` | `valid_from` |
//! | a daily `start_time`/`end_time` | the model is left out: its price depends on the hour |
//! | other units (images, video, searches) | noted |

use super::json::{self, Members, shown};
use super::report::{Format, ImportError, Parsed};
use contracts::Timestamp;
use contracts::price::{Charge, ModelPrice, Rate, RateCard, Rates, canonical_provider, instant};
use serde_json::value::RawValue;

/// USD per million tokens.
const MTOK: i32 = 6;

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Parsed, ImportError> {
    let shape = |source| ImportError::Shape { format: Format::GenaiPrices, source };
    let providers: Vec<&RawValue> = serde_json::from_str(text).map_err(shape)?;
    let mut parsed = Parsed::default();
    for raw in providers {
        if let Err(reason) = provider(raw, &mut parsed) {
            parsed.drop("", "", "provider", reason);
        }
    }
    Ok(parsed)
}

fn provider(raw: &RawValue, parsed: &mut Parsed) -> Result<(), String> {
    let members = Members::of(raw)?;
    let id = members.text("id")?.ok_or("the provider has no id")?;
    let Some(models) = members.get("models") else {
        parsed.drop(&id, "", "models", "the provider has no models");
        return Ok(());
    };
    match json::items(models) {
        Ok(models) => models.into_iter().for_each(|raw| take(&id, raw, parsed)),
        Err(reason) => parsed.drop(&id, "", "models", reason),
    }
    Ok(())
}

fn take(provider: &str, raw: &RawValue, parsed: &mut Parsed) {
    parsed.models += 1;
    let mut seen = Reading { provider, model: String::new(), field: String::new(), parsed };
    match seen.model(raw) {
        Ok(prices) => parsed.prices.extend(prices),
        Err(reason) => {
            let Reading { model, field, .. } = seen;
            parsed.drop(provider, &model, &field, reason);
        }
    }
}

/// The model being read, so that a reason can say where it arose.
struct Reading<'p> {
    provider: &'p str,
    model: String,
    field: String,
    parsed: &'p mut Parsed,
}

impl Reading<'_> {
    fn lose(&mut self, field: &str, reason: impl Into<String>) {
        self.parsed.lose(self.provider, &self.model, field, reason);
    }

    fn at(&mut self, field: &str) {
        field.clone_into(&mut self.field);
    }

    fn model(&mut self, raw: &RawValue) -> Result<Vec<ModelPrice>, String> {
        let members = Members::of(raw)?;
        self.model = members.text("id")?.ok_or("the model has no id")?;
        let mut matched = Matched::default();
        if let Some(clause) = members.get("match") {
            self.clause(clause, &mut matched, 0);
        }
        let own = self.model.clone();
        matched.aliases.retain(|alias| *alias != own);
        self.at("prices");
        let prices = members.get("prices").ok_or("the model has no prices")?;
        let mut entries = Vec::new();
        for (valid_from, raw) in dated(prices)? {
            let entry = ModelPrice {
                provider: canonical_provider(self.provider).to_owned(),
                model: self.model.clone(),
                aliases: matched.aliases.clone(),
                prefixes: matched.prefixes.clone(),
                valid_from,
                charge: Charge::Tokens(self.cards(raw)?),
                source: "pydantic/genai-prices".to_owned(),
            };
            entry.validate().map_err(|error| error.to_string())?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn cards(&mut self, raw: &RawValue) -> Result<Vec<RateCard>, String> {
        let members = Members::of(raw)?;
        let mut kinds: Vec<(Kind, Tiered)> = Vec::new();
        let mut request = None;
        for (name, raw) in &members.0 {
            self.at(name);
            if name == "requests_kcount" {
                request = json::usd(raw, 3)?;
                continue;
            }
            match kind(name) {
                Some(kind) => kinds.push((kind, tiered(raw)?)),
                None if json::is_zero_or_null(raw) => {}
                None => self.lose(name, format!("{} has no unit in the book", shown(raw))),
            }
        }
        self.at("prices");
        if request.is_none() && kinds.iter().all(|(_, price)| price.base.is_none()) {
            return Err("has no price per token or request".to_owned());
        }
        let mut lengths: Vec<u64> =
            kinds.iter().flat_map(|(_, price)| price.tiers.iter().map(|(start, _)| *start)).collect();
        lengths.push(0);
        lengths.sort_unstable();
        lengths.dedup();
        let card = |above: u64| {
            let mut rates = Rates { request, ..Rates::default() };
            for (kind, price) in &kinds {
                *kind(&mut rates) = price.at(above);
            }
            RateCard { above, rates, ..RateCard::default() }
        };
        Ok(lengths.into_iter().map(card).collect())
    }

    fn clause(&mut self, raw: &RawValue, matched: &mut Matched, depth: usize) {
        let members = match Members::of(raw) {
            Ok(members) if depth < 8 => members,
            Ok(_) => return self.lose("match", "is nested too deep"),
            Err(reason) => return self.lose("match", reason),
        };
        for (operator, operand) in &members.0 {
            if operator == "or" {
                match json::items(operand) {
                    Ok(clauses) => {
                        for clause in clauses {
                            self.clause(clause, matched, depth + 1);
                        }
                    }
                    Err(reason) => self.lose("match.or", reason),
                }
                continue;
            }
            let field = format!("match.{operator}");
            let Ok(text) = serde_json::from_str::<String>(operand.get()) else {
                self.lose(&field, format!("{} cannot be expressed as names", shown(operand)));
                continue;
            };
            match operator.as_str() {
                "equals" => matched.alias(&text),
                "starts_with" | "contains" => {
                    matched.alias(text.trim_end_matches(['-', '@', ':']));
                    matched.prefix(text.trim_end_matches(['-', '@', ':']));
                    self.lose(&field, format!("{text:?} is taken as this name and its dated snapshots, not as every name with it"));
                }
                "ends_with" => {
                    matched.alias(&text);
                    self.lose(
                        &field,
                        format!("{text:?} is taken as this name, not as every name that ends so"),
                    );
                }
                "regex" => match snapshots_of(&text) {
                    Some(prefix) => matched.prefix(&prefix),
                    None => self.lose(&field, format!("{text:?} cannot be expressed as names")),
                },
                _ => self.lose(&field, "is not a known operator"),
            }
        }
    }
}

/// The prices with the instant from which each holds.
fn dated(raw: &RawValue) -> Result<Vec<(Option<Timestamp>, &RawValue)>, String> {
    if raw.get().starts_with('{') {
        return Ok(vec![(None, raw)]);
    }
    let mut dated: Vec<(Option<Timestamp>, &RawValue)> = Vec::new();
    for raw in json::items(raw)? {
        let conditional = Members::of(raw)?;
        let prices = conditional.get("prices").ok_or("a conditional price has no prices")?;
        let from = match conditional.get("constraint") {
            None => None,
            Some(constraint) if constraint.get() == "null" => None,
            Some(constraint) => Some(start_date(constraint)?),
        };
        if dated.iter().any(|(other, _)| *other == from) {
            return Err("has two prices from the same instant".to_owned());
        }
        dated.push((from, prices));
    }
    Ok(dated)
}

/// The names that a match expression gives.
#[derive(Default)]
struct Matched {
    aliases: Vec<String>,
    prefixes: Vec<String>,
}

impl Matched {
    fn alias(&mut self, name: &str) {
        if !name.is_empty() && !self.aliases.iter().any(|other| other == name) {
            self.aliases.push(name.to_owned());
        }
    }

    fn prefix(&mut self, name: &str) {
        if !name.is_empty() && !self.prefixes.iter().any(|other| other == name) {
            self.prefixes.push(name.to_owned());
        }
    }
}

/// `gpt-5.6` of `^gpt-5\.6-\d{4}-\d{2}-\d{2}$`: a literal, then nothing but digits and dashes.
fn snapshots_of(regex: &str) -> Option<String> {
    let (literal, digits) = regex.strip_prefix('^')?.trim_end_matches('$').split_once("-\\d")?;
    let plain = format!("\\d{digits}").replace("\\d", "");
    if !plain.chars().all(|c| c.is_ascii_digit() || matches!(c, '{' | '}' | '-')) {
        return None;
    }
    let name = literal.replace("\\.", ".").replace("\\-", "-").replace("\\/", "/");
    let safe = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '/' | '_' | ':'));
    // A dot that was not escaped stands for any character.
    (safe && literal.matches('.').count() == literal.matches("\\.").count()).then_some(name)
}

/// The rate that a unit stands for.
type Kind = fn(&mut Rates) -> &mut Option<Rate>;

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "input_mtok" => |rates| &mut rates.input,
        "output_mtok" => |rates| &mut rates.output,
        "cache_read_mtok" => |rates| &mut rates.cache_read,
        "cache_write_mtok" => |rates| &mut rates.cache_write,
        "cache_write_1h_mtok" => |rates| &mut rates.cache_write_1h,
        "output_reasoning_mtok" => |rates| &mut rates.reasoning,
        "input_audio_mtok" => |rates| &mut rates.audio_input,
        "output_audio_mtok" => |rates| &mut rates.audio_output,
        _ => return None,
    })
}

/// A price that may depend on the number of input tokens.
struct Tiered {
    base: Option<Rate>,
    tiers: Vec<(u64, Option<Rate>)>,
}

impl Tiered {
    /// The price of a call of more than `length` tokens.
    fn at(&self, length: u64) -> Option<Rate> {
        let tier = self
            .tiers
            .iter()
            .filter(|(start, _)| *start <= length && length > 0)
            .max_by_key(|(start, _)| *start);
        tier.map_or(self.base, |(_, rate)| *rate)
    }
}

fn tiered(raw: &RawValue) -> Result<Tiered, String> {
    if !raw.get().starts_with('{') {
        return Ok(Tiered { base: json::rate(raw, MTOK)?, tiers: Vec::new() });
    }
    let members = Members::of(raw)?;
    let base = json::rate(members.get("base").ok_or("a tiered price has no base")?, MTOK)?;
    let mut tiers = Vec::new();
    for raw in json::items(members.get("tiers").ok_or("a tiered price has no tiers")?)? {
        let tier = Members::of(raw)?;
        let start = json::whole(tier.get("start").ok_or("a tier has no start")?)?;
        let price = json::rate(tier.get("price").ok_or("a tier has no price")?, MTOK)?;
        if start == 0 || tiers.iter().any(|(other, _)| *other == start) {
            return Err(format!("has a tier at {start}: expected distinct starts above 0"));
        }
        tiers.push((start, price));
    }
    Ok(Tiered { base, tiers })
}

fn start_date(raw: &RawValue) -> Result<Timestamp, String> {
    let members = Members::of(raw)?;
    if members.get("start_time").is_some() || members.get("end_time").is_some() {
        return Err("its price depends on the hour of the day, which the book does not know".to_owned());
    }
    let text =
        members.text("start_date")?.ok_or_else(|| format!("the constraint {} is not known", shown(raw)))?;
    instant::read(&text).ok_or_else(|| format!("start_date {text:?} is not a date"))
}
