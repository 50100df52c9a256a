-- Close a dead letter: put its message back into the input stream, or not, then leave word of it
-- and remove it. One step, in this order: what is refused leaves the letter where it is.
-- KEYS: dead letters, input, closed letters.
-- ARGV: letter id, 'replayed', 'added' or 'dropped', most words kept. 'added': whoever calls has
-- just added the message, in one transaction with this, because it has too many fields for Lua.
-- Returns {'closed', new id or ''}, {'gone'} where there is no such letter (any more), {'wide'}
-- where the caller has to add it, or {'refused', why}.
-- Without the right to remove the letter nothing may be added. (Before Redis 7 nobody can be asked.)
if redis.acl_check_cmd and not redis.acl_check_cmd('XDEL', KEYS[1], ARGV[1]) then
  return {'refused', 'NOPERM this user has no right to XDEL'}
end
local id, how, most = ARGV[1], ARGV[2], ARGV[3]
local MOST_FIELDS = 3900 -- Lua's unpack() takes fewer than 8,000 values
local letter = redis.call('XRANGE', KEYS[1], id, id)[1]
if not letter then return {'gone'} end

local message, word = message_of(letter[2]), {}
for i = 1, #letter[2], 2 do
  local name = letter[2][i]
  if name == 'entry' or name == 'stream' or name == 'reason' then
    word[#word + 1] = name
    word[#word + 1] = letter[2][i + 1]
  end
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

local added = ''
if how == 'replayed' then
  if #message == 0 then return {'refused', 'the letter carries no fields'} end
  if #message > 2 * MOST_FIELDS then return {'wide'} end
  added = redis.pcall('XADD', KEYS[2], '*', unpack(message))
  if type(added) == 'table' then return {'refused', added.err} end
elseif how == 'added' then
  local last = redis.pcall('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
  if last.err then return {'refused', last.err} end
  if not last[1] or not same(last[1][2], message) then return {'refused', 'it was not added'} end
  added, how = last[1][1], 'replayed'
end

local time = redis.call('TIME')
local at = string.format('%d%03d', time[1], math.floor(time[2] / 1000))
local told = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', most, '*',
  'letter', id, 'action', how, 'as', added, 'at', at, unpack(word))
if type(told) == 'table' then
  if added ~= '' then redis.call('XDEL', KEYS[2], added) end
  return {'refused', told.err}
end
redis.call('XDEL', KEYS[1], id)
return {'closed', added}
