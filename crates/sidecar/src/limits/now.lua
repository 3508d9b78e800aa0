-- The server's own clock, in microseconds: those of the gates do not matter.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
