-- Closes the accounts of a gateway whose lease has run out: what was only reserved is released; what was sent or granted is
-- charged, or released if so configured.
-- KEYS meta, its, bucket...; ARGV gateway, charge | release.
local meta, its, it = KEYS[1], KEYS[2], ARGV[1]
local lease = redis.call('HGET', meta, 'l:' .. it)
if not lease or tonumber(lease) >= clock() then return {'ALIVE'} end
if redis.call('ZCARD', its) ~= #KEYS - 2 then return {'AGAIN'} end
for i = 3, #KEYS do
  local b = KEYS[i]
  if redis.call('EXISTS', b) == 1 then
    local row = redis.call('HMGET', b, 'spent', 'held', 's:' .. it, 'd:' .. it, 'u:' .. it, 'g:' .. it)
    local firm = add(num(row[4]), num(row[6]))
    local held = sub(sub(num(row[2]), firm), num(row[5]))
    local spent, own = num(row[1]), num(row[3])
    if ARGV[2] == 'charge' then spent, own = add(spent, firm), add(own, firm) end
    redis.call('HSET', b, 'spent', text(spent), 'held', text(held), 's:' .. it, text(own))
    redis.call('HDEL', b, 'd:' .. it, 'u:' .. it, 'g:' .. it)
  end
end
redis.call('HDEL', meta, 'n:' .. it, 'l:' .. it)
redis.call('DEL', its)
return {'OK'}
