-- Amounts are dollars and picodollars (a double holds each exactly), written as '12.000000000345'.
local P = 1e12
local function num(text)
  if not text then return {0, 0} end
  local h, l = string.match(text, '^(%d+)%.(%d+)$')
  return {tonumber(h), tonumber(l)}
end
local function text(a) return string.format('%.0f.%012.0f', a[1], a[2]) end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function add(a, b)
  local h, l = a[1] + b[1], a[2] + b[2]
  if l >= P then h, l = h + 1, l - P end
  return {h, l}
end
local function sub(a, b)
  if less(a, b) then return {0, 0} end
  local h, l = a[1] - b[1], a[2] - b[2]
  if l < 0 then h, l = h - 1, l + P end
  return {h, l}
end
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(n) return string.format('%.0f', n) end
-- Makes the bucket end after so many milliseconds, and be found when the gateway is swept.
local function keep(bucket, mine, lasts)
  if lasts == '0' then
    redis.call('ZADD', mine, '+inf', bucket)
  else
    redis.call('PEXPIRE', bucket, lasts)
    redis.call('ZADD', mine, whole(clock() + tonumber(lasts)), bucket)
  end
end
-- The gateways whose lease has run out.
local function lapsed(meta, now)
  local found = {}
  local all = redis.call('HGETALL', meta)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'l:' and tonumber(all[i + 1]) < now then
      found[#found + 1] = string.sub(all[i], 3)
    end
  end
  return found
end
