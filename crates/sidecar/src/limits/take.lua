-- How fast keys ask, counted for all gates at once: what `Bucket` in crates/domain/src/gate/rate.rs does, in millionths
-- of a token instead of billionths. Whole or not at all, because a server runs one script at a time.
--
-- Before this stands what `now` is: microseconds, by a clock that may go backwards.
--
-- KEYS: one for each request.
-- ARGV: four for each request: tokens per second, tokens in a full bucket, tokens wanted, and tokens to take along. More
--   than 0 are taken if they may be, 0 only looks, and less than 0 are given back; along with those taken go the others,
--   if half of the bucket is left then.
-- Returns three for each request, of before it: millionths of a token missing; 256ths of tokens taken of late; for how
--   many microseconds the clock stands still because it went backwards.
--
-- A bucket is the text `missing at rate recent`. All numbers are whole and below 2^53, which Lua's hold exactly: with at
-- most 1,000,000 tokens per second and batches of 1,000, a bucket is full after 1,000 seconds, so that fewer than 2^50
-- millionths are ever missing.
local TOKEN, PART, SECOND = 1000000, 256, 1000000
local seen = {}
for i, key in ipairs(KEYS) do
  local rate, burst = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local wanted, ahead = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local missing, at, recent = 0, now, 0
  local kept = redis.call('GET', key)
  if kept then
    local before, since, its_rate, taken = string.match(kept, '^(%d+) (%d+) (%d+) (%d+)$')
    at = tonumber(since)
    local passed = math.max(now - at, 0)
    its_rate = tonumber(its_rate)
    missing = math.max(before - its_rate * passed, 0)
    if its_rate ~= rate then
      -- The time until it is full stays. In two parts, because the whole product may be too large.
      local whole = math.floor(missing / its_rate)
      missing = whole * rate + math.ceil((missing - whole * its_rate) * rate / its_rate)
    end
    recent = math.floor((taken * math.max(SECOND - passed, 0) + SECOND / 2) / SECOND)
  end
  at = math.max(at, now)
  seen[3 * i - 2], seen[3 * i - 1], seen[3 * i] = missing, recent, at - now
  -- A batch larger than the bucket passes when it is full.
  if wanted ~= 0 and (wanted < 0 or missing == 0 or missing + wanted * TOKEN <= burst * TOKEN) then
    if ahead > 0 and 2 * (missing + (wanted + ahead) * TOKEN) <= burst * TOKEN then
      wanted = wanted + ahead
    end
    missing = math.max(missing + wanted * TOKEN, 0)
    recent = math.min(math.max(recent + wanted * PART, 0), 4294967295)
    -- Until it is full and nothing was taken for a second: then it answers like one that nobody has used.
    local idle = math.max(math.ceil(missing / rate), SECOND) + at - now
    redis.call('SET', key, string.format('%.0f %.0f %.0f %.0f', missing, at, rate, recent),
      'PX', string.format('%.0f', math.ceil(idle / 1000)))
  end
end
return seen
