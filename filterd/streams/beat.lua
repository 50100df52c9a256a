-- A sign of life of one daemon, and the last one of every other of its group.
-- KEYS: daemons. ARGV: name, record ('' takes it away), ms after which a silent one is forgotten
-- Returns {name, record…}. Bounded: who is silent is forgotten, and without daemons the key is.
local time, limit = redis.call('TIME'), tonumber(ARGV[3])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], limit)
end
local found, alive = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #found, 2 do
  local at, record = string.match(found[i + 1], '^(%d+) (.*)$')
  if at and now - tonumber(at) < limit then
    alive[#alive + 1] = found[i]
    alive[#alive + 1] = record
  else
    redis.call('HDEL', KEYS[1], found[i])
  end
end
return alive
