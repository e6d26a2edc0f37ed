//! The book's rules, one test each. Money over real price lists is tested by the golden invoices of `control::prices`.

use super::*;
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_unix_seconds(day * DAY)
}

fn rates(input: u64, output: u64) -> Rates {
    Rates { input: Rate::from_picos(input), output: Rate::from_picos(output), ..Rates::default() }
}

fn card(tier: ServiceTier, above: u64, rates: Rates) -> RateCard {
    RateCard { tier, above, rates }
}

/// A model at the provider `p` whose standard input rate is `picos`.
fn model(name: &str, picos: u64) -> ModelPrice {
    ModelPrice {
        provider: "p".to_owned(),
        model: name.to_owned(),
        aliases: Vec::new(),
        prefixes: Vec::new(),
        valid_from: None,
        charge: Charge::Tokens(vec![card(ServiceTier::Standard, 0, rates(picos, picos))]),
        source: String::new(),
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn book(entries: Vec<ModelPrice>) -> PriceBook {
    PriceBook::new("v", entries).unwrap()
}

/// The input rate that applies to a name at a time.
fn rate_of(book: &PriceBook, name: &str, when: Timestamp) -> Option<i128> {
    let usage = TokenUsage { input: 1, ..TokenUsage::default() };
    Some(book.cost("p", name, ServiceTier::Standard, &usage, when)?.total.picos())
}

#[test]
fn an_empty_book_prices_nothing() {
    assert_eq!(rate_of(&PriceBook::default(), "m", at(0)), None);
}

#[test]
fn a_name_is_found_exactly_then_by_alias_then_by_the_longest_prefix() {
    let book = book(vec![
        ModelPrice { prefixes: names(&["gpt-4"]), ..model("gpt-4", 1) },
        ModelPrice { prefixes: names(&["gpt-4-2024"]), ..model("odd", 2) },
        ModelPrice { aliases: names(&["gpt-4-2024-05-01", "gpt-4-0613"]), ..model("aliased", 3) },
        model("gpt-4-0613", 4),
    ]);
    assert_eq!(rate_of(&book, "gpt-4", at(0)), Some(1));
    assert_eq!(rate_of(&book, "gpt-4-20240409", at(0)), Some(1));
    assert_eq!(rate_of(&book, "gpt-4-2024-04-09", at(0)), Some(2), "the longest prefix wins");
    assert_eq!(rate_of(&book, "gpt-4-2024-05-01", at(0)), Some(3), "an alias wins over a prefix");
    assert_eq!(rate_of(&book, "gpt-4-0613", at(0)), Some(4), "the own name wins over an alias");
    for unknown in ["gpt-4-mini", "gpt-4-", "gpt", "", "odd-20240409", "GPT-4"] {
        assert_eq!(rate_of(&book, unknown, at(0)), None, "{unknown}");
    }
    let usage = TokenUsage::default();
    assert_eq!(book.cost("q", "gpt-4", ServiceTier::Standard, &usage, at(0)), None, "another provider");
}

#[test]
fn a_provider_is_found_under_its_usual_name() {
    let book = book(vec![
        ModelPrice { provider: "x_ai".to_owned(), ..model("m", 1) },
        ModelPrice { provider: "mistral".to_owned(), ..model("m", 2) },
        ModelPrice { provider: "mistral_ai".to_owned(), ..model("n", 3) },
    ]);
    let found = |provider| book.entry(provider, "m", at(0)).map(|entry| entry.provider.as_str());
    assert_eq!(found("x_ai"), Some("x_ai"));
    assert_eq!(found("xai"), Some("x_ai"));
    assert_eq!(found("mistral"), Some("mistral"), "the book's own name comes first");
    assert_eq!(found("mistral_ai"), None);
}

#[test]
fn the_entry_valid_at_the_calls_time_applies() {
    let dated = |day, picos| ModelPrice { valid_from: Some(at(day)), ..model("m", picos) };
    let book = book(vec![dated(20, 2), dated(30, 3), dated(10, 1)]);
    assert_eq!(rate_of(&book, "m", at(9)), None, "before the first entry there is no price");
    assert_eq!(rate_of(&book, "m", at(10)), Some(1));
    assert_eq!(rate_of(&book, "m", Timestamp::from_unix_nanos(at(20).unix_nanos() - 1)), Some(1));
    assert_eq!(rate_of(&book, "m", at(20)), Some(2));
    assert_eq!(rate_of(&book, "m", at(1_000)), Some(3));
}

#[test]
fn an_alias_can_move_to_another_model() {
    let book = book(vec![
        ModelPrice { aliases: names(&["latest"]), ..model("one", 1) },
        ModelPrice { aliases: names(&["latest"]), valid_from: Some(at(10)), ..model("two", 2) },
    ]);
    assert_eq!(rate_of(&book, "latest", at(9)), Some(1));
    assert_eq!(rate_of(&book, "latest", at(10)), Some(2));
}

#[test]
fn a_name_before_its_own_first_price_falls_back_to_the_next_match() {
    let book = book(vec![
        ModelPrice { prefixes: names(&["m"]), ..model("m", 1) },
        ModelPrice { valid_from: Some(at(10)), ..model("m-20240101", 2) },
    ]);
    assert_eq!(rate_of(&book, "m-20240101", at(9)), Some(1));
    assert_eq!(rate_of(&book, "m-20240101", at(10)), Some(2));
}

#[test]
fn two_claims_to_one_name_from_one_instant_are_refused() {
    for (field, pair) in [
        ("model", [model("m", 1), model("m", 2)]),
        (
            "aliases",
            [
                ModelPrice { aliases: names(&["x"]), ..model("a", 1) },
                ModelPrice { aliases: names(&["x"]), ..model("b", 1) },
            ],
        ),
        (
            "prefixes",
            [
                ModelPrice { prefixes: names(&["x"]), ..model("a", 1) },
                ModelPrice { prefixes: names(&["x"]), ..model("b", 1) },
            ],
        ),
    ] {
        let error = PriceBook::new("v", pair.to_vec()).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.to_string().contains("also claimed by"), "{error}");
    }
    // Saying the same twice is no contradiction.
    book(vec![ModelPrice { aliases: names(&["x", "x"]), ..model("a", 1) }]);
}

#[test]
fn an_entry_that_cannot_be_billed_by_is_refused() {
    let tokens = |cards| ModelPrice { charge: Charge::Tokens(cards), ..model("m", 1) };
    let standard = |above| card(ServiceTier::Standard, above, rates(1, 1));
    for (entry, expected) in [
        (ModelPrice { provider: String::new(), ..model("m", 1) }, "provider"),
        (model("two words", 1), "\"two words\""),
        (ModelPrice { aliases: names(&[""]), ..model("m", 1) }, "aliases"),
        (tokens(vec![]), "no card above 0"),
        (tokens(vec![standard(5)]), "no card above 0"),
        (tokens(vec![standard(0), standard(0)]), "two cards"),
        (tokens(vec![standard(0), card(ServiceTier::Batch, 5, rates(1, 1))]), "(batch) has no card above 0"),
        (tokens(vec![card(ServiceTier::Standard, 0, Rates::default())]), "without any rate"),
        (
            tokens(vec![card(
                ServiceTier::Standard,
                0,
                Rates { request: Some(Usd::from_picos(-1)), ..Rates::default() },
            )]),
            "fee per request",
        ),
    ] {
        let error = entry.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected:?}");
    }
}

