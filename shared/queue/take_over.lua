-- Give a dead consumer's jobs to the others. KEYS: waiting, jobs, held text, lease, doorbell, consumers, alone, dead
-- letters, dead flag. ARGV: worker, deaths that make a job poison, now in ms, most dead letters, the longest that a lease lasts, in ms.
-- Answers {-1} while its lease stands, else {jobs back in the queue, jobs to run alone, jobs buried}.

local waiting, jobs, held, lease, doorbell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local consumers, alone, dead, dead_flag = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local worker, too_many, now, cap = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local lease_left = redis.call('PTTL', lease)
if lease_left ~= -2 then -- set by hand, or damaged, it shall end
  if lease_left == -1 or lease_left > tonumber(ARGV[5]) then redis.call('PEXPIRE', lease, ARGV[5]) end
  return {-1, 0, 0}
end

local tags, order = tags_in(redis.call('MGET', held)[1])
local keys = keys_of(order)
local bodies = call_many('HMGET', jobs, keys)
local given_back, suspects, poisoned = {}, {}, 0
for i, entry in ipairs(order) do
  local key, body, tag = keys[i], bodies[i], tags[entry]
  local id, deaths = body and id_in(body), body and deaths_in(body)
  if body and (not id or id == id_of(entry)) then
    if tag == 'F' then
      redis.call('HDEL', jobs, key)
    elseif tag == 'R' and deaths then -- it may have been what killed the consumer
      deaths = deaths + 1
      body = string.gsub(body, '"deaths":%d+', '"deaths":' .. string.format('%.0f', deaths), 1)
      if deaths >= too_many then
        bury(dead, dead_flag, key, '{"first_failure":' .. now .. ',"last_failure":' .. now
          .. ',"reason":"poison","error":"the consumer died ' .. deaths .. ' times while it ran","job":' .. body .. '}', cap)
        redis.call('HDEL', jobs, key)
        poisoned = poisoned + 1
      else
        redis.call('HSET', jobs, key, body)
        suspects[#suspects + 1] = entry .. '\n'
      end
    else -- also what cannot be read: it never ran, its next taker buries it
      given_back[#given_back + 1] = entry
    end
  end
end
local in_order = {}
for i = #given_back, 1, -1 do in_order[#in_order + 1] = given_back[i] end
call_many('RPUSH', waiting, in_order)
if #suspects > 0 then
  local before = redis.call('MGET', alone)[1] or ''
  if before ~= '' and string.sub(before, -1) ~= '\n' then before = before .. '\n' end
  redis.call('SET', alone, before .. table.concat(suspects))
end
redis.call('DEL', held)
call('SREM', consumers, worker)
ring(doorbell) -- also when it held nothing: a ring may have died with it
tell_put_aside(dead, dead_flag, now, cap)
return {#given_back, #suspects, poisoned}
