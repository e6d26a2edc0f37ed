-- Tops up what the gateway may spend while Redis is away: up to a target, at most an eighth of what is left at a time.
-- KEYS meta, mine, bucket...; ARGV gateway, session, target, then for each bucket: limit, lasts.
local meta, mine, me, target = KEYS[1], KEYS[2], ARGV[1], num(ARGV[3])
local known = redis.call('HMGET', meta, 'n:' .. me, 'open')
if known[1] ~= ARGV[2] then return {'STALE'} end
local wait = tonumber(known[2]) - clock()
if wait > 0 then return {'CLOSED', whole(wait)} end
local reply = {'OK'}
for i = 3, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 'spent', 'held', 'g:' .. me)
  local held, own = num(row[2]), num(row[3])
  local left = sub(num(ARGV[2 * i - 2]), add(num(row[1]), held))
  local most = {math.floor(left[1] / 8), math.floor((left[1] % 8 * P + left[2]) / 8)}
  local more = sub(target, own)
  if less(most, more) then more = most end
  redis.call('HSET', KEYS[i], 'held', text(add(held, more)), 'g:' .. me, text(add(own, more)))
  if not row[3] then keep(KEYS[i], mine, ARGV[2 * i - 1]) end
  reply[#reply + 1] = text(more)
end
return reply
