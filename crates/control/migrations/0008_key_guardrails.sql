-- What may go in and come out of a key's calls: names of guardrails, a JSON array; none when null.
ALTER TABLE api_keys ADD COLUMN guardrails TEXT;
