-- Which commands the user may not send. ARGV: the number of keys, keys…, then for each command the
-- number of its words, words…; '#1' stands for the first key. (They are no KEYS, because to pass
-- one that the user may not touch is refused.) Returns the numbers of the refused ones, or {-1}
-- where the server is too old to be asked (before Redis 7).
if not redis.acl_check_cmd then return {-1} end
local refused, at, number = {}, 2 + tonumber(ARGV[1]), 0
while at <= #ARGV do
  local words, count = {}, tonumber(ARGV[at])
  for i = 1, count do
    local word = ARGV[at + i]
    local key = string.match(word, '^#(%d)$')
    words[i] = key and ARGV[1 + key] or word
  end
  number = number + 1
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = number end
  at = at + 1 + count
end
return refused
