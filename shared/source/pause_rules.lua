-- How long everybody leaves a source alone that asked for it, shared by every script that asks. Stored as
-- "until count": the end in ms, and how many pauses there were without a quiet time between them.

local LONGEST_PAUSE_MS = 3600000

local function read_pause(raw, now)
  local ends, count = string.match(raw or '', '^(%d+) (%d+)$')
  local left = (tonumber(ends) or 0) - now
  if left > LONGEST_PAUSE_MS then left, count = 0, 0 end -- no pause of ours
  return math.max(left, 0), math.min(tonumber(count) or 0, 20)
end
