-- How long everybody leaves a source alone that asked for it, shared by every script that asks. Stored as
-- "until count": the end in ms, and how many pauses there were without a quiet time between them. The same rule in Python:
-- `Pause.look`.

local LONGEST_PAUSE_MS = 3600000

local function read_pause(raw, now)
  local ends, count = string.match(raw or '', '^(%d+) (%d+)$')
  if ends and (#ends > 14 or #count > 14) then ends, count = nil, nil end -- no time and no count
  local left = (tonumber(ends) or 0) - now
  if left > LONGEST_PAUSE_MS then left, count = 0, 0 end -- no pause of ours
  return math.max(left, 0), math.min(tonumber(count) or 0, 20)
end
