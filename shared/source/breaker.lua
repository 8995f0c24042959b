-- What a single call does with the breaker. KEYS: breaker, probe, doorbell.
-- ARGV: verb, token of the probe ('' for none), generation of the permit, then numbers that the verb needs.
-- Answers {verdict, wait in ms, breaker's value}.

local key, probe, doorbell = KEYS[1], KEYS[2], KEYS[3]
local verb, token, generation = ARGV[1], ARGV[2], tonumber(ARGV[3])
local open_ms, lease_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local max_failures, enough_successes = tonumber(ARGV[6]), tonumber(ARGV[7])
local b = read_breaker(redis.call('MGET', key)[1])

-- A permit from before the last change of state says nothing about the state since: calls that began before the
-- breaker opened neither prolong nor shorten what followed (O24).
local current = (b.changed or 0) == generation
local is_probe = token ~= '' and verb ~= 'allow' and redis.call('MGET', probe)[1] == token
if is_probe then redis.call('DEL', probe) end

local function move_to(state)
  b.state, b.changed, b.successes = state, now_ms(), 0
  if state == 'OPEN' then b.last_failure = b.changed end
  if state == 'CLOSED' then b.failures = 0 end
  write_breaker(key, b)
end

local verdict = 'done'
if verb == 'allow' then
  verdict = ask_breaker(key, probe, b, open_ms)
  if verdict == 'probe' then take_probe(key, probe, b, token, lease_ms) end
elseif verb == 'success' then
  if b.state == 'CLOSED' and current and b.failures > 0 then
    b.failures = 0
    write_breaker(key, b)
  elseif b.state == 'HALF_OPEN' and is_probe then
    b.successes = b.successes + 1
    if b.successes >= enough_successes then move_to('CLOSED') else write_breaker(key, b) end
  end
elseif verb == 'failure' then
  if b.state == 'CLOSED' and current then
    b.failures = b.failures + 1
    if b.failures >= max_failures then
      move_to('OPEN')
    else
      b.last_failure = now_ms()
      write_breaker(key, b)
    end
  elseif b.state == 'HALF_OPEN' and is_probe then
    move_to('OPEN')
  end
elseif verb == 'reset' then
  redis.call('DEL', probe)
  move_to('CLOSED')
end
local _, wait = ask_breaker(key, probe, b, open_ms)
-- Someone may wait for the probe to end, or for the breaker to close.
if verb == 'reset' or (is_probe and wait == 0) then
  ring(doorbell)
end
return {verdict, wait, b.raw}
