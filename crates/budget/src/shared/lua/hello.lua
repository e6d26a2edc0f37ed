-- KEYS run; ARGV run id, lease ms. A server that was not known keeps closed for a lease.
local run, open = unpack(redis.call('HMGET', KEYS[1], 'run', 'open'))
if run ~= ARGV[1] then
  open = whole(clock() + tonumber(ARGV[2]))
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'open', open)
  return {'NEW', open}
end
return {'OK', open}
