-- The calls that the filter of a page picks, as `picked`: what every list, sum and signal over single calls begins with, so that they cannot
-- part. Where `filtered` is false it is empty, and nothing is read.
-- Parameters: tenants; picked_from_ms <= start < picked_to_ms (milliseconds since the epoch); filtered (whether calls are wanted at all);
-- routes, models, keys (empty: any); outcome ('' any, 'ok', 'error'); min_cost (US dollars); min_duration_ns; text ('' any;
-- as it stands in JSON, case-insensitive, contained in a prompt or an answer, or a trace, request or response id).
picked AS
(
    SELECT *
    FROM calls
    WHERE {filtered:Bool}
      AND tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({picked_from_ms:Int64}, 'UTC')
      AND start_time < fromUnixTimestamp64Milli({picked_to_ms:Int64}, 'UTC')
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
                 AND start_time >= fromUnixTimestamp64Milli({picked_from_ms:Int64}, 'UTC')
                 AND start_time < fromUnixTimestamp64Milli({picked_to_ms:Int64}, 'UTC')
                 AND record IN ('call', 'attempt')
                 AND (positionCaseInsensitiveUTF8(input_messages, {text:String}) > 0
                      OR positionCaseInsensitiveUTF8(output_messages, {text:String}) > 0)))
)
