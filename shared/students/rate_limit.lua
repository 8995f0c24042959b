-- Take one turn of a bucket that refills evenly. KEYS: bucket. ARGV: milliseconds a turn takes to come back, how many
-- turns the full bucket holds. Answers 0, or the milliseconds until the next turn. The only thing kept is when the
-- bucket will be full again; the key goes at that moment. What cannot be read, or was never written here, is a full bucket.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local interval, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local stored = tonumber(redis.call('MGET', KEYS[1])[1] or '') or 0
if stored ~= stored or stored > now + interval * size + 1 then stored = 0 end
local full_at = math.max(stored, now) + interval
local wait = math.ceil(full_at - now - interval * size)
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil(full_at - now))
return 0
