-- Find jobs that the hash knows and nobody has, and put them back at the front. KEYS: waiting, jobs, doorbell, consumers,
-- alone, dead letters, dead flag. ARGV: prefix of the held texts, now in ms, most dead letters.
-- Sizes are compared first. A stale entry may hide a job of its key until it is passed over; then it is found.
-- Answers {how many were put back or buried, the consumers that are known}.

local waiting, jobs, doorbell, consumers, alone = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dead, dead_flag, now, cap = KEYS[6], KEYS[7], ARGV[2], tonumber(ARGV[3])
local workers = call('SMEMBERS', consumers)
local known = call('HLEN', jobs)
call('HLEN', dead) -- of another type, it is put aside
local back, buried = {}, {}
-- With the list of consumers lost, what they hold would seem to be nobody's. A sign of life lists each again.
if known > 0 and #workers > 0 then
  local names, is_somewhere, count = {alone}, {}, call('LLEN', waiting)
  for _, worker in ipairs(workers) do names[#names + 1] = ARGV[1] .. worker end
  local texts = redis.call('MGET', unpack(names))
  for entry in string.gmatch(texts[1] or '', '[^\n]+') do
    is_somewhere[key_of(entry) or ''] = true
    count = count + 1
  end
  for i = 2, #names do
    local _, held = tags_in(texts[i])
    for _, entry in ipairs(held) do is_somewhere[key_of(entry)] = true end
    count = count + #held
  end
  if known > count then
    for _, entry in ipairs(call('LRANGE', waiting, 0, -1)) do is_somewhere[key_of(entry) or ''] = true end
    local homeless = {}
    for _, key in ipairs(call('HKEYS', jobs)) do
      if not is_somewhere[key] then homeless[#homeless + 1] = key end
    end
    for i, body in ipairs(call_many('HMGET', jobs, homeless)) do
      local entry = homeless[i] .. ' ' .. (id_in(body) or 'unreadable') -- such a body is buried by its taker
      if is_entry(entry) then back[#back + 1] = entry else buried[#buried + 1] = homeless[i] end
    end
  end
end
call_many('RPUSH', waiting, back)
call_many('HDEL', jobs, buried)
for _, key in ipairs(buried) do bury_damage(dead, dead_flag, key, 'a job was stored under a key that no job has', now, cap) end
if #back > 0 then ring(doorbell) end
tell_put_aside(dead, dead_flag, now, cap)
return {#back + #buried, workers}
