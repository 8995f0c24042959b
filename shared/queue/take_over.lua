-- Give a dead consumer's jobs to the others. KEYS: waiting, jobs, held text, lease, doorbell, consumers, alone, dead
-- letters, dead flag. ARGV: worker, deaths that make a job poison, now in ms, most dead letters.
-- Answers {-1} while its lease stands, else {jobs back in the queue, jobs to run alone, jobs buried}.

local waiting, jobs, held, lease, doorbell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local consumers, alone, dead, dead_flag = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local worker, too_many, now, cap = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', lease) == 1 then return {-1, 0, 0} end

local given_back, suspects, poisoned = {}, {}, 0
for tag, entry in string.gmatch(redis.call('GET', held) or '', '(%u) (%S+ %S+)\n') do
  local key = key_of(entry)
  local body = redis.call('HGET', jobs, key)
  if body and id_in(body) == id_of(entry) then
    if tag == 'F' then
      redis.call('HDEL', jobs, key)
    elseif tag == 'R' then -- it may have been what killed the consumer
      local deaths = tonumber(string.match(body, '"deaths":(%d+)')) + 1
      body = string.gsub(body, '"deaths":%d+', '"deaths":' .. deaths, 1)
      if deaths >= too_many then
        bury(dead, dead_flag, key, '{"first_failure":' .. now .. ',"last_failure":' .. now
          .. ',"reason":"poison","error":"the consumer died ' .. deaths .. ' times while it ran","job":' .. body .. '}', cap)
        redis.call('HDEL', jobs, key)
        poisoned = poisoned + 1
      else
        redis.call('HSET', jobs, key, body)
        suspects[#suspects + 1] = entry .. '\n'
      end
    else
      given_back[#given_back + 1] = entry
    end
  end
end
local in_order = {}
for i = #given_back, 1, -1 do in_order[#in_order + 1] = given_back[i] end
call_many('RPUSH', waiting, in_order)
if #suspects > 0 then redis.call('APPEND', alone, table.concat(suspects)) end
redis.call('DEL', held)
redis.call('SREM', consumers, worker)
ring(doorbell) -- also when it held nothing: a ring may have died with it
return {#given_back, #suspects, poisoned}
