-- What the embedded engine's own session runs: open both listeners, then read standard input to its end.
-- Parameters: none. The last statement lasts as long as the process that started the engine keeps the pipe open.
SYSTEM START LISTEN HTTP;
SYSTEM START LISTEN TCP;
SELECT count() FROM file('/dev/stdin', 'LineAsString', 'x String') FORMAT Null SETTINGS max_execution_time = 0
