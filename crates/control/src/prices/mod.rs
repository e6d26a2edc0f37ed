//! Prices: what the price book is seeded with, and imports of public price lists.
