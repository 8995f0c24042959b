-- One round trip of a consumer: settle what has ended, say what it still holds, take what may be taken.
-- KEYS: waiting, jobs, held text, lease, doorbell, consumers, dead letters, pause, breaker, alone, dead flag, probe.
-- ARGV: see `arguments` below, then six lists, each preceded by its length.
-- Answers {reason, wait in ms, left waiting (-1: unknown), breaker, probe token, alone, '=' and the held text if it is not
-- what the caller would expect, {entry, body, ...}, {lost entry, '1' if someone else has it, ...},
-- 1 if there are dead letters}.

local waiting, jobs, held, lease, doorbell, consumers = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local dead, pause, breaker, alone, dead_flag, probe = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
-- arguments: the worker; the held text it believes is stored; the one that is true now, without what is settled or
-- taken here; how many to take (0: none, -1: a share of what waits), the share, the least and the most; how many of them
-- may start at once, and the fraction that may when jobs stream (0: they do not); whether it holds nothing that could
-- run; lease to renew in ms (0: leave it); whether to ring when jobs are left; breaker's open time and probe lease
-- in ms; token for a probe; most dead letters; the longest that a pause without an end lasts, in ms; now in ms.
local worker, expected, holding, want, share = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local least, most, first_few, fraction = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local is_empty, lease_ms, ring_rest = ARGV[10] == '1', tonumber(ARGV[11]), ARGV[12] == '1'
local open_ms, probe_ms, token, cap = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15], tonumber(ARGV[16])
local pause_ms, now = tonumber(ARGV[17]), ARGV[18]
local at = 19
local function next_list()
  local items = {}
  for i = 1, tonumber(ARGV[at]) do items[i] = ARGV[at + i] end
  at = at + #items + 1
  return items
end
local acked, dropped, stored, front, back, buried =
  next_list(), next_list(), next_list(), next_list(), next_list(), next_list()

-- 1. What may be taken?
local flags = redis.call('MGET', pause, breaker, alone, dead_flag, held)
local gate, before, suspects = read_breaker(flags[2]), flags[5] or '', flags[3] or ''
local reason, wait, left, was_alone = 'none', 0, -1, 0
local taken, is_taken, damaged = {}, {}, {}

