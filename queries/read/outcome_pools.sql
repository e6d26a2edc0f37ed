-- What calls of a range cost by provider and model that answered, to hold against what servers of one's own cost by the hour.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch).
-- Units: cost US dollars.
SELECT provider, if(response_model = '', request_model, response_model) AS model, sum(cost_total) AS cost
FROM calls
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND provider != ''
GROUP BY provider, model
