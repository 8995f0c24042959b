-- The breaker's state and who may pass, shared by every script that asks. Its value is one JSON text that other
-- programs may read; it is written here only, by the server's clock (O21, O23).
-- CLOSED -10 failures in a row-> OPEN -open_ms-> HALF_OPEN -3 successes-> CLOSED; a failure in HALF_OPEN -> OPEN.

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What is stored, field by field; a field that is missing or cannot be read is as if the breaker had never changed. The
-- same rule in Python: `BreakerStatus.from_value`.
local STATES = {CLOSED = true, OPEN = true, HALF_OPEN = true}
local function read_breaker(raw)
  raw = raw or ''
  local function number(name)
    local digits = string.match(raw, '"' .. name .. '"%s*:%s*(%d+)')
    return digits and #digits <= 14 and tonumber(digits) or nil -- more is no time and no count
  end
  local state = string.match(raw, '"state"%s*:%s*"([A-Z_]+)"')
  return {
    state = STATES[state or ''] and state or 'CLOSED',
    failures = number('failureCount') or 0,
    successes = number('successCount') or 0,
    last_failure = number('lastFailureTime'),
    changed = number('lastStateChange'),
    raw = raw,
  }
end

local function write_breaker(key, b)
  local function number(value) return value and string.format('%.0f', value) or 'null' end
  b.raw = string.format('{"state":"%s","failureCount":%s,"successCount":%s,"lastFailureTime":%s,"lastStateChange":%s}',
    b.state, number(b.failures), number(b.successes), number(b.last_failure), number(b.changed))
  redis.call('SET', key, b.raw)
end

-- Whether a call may pass: 'all', 'probe' (one, by the lease that take_probe takes) or 'none' with the wait in ms.
local function ask_breaker(key, probe, b, open_ms)
  if b.state == 'CLOSED' then return 'all', 0 end
  if b.state ~= 'HALF_OPEN' then
    local now = now_ms()
    if not b.changed or b.changed > now then -- a time that is missing or lies ahead must not mean "for ever"
      b.state, b.changed = 'OPEN', now
      write_breaker(key, b)
    end
    local left = b.changed + open_ms - now
    if left > 0 then return 'none', left end
    return 'probe', 0
  end
  local left = redis.call('PTTL', probe)
  if left > 0 then return 'none', left end
  return 'probe', 0
end

local function take_probe(key, probe, b, token, lease_ms)
  if b.state ~= 'HALF_OPEN' then
    b.state, b.successes, b.changed = 'HALF_OPEN', 0, now_ms()
    write_breaker(key, b)
  end
  redis.call('SET', probe, token, 'PX', lease_ms)
end
