-- Shared by dead_close.lua and dead_message.lua: the fields that a dead letter carries, as they
-- were in the input stream, names and values in turn.
local function message_of(fields)
  local message = {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 6) == 'field:' then
      message[#message + 1] = string.sub(fields[i], 7)
      message[#message + 1] = fields[i + 1]
    elseif fields[i] == 'fields:rest' then
      for _, part in ipairs(cmsgpack.unpack(fields[i + 1])) do message[#message + 1] = part end
    end
  end
  return message
end
