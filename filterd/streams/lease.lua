-- Take, keep or give back the right to a consumer's name.
-- KEYS: lease. ARGV: token, ms, 'take' or 'drop'. Returns {whose it is now or '', ms left}.
local holder = redis.call('GET', KEYS[1])
if ARGV[3] == 'drop' then
  if holder == ARGV[1] then redis.call('DEL', KEYS[1]) end
elseif not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
return {holder or '', redis.call('PTTL', KEYS[1])}
