"""What Redis does at once: admit a call by all of its limits or by none, and settle what it took.

A window is a hash: for each of its buckets, numbered by Redis's own time, how much was taken in it; `used`, their sum;
`first` and `last`, between which they are. A bucket counts until the whole window has passed since its end, so that no
window, wherever it begins, has more than the limit. Calls in flight are a sorted set of their ids, by the time when
their slot is free in any case. A call's ticket says what it took, once: an admission that is repeated takes nothing
more, and of two who settle a call the first does. All calls with slots are in one sorted set besides, by when somebody
should look whether they are still open.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1

#: All calls with slots.
WITH_SLOTS = "limits:with-slots"
#: After so long a call that has a slot is on record, or there is none: a first look, and each further one.
LOOK_AFTER_MS = 15_000

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
#: ARGV[1] and [2] are a bucket's width in ms, and how many are a window.
_WINDOWS = (
    _NOW
    + f"""
local with_slots, look_after = '{WITH_SLOTS}', {LOOK_AFTER_MS}
"""
    + """
local width, buckets = tonumber(ARGV[1]), tonumber(ARGV[2])

-- What is used of a window, its first and last bucket, and the current one.
local function look(key)
    local state = redis.call('HMGET', key, 'used', 'first', 'last')
    local current = math.floor(now / width)
    if not state[1] then
        return 0, current, current, current
    end
    local used, first, last = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
    if last > current + buckets then
        -- The clock was set back by more than a window.
        redis.call('DEL', key)
        return 0, current, current, current
    end
    current = math.max(current, last)
    local oldest = math.min(current - buckets, last + 1)
    if first < oldest then
        local gone = {}
        for bucket = first, oldest - 1 do
            gone[#gone + 1] = bucket
        end
        for _, amount in ipairs(redis.call('HMGET', key, unpack(gone))) do
            used = used - (tonumber(amount) or 0)
        end
        redis.call('HDEL', key, unpack(gone))
        first = oldest
        redis.call('HSET', key, 'used', used, 'first', first)
    end
    return used, first, last, current
end

-- In how many ms all of a window is there again of which something was last taken in a bucket.
local function reset_of(last)
    return (last + buckets + 1) * width - now
end

local function take(key, amount, first, current)
    redis.call('HINCRBY', key, current, amount)
    redis.call('HINCRBY', key, 'used', amount)
    redis.call('HSET', key, 'first', math.min(first, current), 'last', current)
    redis.call('PEXPIRE', key, width * buckets * 2)
end
"""
)

#: KEYS: the call's ticket, then one per limit. ARGV: width, buckets, the call's id, for how many ms it may hold its
#: slots; then for each limit its kind, how much it is, and how much the call takes. Returns which limit refuses it (0:
#: none), after how many ms it may come again (-1: never); then for each limit what is left, and in how many ms all is.
ADMIT_TEXT = (
    _WINDOWS
    + """
local SLOT_FREES_MS = 1000
local call, holds = ARGV[3], tonumber(ARGV[4])
local is_known = redis.call('EXISTS', KEYS[1]) == 1
local limits, refused_by, wait = {}, 0, 0

-- After how many ms so much of it has aged out.
local function patience(key, over, first, last)
    local buckets_of, freed = {}, 0
    for bucket = first, last do
        buckets_of[#buckets_of + 1] = bucket
    end
    for index, amount in ipairs(redis.call('HMGET', key, unpack(buckets_of))) do
        freed = freed + (tonumber(amount) or 0)
        if freed >= over then
            return (first + index + buckets) * width - now
        end
    end
    return (last + buckets + 1) * width - now
end

local function refuse(index, ms)
    if refused_by == 0 or (wait >= 0 and (ms < 0 or ms > wait)) then
        refused_by, wait = index, ms
    end
end

for index = 1, #KEYS - 1 do
    local key, at = KEYS[index + 1], 5 + 3 * (index - 1)
    local limit = {key = key, kind = ARGV[at], most = tonumber(ARGV[at + 1]), amount = tonumber(ARGV[at + 2])}
    if limit.kind == 'calls' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        limit.used = redis.call('ZCARD', key)
        if not is_known and limit.used >= limit.most then
            refuse(index, SLOT_FREES_MS)
        end
    else
        limit.used, limit.first, limit.last, limit.current = look(key)
        if not is_known and limit.amount > limit.most then
            refuse(index, -1)
        elseif not is_known and limit.used + limit.amount > limit.most then
            refuse(index, patience(key, limit.used + limit.amount - limit.most, limit.first, limit.last))
        end
    end
    limits[index] = limit
end

if refused_by == 0 and not is_known then
    local ticket = {tokens = 0, at = 0, windows = {}, calls = {}}
    for _, limit in ipairs(limits) do
        if limit.kind == 'calls' then
            redis.call('ZADD', limit.key, now + holds, call)
            redis.call('PEXPIRE', limit.key, math.max(holds, redis.call('PTTL', limit.key)))
            redis.call('ZADD', with_slots, now + look_after, call)
            redis.call('PEXPIRE', with_slots, math.max(holds, redis.call('PTTL', with_slots)))
            table.insert(ticket.calls, limit.key)
            limit.used = limit.used + 1
        elseif limit.amount > 0 then
            take(limit.key, limit.amount, limit.first, limit.current)
            limit.used, limit.last = limit.used + limit.amount, limit.current
        end
        if limit.kind == 'tokens' then
            ticket.tokens = limit.amount
            table.insert(ticket.windows, {limit.key, limit.current})
        end
    end
    redis.call('SET', KEYS[1], cjson.encode(ticket), 'PX', holds)
end

local answer = {refused_by, math.ceil(wait)}
for _, limit in ipairs(limits) do
    local reset = 0
    if limit.kind ~= 'calls' and limit.used > 0 then
        reset = reset_of(limit.last)
    end
    table.insert(answer, math.max(limit.most - limit.used, 0))
    table.insert(answer, math.ceil(reset))
end
return answer
"""
)

#: KEYS: the call's ticket. ARGV: width, buckets, the call's id, and the tokens that it really took; -1 where nobody
#: knows, so that the estimate stays. Fewer are given back where they were taken; more count from now on. Returns for
#: each window of tokens its key, what is used of it, and in how many ms all of it is there again; nothing where the
#: call was settled already.
SETTLE_TEXT = (
    _WINDOWS
    + """
redis.call('ZREM', with_slots, ARGV[3])
local ticket = redis.call('GET', KEYS[1])
if not ticket then
    return {}
end
redis.call('DEL', KEYS[1])
ticket = cjson.decode(ticket)
for _, key in ipairs(ticket.calls) do
    redis.call('ZREM', key, ARGV[3])
end
local tokens, more = tonumber(ARGV[4]), 0
if tokens >= 0 then
    more = tokens - ticket.tokens
end
local answer = {}
for _, window in ipairs(ticket.windows) do
    local key, bucket = window[1], window[2]
    if more > 0 then
        local _, first, _, current = look(key)
        take(key, more, first, current)
    elseif more < 0 then
        local taken = tonumber(redis.call('HGET', key, bucket) or 0)
        local back = math.min(taken, -more)
        if back > 0 then
            redis.call('HINCRBY', key, bucket, -back)
            redis.call('HINCRBY', key, 'used', -back)
        end
    end
    local used, _, last = look(key)
    table.insert(answer, key)
    table.insert(answer, used)
    table.insert(answer, used > 0 and math.ceil(reset_of(last)) or 0)
end
return answer
"""
)

#: KEYS: WITH_SLOTS. ARGV: after how many ms to look again, and at how many at most. Returns the calls to look at now.
DUE_TEXT = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
for _, call in ipairs(due) do
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), call)
end
return due
"""
)


@dataclass(frozen=True)
class Script:
    """A script, and the name by which Redis remembers it."""

    text: str = field(repr=False)

    @cached_property
    def sha(self) -> str:
        """As EVALSHA wants it."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ADMIT = Script(ADMIT_TEXT)
SETTLE = Script(SETTLE_TEXT)
