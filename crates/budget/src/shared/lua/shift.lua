-- What was held becomes something else: sent, settled, or nothing.
-- KEYS meta, mine, bucket...; ARGV gateway, session, from u | d | -, held, to d | s | -, amount, then for each bucket: lasts.
local me, from, to = ARGV[1], ARGV[3], ARGV[5]
if redis.call('HGET', KEYS[1], 'n:' .. me) ~= ARGV[2] then return {'STALE'} end
local was, amount, reply = num(ARGV[4]), num(ARGV[6]), {'OK'}
for i = 3, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 'spent', 'held', from .. ':' .. me, to .. ':' .. me)
  local spent, held = num(row[1]), num(row[2])
  if from ~= '-' then
    held = sub(held, was)
    redis.call('HSET', KEYS[i], from .. ':' .. me, text(sub(num(row[3]), was)))
  end
  if to ~= '-' then
    redis.call('HSET', KEYS[i], to .. ':' .. me, text(add(num(row[4]), amount)))
    if to == 's' then spent = add(spent, amount) else held = add(held, amount) end
  end
  redis.call('HSET', KEYS[i], 'spent', text(spent), 'held', text(held))
  -- The window may have been over for so long that the bucket was gone.
  if not row[2] then keep(KEYS[i], KEYS[2], ARGV[i + 4]) end
  reply[#reply + 1] = text(spent)
end
return reply
