-- Takes an amount of every bucket, or of none.
-- KEYS meta, mine, bucket...; ARGV gateway, session, u | d (reserved | sent), amount, then for each bucket: limit, lasts.
local meta, mine, me, to, amount = KEYS[1], KEYS[2], ARGV[1], ARGV[3], num(ARGV[4])
local now = clock()
local known = redis.call('HMGET', meta, 'n:' .. me, 'open')
if known[1] ~= ARGV[2] then return {'STALE'} end
if tonumber(known[2]) > now then return {'CLOSED', whole(tonumber(known[2]) - now)} end
local field, rows = to .. ':' .. me, {}
for i = 3, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 'spent', 'held', field)
  local spent, held = num(row[1]), num(row[2])
  if less(num(ARGV[2 * i - 1]), add(add(spent, held), amount)) then
    return {'FULL', whole(i - 3), text(spent), text(held), unpack(lapsed(meta, now))}
  end
  rows[i] = {spent, held, row[3]}
end
local reply = {'OK'}
for i = 3, #KEYS do
  local spent, held, own = unpack(rows[i])
  redis.call('HSET', KEYS[i], 'held', text(add(held, amount)), field, text(add(num(own), amount)))
  if not own then keep(KEYS[i], mine, ARGV[2 * i]) end
  reply[#reply + 1] = text(spent)
end
return reply
