-- How the queue's structures are read and written, shared by its scripts.
-- A body is JSON text that begins {"id":"...","deaths":n,"attempts":n,"expires":ms,... ; it is never decoded here.
-- An entry is "key id". A body whose id differs from the entry's belongs to a newer job: that entry is stale.

-- Lua cannot unpack much more than 7,000 values at once.
local STEP = 7000

local function call_many(command, key, values)
  local answers = {}
  for first = 1, #values, STEP do
    local answer = redis.call(command, key, unpack(values, first, math.min(first + STEP - 1, #values)))
    if type(answer) == 'table' then
      for i = 1, STEP do
        if first + i - 1 > #values then break end
        answers[first + i - 1] = answer[i]
      end
    end
  end
  return answers
end

local function key_of(entry) return string.match(entry, '^(%S+)') end
local function id_of(entry) return string.match(entry, ' (%S+)$') end
local function id_in(body) return string.match(body, '^{"id":"([^"]*)"') end

local function ring(doorbell)
  if redis.call('LPUSH', doorbell, '1') > 16 then redis.call('LTRIM', doorbell, 0, 0) end
end

-- A held text has a line "T key id" per job: R may be running, B buffered, Z waits for its retry, F is finished.
local function tags_in(held)
  local tags = {}
  for tag, entry in string.gmatch(held or '', '(%u) (%S+ %S+)\n') do tags[entry] = tag end
  return tags
end

-- To the dead letters: one per key, the first failure kept, the oldest dropped when there are too many.
local function bury(dead, dead_flag, key, letter, cap)
  local before = redis.call('HGET', dead, key)
  if before then
    local first = string.match(before, '^{"first_failure":(%d+)')
    if first then letter = string.gsub(letter, '^{"first_failure":%d+', '{"first_failure":' .. first, 1) end
  end
  redis.call('HSET', dead, key, letter)
  redis.call('SET', dead_flag, '1')
  if redis.call('HLEN', dead) > cap then
    local oldest, when
    local all = redis.call('HGETALL', dead)
    for i = 1, #all, 2 do
      local at = tonumber(string.match(all[i + 1], '"last_failure":(%d+)')) or 0
      if not when or at < when then oldest, when = all[i], at end
    end
    redis.call('HDEL', dead, oldest)
  end
end