#[test]
fn an_absent_rate_falls_back_as_documented() {
    let own = Rates { cache_write: Rate::from_picos(7), ..rates(3, 5) };
    let book = book(vec![ModelPrice {
        charge: Charge::Tokens(vec![card(ServiceTier::Standard, 0, own)]),
        ..model("m", 1)
    }]);
    let cost = |usage: TokenUsage| {
        let cost = book.cost("p", "m", ServiceTier::Standard, &usage, at(0)).unwrap();
        (cost.input.picos(), cost.output.picos(), cost.cache.picos())
    };
    let none = TokenUsage::default();
    assert_eq!(cost(TokenUsage { input: 1, cache_read: 1, ..none }), (0, 0, 3), "cache read as input");
    assert_eq!(cost(TokenUsage { input: 1, cache_write: 1, ..none }), (0, 0, 7));
    assert_eq!(cost(TokenUsage { input: 1, cache_write_1h: 1, ..none }), (0, 0, 7), "as cache write");
    assert_eq!(cost(TokenUsage { input: 1, audio_input: 1, ..none }), (3, 0, 0), "audio as input");
    assert_eq!(cost(TokenUsage { output: 1, reasoning: 1, ..none }), (0, 5, 0), "reasoning as output");
    assert_eq!(cost(TokenUsage { output: 1, audio_output: 1, ..none }), (0, 5, 0), "audio as output");
}

