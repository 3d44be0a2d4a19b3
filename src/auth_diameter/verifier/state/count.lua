-- Counts the questions of one turn of a DISC: uses of nonces, guesses and logins. _core/state/sharing.pyx has the
-- layout of the records and of the reply; penalties.pyx has the rules for guesses.
--
-- ARGV[1]  the records; without any it only says whether the state can be written
-- ARGV[2]  "0"; or the time, if they were answered while this server was away and are only to be known
--
-- Keys; each has a time to live:
--   adb                when this state began, by the clock of a DISC: nonces made before may have been used before
--   adr                which run of a server has it; another run may have read it from an old snapshot, or be a replica
--   adn <made / 8>     hash: nonce and count → mark and time of their use; with a limit also nonce → number of uses
--   adl <time / 600>   hash: users at their sources who logged in
--   adu, ads <hash>    the wrong digests of a user at a source, and of a source
--
-- Uses lie in one hash for eight seconds of nonces, since one key for each costs twice the time and memory. Such a
-- hash is large: it is dropped with UNLINK, which does not block the server as the end of its time to live would.
-- That comes later, for the case that nobody is there to drop it.
--
-- Nearly all turns have neither guesses nor replays. For them each column is taken apart and stored at once; every
-- further operation for each record would cost as much as all of that.

local call, sub, rep, take, pack = redis.call, string.sub, string.rep, struct.unpack, struct.pack
local LOGINS = 600                    -- seconds of logins that are in one hash
local LATER = 120                     -- seconds in which hashes are dropped before their time to live ends
local BEGAN = 7 * 86400               -- time to live of adb; it is longer than any nonce may be used
local DRIFT = 10                      -- seconds by which the clocks of DISC may differ

local data = ARGV[1]
if #data < $HEADER or string.byte(data) ~= $VERSION then
  return redis.error_reply('AUTHDIAMETER these records are of another version: use one version of DISC')
end
local _, flags, count, uses, logins, runs, _, now, lifetime, limit = take('<BBI2I2I2I2I2I4I4I4', data)
local late = ARGV[2] ~= '0'
local began = call('GET', 'adb')
if count == 0 then                    -- a DISC has connected
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
  if run and call('GET', 'adr') ~= run then
    began = nil
    call('SET', 'adr', run, 'EX', BEGAN)
  end
end
if not began or count == 0 then
  began = began or string.format('%d', now)
  call('SET', 'adb', began, 'EX', BEGAN)
end
if count == 0 then
  return ''
end
began = tonumber(began)

-- Where the columns are
local at_kinds = 1 + $HEADER + runs * $RUN
local at_uses = at_kinds + count
local at_made = at_uses + uses * $USE
local at_logins = at_made + uses * $MADE
local at_tallies = at_logins + logins * $LOGGED_IN
local counted = flags % 2 == $COUNTED

-- Gives a hash a time to live once it is made, and drops those that nobody needs any more. Each says, at "", for how
-- long its fields are needed.
local function keep(prefix, slot, seconds, needed)
  call('HSET', prefix .. slot, '', needed)
  call('EXPIRE', prefix .. slot, needed + seconds + LATER)
  call('EXPIRE', 'adb', BEGAN)
  call('EXPIRE', 'adr', BEGAN)
  local last = slot - math.ceil(needed / seconds) - 1
  for old = last - math.ceil(LATER / seconds), last do
    local still = call('HGET', prefix .. old, '')
    if still and (old + 1) * seconds + still <= slot * seconds then
      call('UNLINK', prefix .. old)
    end
  end
end

local function put_logins(seconds, values)
  local slot = math.floor(seconds / LOGINS)
  call('HSET', 'adl' .. slot, unpack(values))
  if call('HEXISTS', 'adl' .. slot, '') == 0 then
    keep('adl', slot, LOGINS, $RECENT + 2 * LOGINS)
  end
end

