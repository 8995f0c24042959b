-- The cron lock. KEYS: lock, meta. ARGV: verb, holder, expiry in ms, meta as JSON.
if ARGV[1] == 'acquire' then
  if not redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) then
    local holder = redis.call('MGET', KEYS[1])[1]
    if holder and holder ~= ARGV[2] then
      if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end -- it shall end
      return {0, holder}
    end
    -- Ours: the answer was lost, or what is there is no text and nobody's.
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[3])
  return {1, ARGV[2]}
end
-- Only the holder gives it back: its time may be over and the lock someone else's.
if redis.call('MGET', KEYS[1])[1] == ARGV[2] then
  redis.call('DEL', KEYS[1], KEYS[2])
  return {1, ''}
end
return {0, ''}
