-- Hold all queued jobs. KEYS: pause. ARGV: for how many ms. A longer pause that is on stays; one without an end does not.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
