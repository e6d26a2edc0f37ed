-- The calls that the filter of a page picks, as `picked`. Without a filter it is empty, and nothing is read:
-- whoever begins with it asks `filtered` first.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch) and picked_days around them; filtered (whether there is a
-- filter); routes, models, keys (empty: any); outcome ('' any, 'ok', 'error'); min_cost (US dollars); min_duration_ns; text ('' any;
-- contained in a prompt or an answer, or a trace, request or response id).
picked AS
(
    SELECT tenant_id, trace_id, span_id
    FROM calls
    WHERE {filtered:Bool}
      AND tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - toIntervalDay({picked_days:UInt32})
      AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + toIntervalDay({picked_days:UInt32})
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
      AND (empty({keys:Array(String)}) OR key_id IN {keys:Array(String)})
      AND ({outcome:String} = '' OR (error_type = '') = ({outcome:String} = 'ok'))
      AND ({min_cost:Decimal(38, 12)} <= 0 OR cost_total >= {min_cost:Decimal(38, 12)})
      AND duration_ns >= {min_duration_ns:UInt64}
      AND ({text:String} = ''
           OR trace_id = {text:String} OR request_id = {text:String} OR response_id = {text:String}
           OR (tenant_id, span_id) IN (
               SELECT tenant_id, if(record = 'attempt', parent_span_id, span_id)
               FROM spans
               WHERE {text:String} != ''
                 AND tenant_id IN {tenants:Array(String)}
                 AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - toIntervalDay({picked_days:UInt32})
                 AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + toIntervalDay({picked_days:UInt32})
                 AND record IN ('call', 'attempt')
                 AND (positionCaseInsensitiveUTF8(input_messages, {text:String}) > 0
                      OR positionCaseInsensitiveUTF8(output_messages, {text:String}) > 0)))
)
