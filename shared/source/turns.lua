-- When the next calls to a source may begin, over all servers. KEYS: pause, turns, breaker. ARGV: see `arguments` below.
-- Answers {how many calls, ms until the first of them}, or {0, ms until it is worth asking again}; then whether that is
-- for a pause, and what is stored of the breaker, so that nobody asks for it beside this.
-- Calls begin at marks, one at each, so that they are evenly spaced; who is given marks uses each at its time or not at
-- all. Of the two lanes each belongs to one holder at a time, who makes one call at a time: never more than two at once.
-- A killed holder's lane is free when its last call would have ended.
-- Stored is a text with a line for each thing: "next TIME" is the next mark, "LANE UNTIL HOLDER" whose a lane is,
-- "LANE:waits UNTIL HOLDER" who waits for it, "began TIME TIME ..." when calls began between the marks.

local pause, turns, breaker = KEYS[1], KEYS[2], KEYS[3]
-- arguments: the lane; the holder; how many calls it wants (0: it gives lane and marks back); ms between marks; the longest
-- time that marks are given for; how long a call may take; how many calls of people, who wait, may begin between the
-- marks in a minute; the minute.
local lane, holder, want = ARGV[1], ARGV[2], tonumber(ARGV[3])
local spacing, call_ms = tonumber(ARGV[4]), tonumber(ARGV[6])
local horizon = math.max(tonumber(ARGV[5]), spacing)
local between, minute = tonumber(ARGV[7]), tonumber(ARGV[8])
local WAITS_MS = 5000
local now = now_ms()
local latest = now + 3 * horizon + call_ms -- a time beyond this is none of ours

local texts = redis.call('MGET', pause, turns, breaker)
local lines, state = {}, texts[3] or ''
for name, words in string.gmatch(texts[2] or '', '(%S+) ([^\n]*)\n') do lines[name] = words end
local function time_in(words)
  local time = tonumber(string.match(words or '', '^(%d+)')) or 0
  return time <= latest and time or 0
end
local function holder_in(name)
  if time_in(lines[name]) > now then return string.match(lines[name], ' (.+)$') end
  lines[name] = nil
end
local function stamp(time, name) return string.format('%.0f', time) .. (name and ' ' .. name or '') end
local function store()
  local text = {}
  for _, name in ipairs({'next', 'began', 'people', 'people:waits', 'queue', 'queue:waits'}) do
    if lines[name] then text[#text + 1] = name .. ' ' .. lines[name] .. '\n' end
  end
  redis.call('SET', turns, table.concat(text), 'PX', math.ceil(latest - now + minute))
end

local waits = lane .. ':waits'
local owner, waiter = holder_in(lane), holder_in(waits)
if want == 0 then
  if owner == holder then
    -- Marks that it has left are there for others, unless somebody has got marks behind them.
    local following = time_in(lines[lane]) - call_ms + spacing
    if time_in(lines.next) == following then lines.next = stamp(math.min(following, now + spacing)) end
    lines[lane] = nil
  end
  store()
  return {0, 0, 0, ''}
end
local left = read_pause(texts[1], now)
if left > 0 then return {0, left, 1, ''} end
if owner and owner ~= holder then
  local wait = time_in(lines[lane]) - call_ms - now
  if not waiter or waiter == holder then lines[waits] = stamp(now + WAITS_MS, holder) end
  store()
  return {0, math.max(math.min(wait, WAITS_MS / 2), 250), 0, state}
end
if waiter and waiter ~= holder then -- whoever waits comes before whoever comes again
  lines[lane] = nil
  store()
  return {0, 500, 0, state}
end

local began = {}
for time in string.gmatch(lines.began or '', '%d+') do
  if tonumber(time) > now - minute and tonumber(time) <= now then began[#began + 1] = time end
end
local next_mark = math.max(time_in(lines.next), now)
local first, count = next_mark, math.max(math.min(want, math.floor(horizon / spacing)), 1)
if lane == 'people' and #began < between then
  first, count = now, 1
  began[#began + 1] = stamp(now)
elseif first > now + horizon then -- others have so many marks in hand
  return {0, first - now - horizon, 0, state}
else
  next_mark = first + count * spacing
end
lines.next, lines.began = stamp(next_mark), #began > 0 and table.concat(began, ' ') or nil
lines[lane], lines[waits] = stamp(first + (count - 1) * spacing + call_ms, holder), nil
store()
return {count, first - now, 0, state}
