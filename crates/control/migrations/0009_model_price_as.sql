-- What a model is called in the price book, where its provider's name for it is not there. In the SQL that SQLite and PostgreSQL share.
ALTER TABLE models ADD COLUMN price_as TEXT;