-- The values of `number` records from there on; each column is as `format` has it.
local function column(format, number, at)
  local values = {take(rep(format, number), data, at)}
  values[#values] = nil               -- where it ends
  return values
end

-- ---------------------------------------------------------------------------------- a turn without guesses or replays

local asked = counted and column('c11c11', count, at_tallies) or {}
local free = not late and limit == 0 and flags >= $PLAIN and (not counted or call('EXISTS', unpack(asked)) == 0)
local slots, names, known, fresh, pairs_of = {}, {}, {}, {}, {}
local first = 0                       -- the number of uses in the runs before
for run = 1, runs do
  local slot, number = take('<I4I2', data, 1 + $HEADER + (run - 1) * $RUN)
  local values = column('c$FIELD' .. 'c12', number, at_uses + first * $USE)
  local fields = {''}
  for i = 1, number do
    fields[i + 1] = values[2 * i - 1]
  end
  local found = call('HMGET', 'adn' .. slot, unpack(fields))
  slots[run], names[run], known[run], pairs_of[run] = slot, fields, found, values
  fresh[run] = not found[1] or tonumber(found[1]) < lifetime
  for i = 2, number + 1 do
    if found[i] then
      free = false
      break
    end
  end
  if free and slot * $SLOT < began then
    for _, made in ipairs(column('<I4', number, at_made + first * $MADE)) do
      free = free and made >= began
    end
  end
  first = first + number
end

if free then
  for run = 1, runs do
    if call('HSET', 'adn' .. slots[run], unpack(pairs_of[run])) ~= #names[run] - 1 then
      free = false                    -- one of them is twice in this turn
    end
    if fresh[run] then
      keep('adn', slots[run], $SLOT, lifetime)
    end
  end
  if free then
    if logins > 0 then
      local time = call('TIME')
      put_logins(time[1], column('c8c1', logins, at_logins))
    end
    return rep('\$IS_FIRST', count)
  end
end

-- ---------------------------------------------------------------------------------- any turn

local time = call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)     -- ms
local NOBODY = rep('\0', 8)

local seen = {}                       -- field → mark and time of its use
for run = 1, runs do
  for i = 2, #names[run] do
    seen[names[run][i]] = known[run][i]
  end
end

local tallies, changed = {}, {}       -- key → tally
if counted then
  local found = call('MGET', unpack(asked))
  for j = 1, #asked do
    if found[j] and not tallies[asked[j]] then
      local wrong, delay, ends, forgotten = take('<I2I1dd', found[j])
      if wrong == 0 or clock < forgotten then
        tallies[asked[j]] = {wrong = wrong, delay = delay, ends = ends, forgotten = forgotten}
      end
    end
  end
end

local function is_penalized(tally)
  -- After a step back of the clock the end is too far ahead and does not count.
  return tally and clock < tally.ends and tally.ends <= clock + $LONGEST * 1000
end

local function add_wrong(key, tries)
  local tally = tallies[key]
  if not tally then
    tally = {wrong = 0, delay = 0, ends = 0, forgotten = 0}
    tallies[key] = tally
  end
  changed[key] = true
  if tally.wrong == 0 then
    tally.forgotten = clock + $WINDOW * 1000
  end
  tally.wrong = math.min(tally.wrong + 1, 65535)
  if tally.wrong >= tries and not is_penalized(tally) then
    tally.delay = tally.delay == 0 and 1 or math.min(2 * tally.delay, $LONGEST)
    tally.ends = clock + tally.delay * 1000
    tally.forgotten = tally.ends + $WINDOW * 1000
  end
end

local function take_one_back(key)
  local tally = tallies[key]
  changed[key] = true
  tally.wrong = math.max(tally.wrong - 1, 0)
  if tally.wrong < $SOURCE_TRIES and not is_penalized(tally) then
    tally.delay = 0
  end
end

local logged_in, new_logins = {}, {}  -- user → true; what is to be stored

-- Whether a user logged in from there within the hour. A DISC tells of a login once in ten minutes.
local function is_recent(user)
  if logged_in[user] then
    return true
  end
  local slot = math.floor(time[1] / LOGINS)
  for old = slot, slot - math.ceil(($RECENT + LOGINS) / LOGINS), -1 do
    if call('HEXISTS', 'adl' .. old, sub(user, 4)) == 1 then
      return true
    end
  end
  return false