-- Take those of `entries` that a job stands behind. Stale ones are passed over; a body that cannot be read is handed out,
-- to be buried by its taker.
local function look_at(entries)
  local sound = {}
  for _, entry in ipairs(entries) do
    local list = is_entry(entry) and sound or damaged
    list[#list + 1] = entry
  end
  local bodies = call_many('HMGET', jobs, keys_of(sound))
  for i, entry in ipairs(sound) do
    local id = bodies[i] and id_in(bodies[i])
    if bodies[i] and (not id or id == id_of(entry)) and not is_taken[entry] then
      is_taken[entry] = true
      taken[#taken + 1] = entry
      taken[#taken + 1] = bodies[i]
    end
  end
end
local function pop(count)
  local entries = call('RPOP', waiting, count) or {}
  local is_well, problem = pcall(look_at, entries)
  if not is_well then -- a script is not rolled back: what cannot be looked at is put back as it was
    for i = #entries, 1, -1 do call('RPUSH', waiting, entries[i]) end
    error(problem)
  end
  if #entries < count then left = 0 end
end
local function pop_alone()
  while #taken == 0 and suspects ~= '' do
    local entry
    entry, suspects = string.match(suspects, '^([^\n]*)\n?(.*)$') -- the last line may have lost its end
    look_at({entry})
  end
  was_alone = #taken > 0 and 1 or 0
end
local leave
if want ~= 0 then
  if flags[1] then
    reason, wait = 'pause', redis.call('PTTL', pause)
    if wait == -1 then -- set by hand, or damaged: it shall end
      redis.call('PEXPIRE', pause, pause_ms)
      wait = pause_ms
    end
    wait = math.max(wait, 1)
  else
    leave, wait = ask_breaker(breaker, probe, gate, open_ms)
    if leave == 'none' then reason = 'breaker' end
  end
  if leave == 'all' or leave == 'probe' then
    if suspects ~= '' then
      if is_empty then pop_alone() end
      if #taken > 0 or suspects ~= '' then reason = 'alone' end
    end
    if reason == 'alone' then -- nothing beside it
    elseif leave == 'probe' then
      while #taken == 0 and left ~= 0 do pop(1) end
    elseif want > 0 then
      pop(want)
    else
      local total = call('LLEN', waiting)
      local count = math.min(math.max(math.ceil(total * share), least), most, total)
      left = total - count
      if count > 0 then pop(count) end
    end
    if leave == 'probe' and #taken > 0 then reason = 'probe' end
  end
end

-- 2. What is held from now on? If what is stored is not what this consumer believes, an answer got lost, its jobs were
-- given to others, or Redis was emptied: then both sides are compared, and nothing is settled that is not stored as its.
local now_held, may_start = {holding}, first_few
if fraction > 0 then may_start = math.max(may_start, math.ceil(#taken / 2 / fraction)) end
for i = 1, #taken, 2 do
  now_held[#now_held + 1] = (i <= 2 * may_start and 'R ' or 'B ') .. taken[i] .. '\n'
end
local corrected, lost, given_back, put_last, lonely = '', {}, {}, {}, {}
if before ~= expected then
  local owned, order = tags_in(before)
  local known = {}
  -- With all that it held gone from it, the text itself got lost, unless others have the jobs: those in nobody's hands
  -- are still this consumer's.
  local elsewhere
  local function is_nobodys(entry)
    local body = call('HGET', jobs, key_of(entry))
    if not body or id_in(body) ~= id_of(entry) then return false end
    if not elsewhere then
      elsewhere = {}
      for _, other in ipairs(call('LRANGE', waiting, 0, -1)) do elsewhere[other] = true end
      for other in string.gmatch(flags[3] or '', '[^\n]+') do elsewhere[other] = true end
      local prefix = string.sub(held, 1, -1 - #worker)
      for _, name in ipairs(call('SMEMBERS', consumers)) do
        for other in pairs(tags_in(redis.call('MGET', prefix .. name)[1])) do elsewhere[other] = true end
      end
    end
    return not elsewhere[entry] and not is_taken[entry]
  end
  if #order == 0 then
    setmetatable(owned, {__index = function(_, entry) return is_nobodys(entry) and 'R' or nil end})
  end
  local function report(entry)
    lost[#lost + 1] = entry
    lost[#lost + 1] = tostring(call('HEXISTS', jobs, key_of(entry)))
    return lost[#lost] == '1'
  end
  local function mine(entries, step, on_missing)
    local kept = {}
    for i = 1, #entries, step do
      known[entries[i]] = true
      if owned[entries[i]] or on_missing and not on_missing(entries[i]) then
        for j = i, i + step - 1 do kept[#kept + 1] = entries[j] end
      end
    end
    return kept
  end
  local function report_and_drop(entry) report(entry) return true end
  acked, dropped, stored = mine(acked, 1), mine(dropped, 1), mine(stored, 2)
  front, back = mine(front, 1, report_and_drop), mine(back, 1, report_and_drop)
  buried = mine(buried, 2, report)
  now_held = {}
  for tag, entry in string.gmatch(holding, '(%u) (%S+ %S+)\n') do
    known[entry] = true
    if owned[entry] then
      now_held[#now_held + 1] = tag .. ' ' .. entry .. '\n'
    else
      report(entry)
    end
  end
  for i = 1, #taken, 2 do
    known[taken[i]] = true
    now_held[#now_held + 1] = (i <= 2 * may_start and 'R ' or 'B ') .. taken[i] .. '\n'
  end
  -- What an answer gave that never arrived goes back to the front, and what must run alone to its like.
  local unheard = {}
  for _, entry in ipairs(order) do
    if not known[entry] then unheard[#unheard + 1] = entry end
  end
  local bodies = call_many('HMGET', jobs, keys_of(unheard))
  for i = #unheard, 1, -1 do
    local entry, body = unheard[i], bodies[i]
    if body and owned[entry] == 'F' then
      put_last[#put_last + 1] = entry
    elseif body and (deaths_in(body) or 0) > 0 then
      lonely[#lonely + 1] = entry .. '\n'
    elseif body then
      given_back[#given_back + 1] = entry
    end
  end
  corrected = '=' .. table.concat(now_held)
end
local text = table.concat(now_held)

-- 3. Write it down.
if text ~= before then redis.call('SET', held, text) end
if (expected == '' or before ~= expected or lease_ms > 0) and text ~= '' then call('SADD', consumers, worker) end
if lease_ms > 0 and text ~= '' then redis.call('SET', lease, '1', 'PX', lease_ms) end
if reason == 'probe' then take_probe(breaker, probe, gate, token, probe_ms) end
local still_alone = table.concat(lonely) .. suspects
if still_alone ~= (flags[3] or '') then redis.call('SET', alone, still_alone) end
call_many('RPUSH', waiting, given_back)
call_many('LPUSH', waiting, put_last)

-- 4. Settle what has ended; new texts first, for a job may have been retried and have succeeded since.
if #stored > 0 then
  local pairs_to_set = {}
  for i = 1, #stored, 2 do
    pairs_to_set[#pairs_to_set + 1] = key_of(stored[i])
    pairs_to_set[#pairs_to_set + 1] = stored[i + 1]
  end
  call_many('HSET', jobs, pairs_to_set)
end
if #acked > 0 then
  local keys = keys_of(acked)
  call_many('HDEL', jobs, keys)
  if flags[4] then -- a success resolves the dead letter of its key
    call_many('HDEL', dead, keys)
    if redis.call('EXISTS', dead) == 0 then redis.call('DEL', dead_flag) end
  end
end
local bodies, expired = call_many('HMGET', jobs, keys_of(dropped)), {}
for i, entry in ipairs(dropped) do -- its key may be a newer job's by now
  if bodies[i] and id_in(bodies[i]) == id_of(entry) then expired[#expired + 1] = key_of(entry) end
end
call_many('HDEL', jobs, expired)
call_many('RPUSH', waiting, front)
call_many('LPUSH', waiting, back)
for i = 1, #buried, 2 do
  bury(dead, dead_flag, key_of(buried[i]), buried[i + 1], cap)
  call('HDEL', jobs, key_of(buried[i]))
end
for _, entry in ipairs(damaged) do
  bury_damage(dead, dead_flag, entry, 'an entry among those that wait was not one of ours', now, cap)
end
if #front + #back + #given_back + #put_last + #lonely > 0 then
  ring(doorbell)
elseif ring_rest and #taken > 0 and left ~= 0 then
  ring(doorbell)
elseif left == 0 and #taken > 0 then
  redis.call('DEL', doorbell, doorbell .. ':heard') -- nothing is left to wake anyone for
end
tell_put_aside(dead, dead_flag, now, cap)
return {reason, wait, left, gate.raw, reason == 'probe' and token or '', was_alone, corrected, taken, lost,
  flags[4] and 1 or 0}