#[test]
fn a_gpu_server_prices_tokens() {
    let gpu = GpuPrice {
        usd_per_gpu_hour: "3.6".parse().unwrap(),
        gpus: 1,
        input_tokens_per_second: Throughput::from_thousandths(1_000_000).unwrap(),
        output_tokens_per_second: Throughput::from_thousandths(100_000).unwrap(),
    };
    let book = book(vec![ModelPrice { charge: Charge::Gpu(gpu), ..model("m", 1) }]);
    // 0.001 USD a second: a million picodollars an input token at 1000/s, ten million an output token at 100/s.
    let usage =
        TokenUsage { input: 2_000, cache_read: 500, output: 30, reasoning: 10, ..TokenUsage::default() };
    for tier in ServiceTier::ALL {
        let cost = book.cost("p", "m", tier, &usage, at(0)).unwrap();
        assert_eq!(cost.input.to_string(), "0.0015");
        assert_eq!(cost.cache.to_string(), "0.0005");
        assert_eq!(cost.output.to_string(), "0.0003");
    }
}

#[test]
fn a_book_is_stored_as_its_entries() {
    let json = r#"{
        "version": "7",
        "entries": [{
            "provider": "p", "model": "m", "aliases": ["n"], "prefixes": ["m"], "valid_from": "2026-01-31T16:00:00Z",
            "charge": {"tokens": [
                {"rates": {"input": "0.15", "output": "0.6", "request": "0.005"}},
                {"tier": "batch", "above": 128000, "rates": {"input": "0.075"}},
                {"tier": "batch", "rates": {"input": "0.0375"}}
            ]}
        }, {
            "provider": "own", "model": "m", "valid_from": "2026-01-31",
            "charge": {"gpu": {"usd_per_gpu_hour": "2.5", "gpus": 2, "input_tokens_per_second": "8000",
                               "output_tokens_per_second": "1850.5"}},
            "source": "measured"
        }]
    }"#;
    let book: PriceBook = serde_json::from_str(json).unwrap();
    let written = serde_json::to_string(&book).unwrap();
    assert_eq!(serde_json::from_str::<PriceBook>(&written).unwrap(), book);
    let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(same(&written), same(json), "nothing but what was given is written");
    assert_eq!(book.entries()[0].valid_from_text(), "2026-01-31T16:00:00Z");
    assert_eq!(book.entries()[1].valid_from_text(), "2026-01-31");
}