end

local function log_in(user, source, is_new)
  if tallies[source] and not is_recent(user) then
    take_one_back(source)
    is_new = true
  end
  if tallies[user] then
    tallies[user] = nil
    changed[user] = true
  end
  if is_new and not logged_in[user] then
    logged_in[user] = true
    new_logins[#new_logins + 1] = sub(user, 4)
    new_logins[#new_logins + 1] = '1'
  end
end

local function standing(tally)
  if not tally then
    return '\0\0\0\0\0'
  end
  local left = is_penalized(tally) and tally.ends - clock or 0
  return pack('<I2I1I2', tally.wrong, tally.delay, math.min(left, 65535))
end

local new_uses = {}                   -- of each run: fields and values

-- Uses a nonce with a count; `made`: when the nonce was made.
local function use(run, field, value, made)
  local before = seen[field]
  if before then
    local age = now - take('<I4', before, 1 + $MARK - 4)
    if sub(value, 1, 8) ~= NOBODY and sub(before, 1, 8) == sub(value, 1, 8)
        and age >= -DRIFT and age <= $RETRANSMITTED then
      return $IS_AGAIN
    end
    return $IS_REPLAYED
  end
  if late and made + lifetime < tonumber(ARGV[2]) then
    return $IS_EXPIRED
  end
  if made < began and not late then
    return $IS_REPLAYED
  end
  if limit > 0 then
    local nonce = sub(field, 1, $NONCE)
    if tonumber(call('HGET', 'adn' .. slots[run], nonce) or 0) >= limit then
      return $IS_EXPIRED
    end
    call('HINCRBY', 'adn' .. slots[run], nonce, 1)
  end
  seen[field] = value
  local values = new_uses[run] or {}
  new_uses[run] = values
  values[#values + 1] = field
  values[#values + 1] = value
  return $IS_FIRST
end

local codes, standings = {}, {}
local run, number = 1, 0              -- of the last use
for i = 1, count do
  local kind = string.byte(data, at_kinds + i - 1)
  local user, source = asked[2 * i - 1], asked[2 * i]
  local code
  if not counted or sub(user, 4) == NOBODY then
    user = nil
  elseif not late and (is_penalized(tallies[user])
      or (is_penalized(tallies[source]) and not is_recent(user))) then
    code = $IS_PENALIZED
  end
  if i <= uses then
    number = number + 1
    if number > #names[run] - 1 then
      run, number = run + 1, 1
    end
    if not code then
      code = use(run, pairs_of[run][2 * number - 1], pairs_of[run][2 * number],
                 (take('<I4', data, at_made + (i - 1) * $MADE)))
      if code == $IS_FIRST and user then
        log_in(user, source, kind >= $LOGIN)
      end
    end
  elseif kind == $WRONG and not code then
    if user then
      if sub(source, 4) ~= NOBODY and not (tallies[user] and tallies[user].wrong > 0) and not is_recent(user) then
        add_wrong(source, $SOURCE_TRIES)
      end
      add_wrong(user, $USER_TRIES)
    end
    code = $IS_WRONG
  end
  code = code or $IS_NOTHING
  codes[i] = string.char(code)
  if code == $IS_PENALIZED or code == $IS_WRONG then
    standings[#standings + 1] = standing(user and tallies[user])
    standings[#standings + 1] = standing(user and tallies[source])
  end
end

for run, values in pairs(new_uses) do
  call('HSET', 'adn' .. slots[run], unpack(values))
  if fresh[run] then
    keep('adn', slots[run], $SLOT, lifetime)
  end
end
if #new_logins > 0 then
  put_logins(time[1], new_logins)
end
for key in pairs(changed) do
  local tally = tallies[key]
  if tally and tally.wrong > 0 then
    local left = math.max(tally.forgotten - clock, 1)
    call('SET', key, pack('<I2I1dd', tally.wrong, tally.delay, tally.ends, tally.forgotten), 'PX', left)
  else
    call('DEL', key)
  end
end
return table.concat(codes) .. table.concat(standings)
