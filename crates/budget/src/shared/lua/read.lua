-- KEYS bucket...
local reply = {'OK'}
for i = 1, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 'spent', 'held')
  reply[#reply + 1] = text(num(row[1]))
  reply[#reply + 1] = text(num(row[2]))
end
return reply
