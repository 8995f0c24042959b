-- How the queue's structures are read and written, shared by its scripts.
-- A body is JSON text that begins {"id":"...","deaths":n,"attempts":n,"expires":ms,... ; it is never decoded here.
-- An entry is "key id". A body whose id differs from the entry's belongs to a newer job: that entry is stale.
-- A script that fails is not rolled back: it reads all it needs before it writes, and no text that it may meet is an error.

-- Lua cannot unpack much more than 7,000 values at once.
local STEP = 7000

local put_aside = {}

-- A key of another type than ours holds no work of ours: it is put aside under another name, and the command repeated.
local function call(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then
      redis.call('RENAME', key, key .. ':damaged')
      put_aside[#put_aside + 1] = key
    end
    answer = redis.call(command, key, ...) -- any other error comes again, as the script's own
  end
  return answer
end

local function call_many(command, key, values)
  local answers = {}
  for first = 1, #values, STEP do
    local answer = call(command, key, unpack(values, first, math.min(first + STEP - 1, #values)))
    if type(answer) == 'table' then
      for i = 1, STEP do
        if first + i - 1 > #values then break end
        answers[first + i - 1] = answer[i]
      end
    end
  end
  return answers
end

local function is_entry(text) -- an id stands in JSON as it is
  return string.find(text, '^[!-~]+ [!-~]+$') ~= nil and not string.find(text, ' .*["\\]')
end
local function key_of(entry) return string.match(entry, '^(%S+)') end
local function keys_of(entries)
  local keys = {}
  for i, entry in ipairs(entries) do keys[i] = key_of(entry) end
  return keys
end
local function id_of(entry) return string.match(entry, ' (%S+)$') end
local function id_in(body) return string.match(body, '^{"id":"([^"]*)"') end
local function deaths_in(body) return tonumber(string.match(body, '^{"id":"[^"]*","deaths":(%d+)')) end

local function ring(doorbell)
  if call('LPUSH', doorbell, '1') > 16 then redis.call('LTRIM', doorbell, 0, 0) end
end

-- A held text has a line "T key id" per job: R may be running, B buffered, Z waits for its retry, F is finished. What has
-- changed since is added behind: M may be running now, D is done. Such a line changes the tag of a job that is held, and
-- makes none be held: one that comes late does no harm. Answers the tags by entry, and the entries in their order.
local function tags_in(held)
  local tags, order = {}, {}
  for tag, entry in string.gmatch(held or '', '(%u) (%S+ %S+)\n') do
    if tag ~= 'M' and tag ~= 'D' then
      if not tags[entry] then order[#order + 1] = entry end
      tags[entry] = tag
    elseif tags[entry] and tags[entry] ~= 'F' then
      tags[entry] = tag == 'M' and 'R' or 'F'
    end
  end
  return tags, order
end

-- To the dead letters: one per key, the first failure kept, the oldest dropped when there are too many.
local function bury(dead, dead_flag, key, letter, cap)
  local before = call('HGET', dead, key)
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

-- What nobody can run, or even name, gets a dead letter under a name that can be written down.
local function bury_damage(dead, dead_flag, what, why, now, cap)
  local name = 'damaged:' .. string.gsub(string.sub(what, 1, 100), '[^%w:._-]', '_')
  bury(dead, dead_flag, name, '{"first_failure":' .. now .. ',"last_failure":' .. now
    .. ',"reason":"damaged","error":"' .. why .. '","job":null}', cap)
end

local function tell_put_aside(dead, dead_flag, now, cap)
  local told = put_aside
  put_aside = {}
  for _, key in ipairs(told) do
    bury_damage(dead, dead_flag, key, 'this key of Redis was not of our type: it was put aside under its name with '
      .. ':damaged behind', now, cap)
  end
end
