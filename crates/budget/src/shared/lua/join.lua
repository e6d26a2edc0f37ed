-- A gateway says all it has spent, sent and been granted, in place of all that is known of it.
-- KEYS meta, mine, bucket...; ARGV gateway, session, run, open, lease ms,
-- then for each bucket: spent, sent, granted, lasts (nothing when the gateway has nothing under way in it), number of peers, and for each: peer, amount.
local meta, mine, me, session = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local now, lease = clock(), tonumber(ARGV[5])
local last = redis.call('HGET', meta, 'n:' .. me)
if last and tonumber(last) >= tonumber(session) then return {'OLD', last} end
if redis.call('HGET', meta, 'run') ~= ARGV[3] then
  -- Another server, or another life of this one: everybody has to join again before its lease is up.
  local all = redis.call('HGETALL', meta)
  for i = 1, #all, 2 do
    local kind = string.sub(all[i], 1, 2)
    if kind == 'n:' then redis.call('HDEL', meta, all[i]) end
    if kind == 'l:' then redis.call('HSET', meta, all[i], whole(now + lease)) end
  end
  redis.call('HSET', meta, 'run', ARGV[3], 'open', ARGV[4])
end
local open = tonumber(redis.call('HGET', meta, 'open'))
redis.call('HSET', meta, 'n:' .. me, session, 'l:' .. me, whole(now + lease))
redis.call('DEL', mine)
local at = 6
for i = 3, #KEYS do
  local b = KEYS[i]
  local old = redis.call('HMGET', b, 'spent', 'held', 's:' .. me, 'd:' .. me, 'u:' .. me, 'g:' .. me)
  local spent = num(old[1])
  local held = sub(sub(sub(num(old[2]), num(old[4])), num(old[5])), num(old[6]))
  local lasts, peers = ARGV[at + 3], tonumber(ARGV[at + 4])
  -- What is not there is taken for the first next time, and the bucket noted for the sweep then.
  redis.call('HDEL', b, 'd:' .. me, 'u:' .. me, 'g:' .. me)
  if lasts ~= '' then
    spent = add(sub(spent, num(old[3])), num(ARGV[at]))
    held = add(add(held, num(ARGV[at + 1])), num(ARGV[at + 2]))
    redis.call('HSET', b, 's:' .. me, ARGV[at], 'd:' .. me, ARGV[at + 1], 'u:' .. me, text({0, 0}), 'g:' .. me, ARGV[at + 2])
  end
  at = at + 5
  for _ = 1, peers do
    local peer, firm = ARGV[at], num(ARGV[at + 1])
    at = at + 2
    -- What was lost of those who have not joined again, as it was last seen.
    if open > now and redis.call('HEXISTS', meta, 'n:' .. peer) == 0 then
      local p = redis.call('HMGET', b, 's:' .. peer, 'd:' .. peer, 'g:' .. peer)
      local missing = sub(firm, add(add(num(p[1]), num(p[2])), num(p[3])))
      redis.call('HSET', b, 's:' .. peer, text(add(num(p[1]), missing)))
      spent = add(spent, missing)
    end
  end
  -- Of a window that the books have let go of, what was settled stays.
  if lasts ~= '' or old[2] then redis.call('HSET', b, 'spent', text(spent), 'held', text(held)) end
  if lasts ~= '' then keep(b, mine, lasts) end
end
return {'OK', whole(math.max(0, open - now))}
