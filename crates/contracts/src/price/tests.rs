//! The book's rules, one test each; money itself is tested by the golden invoices in `tests/invoices.rs`.

use super::*;

#[test]
fn an_empty_book_prices_nothing() {
    let cost = PriceBook::default().cost(
        "openai",
        "gpt-4o",
        ServiceTier::Standard,
        &TokenUsage::default(),
        Timestamp::default(),
    );
    assert_eq!(cost, None);
}
