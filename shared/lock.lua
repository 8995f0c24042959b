-- The cron lock. KEYS: lock, meta. ARGV: verb, holder, expiry in ms, meta as JSON.
if ARGV[1] == 'acquire' then
  if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) then
    redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[3])
    return {1, ARGV[2]}
  end
  return {0, redis.call('GET', KEYS[1]) or ''}
end
-- Only the holder gives it back: its time may be over and the lock someone else's.
if redis.call('GET', KEYS[1]) == ARGV[2] then
  redis.call('DEL', KEYS[1], KEYS[2])
  return {1, ''}
end
return {0, ''}