#[test]
fn what_is_wrong_with_a_stored_entry_is_named() {
    let entry = |fields: &str| {
        let json = format!(r#"{{"provider": "p", "model": "m", {fields}}}"#);
        serde_json::from_str::<ModelPrice>(&json).unwrap_err().to_string()
    };
    let card = |rates: &str| entry(&format!(r#""charge": {{"tokens": [{{"rates": {{{rates}}}}}]}}"#));
    assert!(
        card(r#""input": "0.0000001""#).contains("at most 6 decimals"),
        "finer than a picodollar a token"
    );
    assert!(card(r#""input": "-1""#).contains("\"-1\" is not valid"));
    assert!(card(r#""input": 0.15"#).contains("expected a string"), "no float touches money");
    assert!(card(r#""inptu": "1""#).contains("inptu"));
    assert!(
        entry(r#""charge": {"tokens": []}, "valid_from": "yesterday""#).contains("valid_from \"yesterday\"")
    );
    assert!(entry(r#""charge": {"hours": []}"#).contains("hours"));
}

fn any_rates() -> impl Strategy<Value = Rates> {
    let rate =
        || prop::option::of((0..=Rate::MAX.picos()).prop_map(|picos| Rate::from_picos(picos).unwrap()));
    (
        rate(),
        rate(),
        rate(),
        rate(),
        rate(),
        rate(),
        rate(),
        rate(),
        prop::option::of(0i128..1_000_000_000_000),
    )
        .prop_map(
            |(
                input,
                output,
                cache_read,
                cache_write,
                cache_write_1h,
                reasoning,
                audio_input,
                audio_output,
                request,
            )| Rates {
                // One rate is needed.
                input: input.or(Some(Rate::FREE)),
                output,
                cache_read,
                cache_write,
                cache_write_1h,
                reasoning,
                audio_input,
                audio_output,
                request: request.map(Usd::from_picos),
            },
        )
}

/// Token counts of every size, with the ends of the range more often than chance.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..1_000, 0u64..1_000_000_000, any::<u64>(), Just(u64::MAX), Just(0)]
}

fn any_usage() -> impl Strategy<Value = TokenUsage> {
    (count(), count(), count(), count(), count(), count(), count(), count()).prop_map(
        |(input, output, cache_read, cache_write, cache_write_1h, reasoning, audio_input, audio_output)| {
            TokenUsage {
                input,
                output,
                cache_read,
                cache_write,
                cache_write_1h,
                reasoning,
                audio_input,
                audio_output,
            }
        },
    )
}

/// `more` further tokens of one kind; those of a subset are in the total too.
fn grown(usage: &TokenUsage, kind: usize, more: u64) -> TokenUsage {
    let mut grown = *usage;
    let (subset, total) = match kind {
        0 => (None, &mut grown.input),
        1 => (None, &mut grown.output),
        2 => (Some(&mut grown.cache_read), &mut grown.input),
        3 => (Some(&mut grown.cache_write), &mut grown.input),
        4 => (Some(&mut grown.cache_write_1h), &mut grown.input),
        5 => (Some(&mut grown.reasoning), &mut grown.output),
        6 => (Some(&mut grown.audio_input), &mut grown.input),
        _ => (Some(&mut grown.audio_output), &mut grown.output),
    };
    *total = total.saturating_add(more);
    if let Some(subset) = subset {
        *subset = subset.saturating_add(more);
    }
    grown
}

/// Usage of so many text, cached, written, long written and audio tokens in, and of words, thoughts and speech out.
fn consistent([text, read, write, write_1h, audio, words, thoughts, speech]: [u64; 8]) -> TokenUsage {
    TokenUsage {
        input: text + read + write + write_1h + audio,
        output: words + thoughts + speech,
        cache_read: read,
        cache_write: write,
        cache_write_1h: write_1h,
        reasoning: thoughts,
        audio_input: audio,
        audio_output: speech,
    }
}

fn price(rates: Rates, usage: &TokenUsage) -> Cost {
    let entry =
        ModelPrice { charge: Charge::Tokens(vec![card(ServiceTier::Standard, 0, rates)]), ..model("m", 1) };
    book(vec![entry]).cost("p", "m", ServiceTier::Standard, usage, at(0)).unwrap()
}

proptest! {
    #[test]
    fn the_parts_are_never_negative_and_add_up(rates in any_rates(), usage in any_usage()) {
        let cost = price(rates, &usage);
        prop_assert!(cost.input >= Usd::ZERO && cost.output >= Usd::ZERO && cost.cache >= Usd::ZERO);
        prop_assert_eq!(cost.input.picos() + cost.output.picos() + cost.cache.picos(), cost.total.picos());
    }

    #[test]
    fn more_tokens_never_cost_less(
        rates in any_rates(),
        usage in any_usage(),
        kind in 0usize..8,
        more in count(),
    ) {
        // At the very end of the range a total cannot grow with its subset any more.
        prop_assume!(usage.input.checked_add(more).is_some() && usage.output.checked_add(more).is_some());
        prop_assert!(price(rates.clone(), &grown(&usage, kind, more)).total >= price(rates, &usage).total);
    }

    #[test]
    fn consistent_counts_are_billed_exactly_once(
        counts in prop::array::uniform8(0u64..1_000_000_000_000),
        rates in any_rates(),
    ) {
        let [text, read, write, write_1h, audio, words, thoughts, speech] = counts;
        let usage = consistent(counts);
        let or = |rate: Option<Rate>, other: Option<Rate>| i128::from(rate.or(other).unwrap_or_default().picos());
        let times = |count: u64, rate: i128| i128::from(count) * rate;
        let expected = rates.request.unwrap_or_default().picos()
            + times(text, or(rates.input, None))
            + times(read, or(rates.cache_read, rates.input))
            + times(write, or(rates.cache_write, rates.input))
            + times(write_1h, or(rates.cache_write_1h, rates.cache_write.or(rates.input)))
            + times(audio, or(rates.audio_input, rates.input))
            + times(words, or(rates.output, None))
            + times(thoughts, or(rates.reasoning, rates.output))
            + times(speech, or(rates.audio_output, rates.output));
        prop_assert_eq!(price(rates, &usage).total.picos(), expected);
    }

    #[test]
    fn nothing_costs_more_than_the_most(
        counts in prop::array::uniform8(0u64..1_000_000_000_000),
        cards in prop::array::uniform3(any_rates()),
        above in 1u64..4_000_000_000_000,
        more in prop::array::uniform2(0u64..1_000_000_000_000),
        (is_priority, asks_both) in any::<(bool, bool)>(),
    ) {
        let usage = consistent(counts);
        let [standard, priority, long] = cards;
        let cards = vec![
            card(ServiceTier::Standard, 0, standard.clone()),
            card(ServiceTier::Standard, above, long),
            card(ServiceTier::Priority, 0, Rates { input: priority.input.or(standard.input), ..priority }),
        ];
        let book = book(vec![ModelPrice { charge: Charge::Tokens(cards), ..model("m", 1) }]);
        let served = if is_priority { ServiceTier::Priority } else { ServiceTier::Standard };
        let both = [ServiceTier::Standard, ServiceTier::Priority];
        let tiers = if asks_both { &both[..] } else { std::slice::from_ref(&served) };
        let most = book.priced("p", "m", at(0)).unwrap().most(tiers, usage.input + more[0], usage.output + more[1]);
        prop_assert!(book.cost("p", "m", served, &usage, at(0)).unwrap().total <= most);
    }

    #[test]
    fn any_name_at_any_time_is_answered(provider in "\\PC{0,20}", name in "\\PC{0,80}", nanos in any::<i64>()) {
        let entry = ModelPrice { prefixes: names(&["m", "é"]), ..model("m", 1) };
        let book = book(vec![entry]);
        let usage = TokenUsage::default();
        let when = Timestamp::from_unix_nanos(nanos);
        prop_assert!(book.cost(&provider, &name, ServiceTier::Flex, &usage, when).is_none_or(|c| c.total == Usd::ZERO));
        let _ = book.cost("p", &format!("é-{name}"), ServiceTier::Flex, &usage, when);
    }

    #[test]
    fn a_rate_reads_as_it_is_written(picos in 0..=Rate::MAX.picos()) {
        let rate = Rate::from_picos(picos).unwrap();
        prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
    }
}
