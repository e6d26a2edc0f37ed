-- How the server fares that we run ourselves: its own gauges, and what our tables hold. One row.
-- Parameters: database (ours; it need not exist yet).
-- Units: bytes; queries, merges, parts and rows at this moment; disk_* of the fullest disk.
SELECT
    gauges.memory_bytes, gauges.queries, gauges.merges,
    parts.parts, parts.rows, parts.bytes_on_disk,
    disk.disk_free_bytes, disk.disk_total_bytes
FROM
(
    SELECT toUInt64(greatest(sumIf(value, metric = 'MemoryTracking'), 0)) AS memory_bytes,
           toUInt64(greatest(sumIf(value, metric = 'Query'), 0)) AS queries,
           toUInt64(greatest(sumIf(value, metric = 'Merge'), 0)) AS merges
    FROM system.metrics
) AS gauges,
(
    SELECT count() AS parts, sum(rows) AS rows, sum(bytes_on_disk) AS bytes_on_disk
    FROM system.parts
    WHERE active AND database = {database:String}
) AS parts,
(
    SELECT min(free_space) AS disk_free_bytes, argMin(total_space, free_space) AS disk_total_bytes
    FROM system.disks
) AS disk
