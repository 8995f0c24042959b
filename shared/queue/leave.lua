-- A consumer that has handed everything back says goodbye. KEYS: held text, lease, consumers, waiting, doorbell.
-- ARGV: worker. Answers 1, or 0 when something is stored as its own: then it stays listed, to be taken over.
local _, held = tags_in(redis.call('MGET', KEYS[1])[1])
if #held > 0 then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
call('SREM', KEYS[3], ARGV[1])
if call('LLEN', KEYS[4]) > 0 then ring(KEYS[5]) end
return 1
