-- How much there is, all of one moment. KEYS: waiting, jobs, consumers, alone, dead letters, pause. ARGV: prefix of the
-- held texts. Answers {waiting, oldest that waits, its body, known, dead, pause in ms, {alone, held text, ...}}.
local names = {KEYS[4]}
for _, worker in ipairs(call('SMEMBERS', KEYS[3])) do names[#names + 1] = ARGV[1] .. worker end
local oldest = call('LINDEX', KEYS[1], -1) or ''
local texts = redis.call('MGET', unpack(names))
for i = 1, #names do texts[i] = texts[i] or '' end
return {call('LLEN', KEYS[1]), oldest, is_entry(oldest) and call('HGET', KEYS[2], key_of(oldest)) or '',
  call('HLEN', KEYS[2]), call('HLEN', KEYS[5]), redis.call('PTTL', KEYS[6]), texts}
