-- Queue jobs that are not queued yet. KEYS: waiting, jobs, doorbell, consumers, dead letters, dead flag.
-- ARGV: now in ms by the clock of the slots, prefix of the held texts, most dead letters, then key, id, body, urgent per
-- job. Answers the keys of the new ones. Repeated, it finds them queued.

local waiting, jobs, doorbell, consumers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, prefix = tonumber(ARGV[1]), ARGV[2]
local FIRST = 4
local keys = {}
for i = FIRST, #ARGV, 4 do keys[#keys + 1] = ARGV[i] end
local bodies = call_many('HMGET', jobs, keys)

-- What consumers hold, asked only when an expired job is met.
local held
local function tag_of(entry)
  if not held then
    held = {}
    for _, worker in ipairs(call('SMEMBERS', consumers)) do
      for known, tag in pairs(tags_in(redis.call('MGET', prefix .. worker)[1])) do held[known] = tag end
    end
  end
  return held[entry]
end

-- Waiting, delayed and parked jobs count until they expire, leased ones until they are acknowledged.
local function is_queued(key, body)
  local expires, id = tonumber(string.match(body, '"expires":(%d+)')), id_in(body)
  if not (expires and id) then return false end
  if expires == 0 or expires > now then return true end
  local tag = tag_of(key .. ' ' .. id)
  return tag == 'R' or tag == 'F'
end

local store, normal, urgent, seen, new = {}, {}, {}, {}, {}
for i, key in ipairs(keys) do
  local at = FIRST + (i - 1) * 4
  if not seen[key] and not (bodies[i] and is_queued(key, bodies[i])) then
    local entries = ARGV[at + 3] == '1' and urgent or normal
    entries[#entries + 1] = key .. ' ' .. ARGV[at + 1]
    store[#store + 1] = key
    new[#new + 1] = key
    store[#store + 1] = ARGV[at + 2]
  end
  seen[key] = true
end
if #store > 0 then
  call_many('HSET', jobs, store)
  call_many('LPUSH', waiting, normal)
  call_many('RPUSH', waiting, urgent)
end
if #store > 0 or call('LLEN', waiting) > 0 then ring(doorbell) end -- what waits already may have lost its ring
tell_put_aside(KEYS[5], KEYS[6], ARGV[1], tonumber(ARGV[3]))
return new
