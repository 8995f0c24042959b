-- Leave a source alone. KEYS: pause. ARGV: how long it asked for, the shortest pause, how long a quiet time is, all in
-- ms. Answers the ms until it may be asked again. What comes while a pause is on was asked before it began: it may make
-- it longer, and does not count.

local asked, floor, quiet = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local left, count = read_pause(redis.call('MGET', KEYS[1])[1], now)
local wait = math.max(left, asked)
if left == 0 then
  count = count + 1
  wait = math.max(asked, floor * 2 ^ (count - 1))
end
wait = math.ceil(math.min(wait, LONGEST_PAUSE_MS))
redis.call('SET', KEYS[1], string.format('%.0f %.0f', now + wait, count), 'PX', wait + quiet)
return wait
