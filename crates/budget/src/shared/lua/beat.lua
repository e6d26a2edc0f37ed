-- Renews a lease; tells whose has run out, and what others have in the buckets.
-- KEYS meta, mine, bucket...; ARGV gateway, session, lease ms.
local me, now = ARGV[1], clock()
if redis.call('HGET', KEYS[1], 'n:' .. me) ~= ARGV[2] then return {'STALE'} end
redis.call('HSET', KEYS[1], 'l:' .. me, whole(now + tonumber(ARGV[3])))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', whole(now))
local dead = lapsed(KEYS[1], now)
local reply = {'OK', whole(#dead), unpack(dead)}
for i = 3, #KEYS do
  local all = redis.call('HGETALL', KEYS[i])
  reply[#reply + 1] = whole(#all)
  for j = 1, #all do reply[#reply + 1] = all[j] end
end
return reply
